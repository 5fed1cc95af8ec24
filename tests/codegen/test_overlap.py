"""What kernels declare of their order of access: run with output and input as close as declared."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, host_kernels, kernel_objects
from graphs import graphs_of, one_node
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from codegen.choose import options
from codegen.kernel import Candidate
from codegen.lower import layer_of
from codegen.overlap import aligned, overlap_of
from codegen.program import Argument, Call, Program
from edgekit.devices.emulators.bench import Bench, link_functions
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Quant, Value

DSP, C99, CFU = M4.target.families, ("c99",), ("rv_cfu", "c99")
WINDOWED = ["conv2d", "depthwise_conv2d", "fully_connected", "conv2d int8>int16",
            "depthwise_conv2d int16", "conv2d int4", "conv2d int16"]  # fmt: skip
OTHERS = ["add", "mul", "clip", "average_pool2d", "max_pool2d", "softmax", "transpose",
          "add int16 mixed", "clip int8>int16", "softmax int16", "conv2d float int8",
          "depthwise_conv2d float int8>int16", "mul float int16>int8"]  # fmt: skip
#: Runs a call with its operands at these places of a memory; returns the memory afterwards.
Case = tuple[Call, Candidate]
Runner = Callable[[Call, np.ndarray, list[int]], np.ndarray]


def on_host(program: Program, folder: Path) -> Runner:
    library = ctypes.CDLL(str(host_kernels(program, folder)))

    def run(call: Call, memory: np.ndarray, places: list[int]) -> np.ndarray:
        space = np.zeros(memory.size + 16, np.uint8)
        start = -space.ctypes.data % 16
        space[start : start + memory.size] = memory
        at = space.ctypes.data + start
        getattr(library, call.kernel.name)(*(ctypes.c_void_p(at + p) for p in places))
        return space[start : start + memory.size]

    return run


def on_m4(program: Program, folder: Path) -> Runner:
    names = [kernel.name for kernel in program.kernels]
    bench = Bench(link_functions(kernel_objects(program, folder), M4, names), M4)
    start = -(-bench.symbols["__bss_end"] // 16) * 16

    def run(call: Call, memory: np.ndarray, places: list[int]) -> np.ndarray:
        done = bench.call(
            call.kernel.name,
            [start + p for p in places],
            memory={start: memory.tobytes()},
            read=[(start, memory.size)],
        )
        return np.frombuffer(done.memory[0], np.uint8)

    return run


def declared_distances(declared: Candidate) -> list[int]:
    """How far above the output the input may start, as the memory plan may choose it."""
    y_bytes = next(o.nbytes for o in declared.spec.operands if o.role == "output")
    found = [0] if declared.in_place else []
    if declared.overlap is not None:
        least = aligned(declared.overlap)
        found += [d for d in (least, least + 8, (least + y_bytes) // 16 * 8) if d >= least]
    return found


def check_call(
    call: Call,
    distances: list[int],
    program: Program,
    run: Runner,
    chance: np.random.Generator,
) -> None:
    """The output is the same apart from the input and at these distances below it."""
    roles = [a.role for a in call.arguments]
    x, y = (call.arguments[roles.index(role)].nbytes for role in ("input", "output"))
    room = 16 * (2 * x + 2 * y)
    places, at = [], room
    for a in call.arguments:
        places.append(at)
        at += -(-a.nbytes // 16) * 16
    memory = np.frombuffer(chance.bytes(at), np.uint8).copy()
    for a, place in zip(call.arguments, places, strict=True):
        if a.role == "constant":
            data = program.constants[a.offset : a.offset + a.nbytes]
            memory[place : place + a.nbytes] = np.frombuffer(data, np.uint8)
    source, target = places[roles.index("input")], places[roles.index("output")]
    want = run(call, memory, places)[target : target + y]
    near = -(-(x + 2 * y) // 16) * 16 + 16
    for distance in distances:
        moved, there = memory.copy(), near - distance
        moved[near : near + x] = memory[source : source + x]
        shifted = list(places)
        shifted[roles.index("input")], shifted[roles.index("output")] = near, there
        found = run(call, moved, shifted)[there : there + y]
        np.testing.assert_array_equal(found, want, f"{distance} {call.kernel.spec}")


def calls_of(graph: Graph, families: tuple[str, ...], constants: bytearray) -> list[Case]:
    """A call of every kernel that could run the one layer of `graph`; places are not of use."""
    layer = layer_of(graph, graph.nodes[0])
    cases = []
    for option in options(layer, replace(M4.target, families=families)):
        candidate, kernel, arguments = option.candidate, option.kernel, []
        for o in candidate.spec.operands:
            constants += bytes(-len(constants) % 16)
            arguments.append(Argument(o.role, len(constants), o.nbytes))
            if o.role == "constant":
                constants += np.ascontiguousarray(candidate.constants[o.name]).tobytes()
        if kernel.scratch_bytes:
            arguments.append(Argument("scratch", 0, kernel.scratch_bytes))
        call = Call(layer.name, layer.node.op, kernel, tuple(arguments), False, None, (), (), 0, "")
        cases.append((call, candidate))
    return cases


@pytest.mark.parametrize("families", [DSP, C99, CFU], ids=["cortex-m4", "c99", "rv_cfu"])
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_kernels_run_as_near_as_they_declare(
    families: tuple[str, ...], tmp_path: Path, data: st.DataObject
) -> None:
    constants, cases = bytearray(), list[Case]()
    for op in (*WINDOWED, *OTHERS) if families is C99 else WINDOWED:
        try:
            cases += calls_of(data.draw(graphs_of(op)), families, constants)
        except EdgekitError as refused:
            # An accumulator that can overflow is refused by name, which is the promise.
            assert refused.code == "E310", refused
    calls = tuple(call for call, _ in cases)
    program = Program("every", "cortex-m4", calls, 0, 0, bytes(constants), (), ())
    chance = np.random.default_rng(data.draw(st.integers(0, 1000)))
    for runner in (on_host(program, tmp_path), on_m4(program, tmp_path)):
        for call, declared in cases:
            check_call(call, declared_distances(declared), program, runner, chance)


def test_nearer_than_declared_is_wrong(tmp_path: Path) -> None:
    """A result twice as wide as its operand overtakes it, one place too near."""
    x = Value("x", (1, 4, 4, 3), "int8", Quant.make(0.5, 3))
    y = Value("y", x.shape, "int16", Quant.make(0.25, 0))
    constants = bytearray()
    [(call, declared)] = calls_of(
        one_node("clip", [x], y, {}, out_dtype="int16", clamp=[-9, 9]), C99, constants
    )
    assert declared.overlap == 47
    program = Program("clip", "cortex-m4", (call,), 0, 0, bytes(constants), (), ())
    run = on_host(program, tmp_path)
    check_call(call, [48, 56], program, run, np.random.default_rng(0))
    with pytest.raises(AssertionError):
        check_call(call, [40], program, run, np.random.default_rng(0))


def test_steps() -> None:
    assert overlap_of([(0, 4)], 9) == -9  # all read before anything is written
    assert overlap_of([(0, 1), (1, 2), (2, 3)], 3) == 0
    assert overlap_of([(0, 2), (1, 4), (2, 6)], 3) == 2  # W(1) - R(1) = 4 - 2
    assert overlap_of([(0, 0), (0, 0), (4, 8)], 8) == -8  # nothing is written early
    assert overlap_of([(0, 8), (4, 0), (6, 9)], 8) == 4  # nor forgotten
    assert [aligned(n) for n in (-9, -8, -7, 0, 1, 8)] == [-8, -8, 0, 0, 8, 8]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), min_size=1, max_size=8),
    st.integers(-50, 50),
)
def test_overlap_is_exact(steps: list[tuple[int, int]], d: int) -> None:
    """Against the definition: replay with the output d bytes below, nothing needed destroyed."""
    size = 31
    wrong = False
    over: set[int] = set()
    for low, end in steps:
        wrong |= any(low <= byte < size for byte in over)
        over |= set(range(-d, -d + end))
    needed = overlap_of(steps, size)
    if d >= needed:
        assert not wrong
    elif -d + max(end for _, end in steps[:-1] or [(0, 0)]) <= size:
        assert wrong
