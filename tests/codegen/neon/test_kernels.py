"""Kernels of the family neon against the numpy reference, in qemu-user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import merged
from graphs import batch, one_node
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from linux_calls import run_calls
from neon_layers import neon_layers
from tools import need

from codegen import memory_check
from codegen.lower import build_program
from codegen.neon import gemm
from codegen.program import Program
from edgekit import reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Quant, Value
from targets import Target, target

ARMV7 = target("armv7-neon")
AARCH64 = replace(target("linux-aarch64"), families=("neon", "c99"))
#: A Cortex-A9 neither divides nor fuses, which kernels for all of Armv7-A must not either.
CPUS = {"armv7-neon": "cortex-a9", "linux-aarch64": "cortex-a53"}
#: Why a layer may have no kernel of the family.
REFUSALS = (
    "groups",
    "output channels of",
    "every tap lies in the padding",
    "tensors of other widths or shapes",
)
CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
pytestmark = pytest.mark.apt


def built(graphs: list[Graph], on: Target) -> tuple[Graph, Program]:
    """One program of all graphs; the family takes all but what it refuses by name."""
    taken = []
    for graph in graphs:
        try:
            calls = build_program(graph, on).calls
        except EdgekitError as refused:
            assert refused.code == "E310", refused
            continue
        for call in calls:
            if call.kernel.spec.family != "neon":
                assert any(reason in call.note for reason in REFUSALS), call
        taken.append(graph)
    graph = merged(taken)
    program = build_program(graph, on)
    memory_check.check(program)
    return graph, program


def check(
    graphs: list[Graph], on: Target, compiler: str, folder: Path, seed: int, extreme: int | None
) -> None:
    need(f"qemu-{'aarch64' if on is AARCH64 else 'arm'}")
    if compiler == "gcc":
        need(on.gcc_command)
    graph, program = built(graphs, on)
    feeds = {name: x[:1] for name, x in batch(graph, seed, n=2).items()}
    if extreme is not None:
        feeds = {name: np.full_like(x, extreme) for name, x in feeds.items()}
    want = reference.run(graph, feeds)
    found = run_calls(program, on, folder, feeds, cpu=CPUS[on.name], compiler=compiler, seed=seed)
    made = {a.value: c for c in program.calls for a in c.arguments if a.role == "output"}
    for tensor, array in zip(program.outputs, found, strict=True):
        message = f"{on.name} {compiler}: {made[tensor.name].kernel.spec}"
        np.testing.assert_array_equal(array, want[tensor.name], err_msg=message)


@pytest.mark.parametrize(("on", "compiler"), [(ARMV7, "zig"), (AARCH64, "gcc")],
                         ids=["armv7-zig", "aarch64-gcc"])  # fmt: skip
@CHECKED
@given(graphs=neon_layers(), seed=st.integers(0, 1000),
       extreme=st.sampled_from([None, -128, 127]))  # fmt: skip
def test_exact(
    on: Target, compiler: str, graphs: list[Graph], seed: int, extreme: int | None, tmp_path: Path
) -> None:
    assume(seed > 0)  # the first example is the simplest of all
    check(graphs, on, compiler, tmp_path, seed, extreme)


def softmax(rows: int, width: int, scale: float) -> Graph:
    x = Value("x", (1, rows, width), "int8", Quant.make(scale, 3))
    y = Value("y", x.shape, "int8", Quant.make(1 / 256, -128))
    return one_node("softmax", [x], y, {}, beta=1.0)


@pytest.mark.parametrize(("on", "compiler"), [(ARMV7, "zig"), (AARCH64, "gcc")],
                         ids=["armv7-zig", "aarch64-gcc"])  # fmt: skip
def test_softmax(on: Target, compiler: str, tmp_path: Path) -> None:
    """Rows of any width; steep ones, flat ones, and such with a sum of 512 or more, in parts."""
    need(f"qemu-{'aarch64' if on is AARCH64 else 'arm'}")
    if compiler == "gcc":
        need(on.gcc_command)
    shapes = [(65, 2), (43, 3), (19, 7), (20, 8), (9, 15), (9, 16), (9, 17), (5, 49), (2, 1000)]
    graphs = [softmax(*shape, s) for shape in shapes for s in (0.3, 0.004, 1e-7)]
    graph = merged(graphs)
    program = build_program(graph, on, threads=3)
    assert all(c.kernel.spec.family == "neon" and c.kernel.units > 1 for c in program.calls)
    memory_check.check(program)
    feeds = {name: x[:1] for name, x in batch(graph, 3, n=2).items()}
    for name in list(feeds)[::5]:
        feeds[name] = np.full_like(feeds[name], 127)
    want = reference.run(graph, feeds)
    found = run_calls(program, on, tmp_path, feeds, cpu=CPUS[on.name], compiler=compiler, seed=2)
    for tensor, array in zip(program.outputs, found, strict=True):
        np.testing.assert_array_equal(array, want[tensor.name], err_msg=tensor.name)


def test_a_few_numbers_are_not_worth_a_table() -> None:
    (call,) = build_program(softmax(1, 12, 0.1), ARMV7).calls
    assert call.kernel.spec.family == "c99" and "12 numbers" in call.note


def of_halves(op: str, shift: int, clamp: list[int | None] | None) -> Graph:
    """Every int8 times some weights or plus itself, in steps of a power of two: halves abound."""
    r = np.random.default_rng(shift + 9)
    q, c = Quant.make(2.0**-4, -1), 1 if op == "conv2d" else 8
    x = Value("x", (1, 16, 16, c), "int8", q)
    y = Value("y", (1, 16, 16, 8), "int8", Quant.make(2.0 ** (shift - 7), 1))
    if op == "add":
        other = Value("b", x.shape, "int8", Quant.make(2.0**-3, 2))
        return one_node("add", [replace(x, name="a"), other], y, {}, clamp=clamp)
    shape = (8, 1, 1, 1) if op == "conv2d" else (1, 1, 8)
    w = Value("w", shape, "int8", Quant.make(np.full(8, 2.0**-3), 0, 0 if op == "conv2d" else 2))
    b = Value("b", (8,), "int32", Quant.make(np.full(8, 2.0**-7), 0, 0))
    constants = {
        "w": r.integers(-127, 128, shape).astype(np.int8),
        "b": r.integers(-9, 10, 8).astype(np.int32),
    }
    window = {"strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4}
    return one_node(op, [x, w, b], y, constants, clamp=clamp, **window)


def test_halves_are_rounded_as_the_reference_does(tmp_path: Path) -> None:
    """Results exactly between two integers, which decide whether a form of requantization fits."""
    need("qemu-arm")
    clamps: list[list[int | None] | None] = [None, [0, None]]
    cases = [(op, s, clamp) for op in ("conv2d", "depthwise_conv2d", "add")
             for s in (-1, 0, 1, 2, 6) for clamp in clamps]  # fmt: skip
    graph = merged([of_halves(*case) for case in cases])
    program = build_program(graph, ARMV7)
    forms = {c.kernel.spec.params.get("requant") for c in program.calls}
    assert forms >= {"relu", "right", "any"}
    feeds = {}
    for name in graph.inputs:
        shape = graph.values[name].shape
        every = np.arange(-128, 128, dtype=np.int8).reshape(1, 16, 16, 1)
        feeds[name] = np.ascontiguousarray(np.broadcast_to(every, shape))
    want = reference.run(graph, feeds)
    found = run_calls(program, ARMV7, tmp_path, feeds, cpu="cortex-a9")
    for tensor, array in zip(program.outputs, found, strict=True):
        np.testing.assert_array_equal(array, want[tensor.name], err_msg=tensor.name)


def test_divisions_where_the_cpu_has_none(tmp_path: Path) -> None:
    """libgcc divides for plain Armv7-A, and wants a function of a C library for that."""
    need("qemu-arm", ARMV7.gcc_command)
    q = Quant.make(0.05, -3)
    graph = one_node(
        "average_pool2d",
        [Value("x", (1, 7, 7, 3), "int8", q)],
        Value("y", (1, 7, 7, 3), "int8", q),
        {},
        kernel=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1], clamp=None,
    )  # fmt: skip
    program = build_program(graph, ARMV7)
    assert [c.kernel.spec.family for c in program.calls] == ["c99"]
    feeds = {name: x[:1] for name, x in batch(graph, 0, n=2).items()}
    found = run_calls(program, ARMV7, tmp_path, feeds, cpu="cortex-a9", compiler="gcc")
    np.testing.assert_array_equal(found[0], reference.run(graph, feeds)["y"])


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
@pytest.mark.parametrize("on", [ARMV7, AARCH64], ids=["armv7", "aarch64"])
@settings(CHECKED, max_examples=2)
@given(graphs=neon_layers(), seed=st.integers(0, 1000),
       extreme=st.sampled_from([None, -128, 127]))  # fmt: skip
def test_exact_more(
    on: Target, compiler: str, graphs: list[Graph], seed: int, extreme: int | None, tmp_path: Path
) -> None:
    check(graphs, on, compiler, tmp_path, seed, extreme)


@pytest.mark.parametrize(
    ("most", "depth"), [((-128, -128), 1), ((-128, 127), 2), ((64, 64), 2), ((63, 63), 4)]
)
def test_products_are_summed_where_they_fit(most: tuple[int, int], depth: int) -> None:
    """Three chunks: the first is alone, the second and the third may go together."""
    weights = np.zeros((5, 48), np.int8)
    weights[3, 16], weights[3, 24] = most
    weights[3, 32] = weights[3, 40] = 64
    assert gemm.depth_of(weights) == depth
