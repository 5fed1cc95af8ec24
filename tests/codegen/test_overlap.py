"""What kernels declare of their order of access: run with output and input as close as declared."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, host_kernels, kernel_objects, merged
from graphs import graphs_of
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from codegen.kernel import Candidate
from codegen.overlap import aligned, overlap_of
from codegen.program import Call, Program, build_program, layer_of, select
from edgekit.devices.bench import Bench, link_functions
from edgekit.errors import EdgekitError

DSP, C99 = ("arm_dsp", "c99"), ("c99",)
WINDOWED = ["conv2d", "depthwise_conv2d", "fully_connected", "conv2d int8>int16",
            "depthwise_conv2d int16", "conv2d int4", "conv2d int16"]  # fmt: skip
OTHERS = ["add", "mul", "clip", "average_pool2d", "max_pool2d", "softmax", "transpose",
          "add int16 mixed", "clip int8>int16", "softmax int16", "conv2d float int8",
          "depthwise_conv2d float int8>int16", "mul float int16>int8"]  # fmt: skip
#: Runs a call with its operands at these places of a memory; returns the memory afterwards.
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


def distances(declared: Candidate, y_bytes: int) -> list[int]:
    """How far above the output the input may start, as the memory plan may choose it."""
    found = [0] if declared.in_place else []
    if declared.overlap is not None:
        least = aligned(declared.overlap)
        found += [d for d in (least, least + 8, (least + y_bytes) // 16 * 8) if d >= least]
    return found


def check_call(
    call: Call, declared: Candidate, program: Program, run: Runner, chance: np.random.Generator
) -> None:
    """The output is the same with the output apart from the input and as near as declared."""
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
    for distance in distances(declared, y):
        near = (x + y + 15) // 16 * 16 + y
        near = -(-near // 16) * 16
        moved, there = memory.copy(), near - distance
        moved[near : near + x] = memory[source : source + x]
        shifted = list(places)
        shifted[roles.index("input")], shifted[roles.index("output")] = near, there
        found = run(call, moved, shifted)[there : there + y]
        np.testing.assert_array_equal(found, want, f"{distance} {call.kernel.spec}")


@pytest.mark.parametrize("families", [DSP, C99], ids=["arm_dsp", "c99"])
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
    target = replace(M4.target, families=families)
    graphs = []
    for op in WINDOWED if families is DSP else (*WINDOWED, *OTHERS):
        graph = data.draw(graphs_of(op))
        try:
            build_program(graph, target)
            graphs.append(graph)
        except EdgekitError as refused:
            assert refused.code == "E310", refused
    graph = merged(graphs)
    program = build_program(graph, target)
    chance = np.random.default_rng(data.draw(st.integers(0, 1000)))
    for runner in (on_host(program, tmp_path), on_m4(program, tmp_path)):
        for call, node in zip(program.calls, graph.nodes, strict=True):
            declared, _ = select(layer_of(graph, node), target)
            check_call(call, declared, program, runner, chance)


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
