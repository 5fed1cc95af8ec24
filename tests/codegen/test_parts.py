"""Kernels in parts: any partition, in any order, with any worker's scratch, gives the reference's
bytes; and which of TVM's loops are given away at all."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import host_kernels, merged
from exactness import CHECKED, draw_seed
from graphs import batch, graphs_of
from hypothesis import given
from hypothesis import strategies as st
from libraries import net
from pace import thinned

from codegen import memory_check, rounds
from codegen.lower import build_program
from codegen.memory_check import PlanError
from codegen.program import Call, Program
from edgekit import reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from targets import target

THREADS, PER_BUILD = 3, 6
LINUX = target("linux-x86_64")
OPS = [
    "conv2d", "depthwise_conv2d", "fully_connected", "conv2d fours", "depthwise_conv2d fours",
    "conv2d int16", "depthwise_conv2d int16>int8", "fully_connected int4", "average_pool2d",
    "max_pool2d", "add", "clip", "softmax", "transpose", "conv2d float int8",
]  # fmt: skip
FAST = ("conv2d", "depthwise_conv2d", "fully_connected", "conv2d fours", "average_pool2d")


def run_in_parts(
    program: Program, library: ctypes.CDLL, feeds: dict[str, np.ndarray], seed: int
) -> list[np.ndarray]:
    """The program in an arena like a library's, every kernel that has parts cut at random."""
    chance = np.random.default_rng(seed)
    arena = np.zeros(program.arena_bytes + 64, np.uint8)
    start = arena.ctypes.data + -arena.ctypes.data % 64
    constants = np.frombuffer(program.constants + bytes(64), np.uint8).copy()
    at = constants.ctypes.data + -constants.ctypes.data % 64
    ctypes.memmove(at, program.constants, len(program.constants))
    for tensor in program.inputs:
        ctypes.memmove(start + tensor.offset, feeds[tensor.name].tobytes(), tensor.nbytes)

    def call_part(call: Call, worker: int, *part: int) -> None:
        pointers = []
        for a in call.arguments:
            base = start if a.in_arena else at
            more = worker * (a.nbytes // program.threads) if a.role == "scratch" else 0
            if a.role == "scratch" and part:
                junk = chance.bytes(a.nbytes // program.threads)
                ctypes.memmove(base + a.offset + more, junk, len(junk))
            pointers.append(ctypes.c_void_p(base + a.offset + more))
        getattr(library, call.kernel.name)(*pointers, *map(ctypes.c_uint32, part))

    for call in program.calls:
        if not (units := call.kernel.units):
            call_part(call, 0)
            continue
        cuts = sorted({0, units, *chance.integers(0, units + 1, 4).tolist()})
        parts = list(pairwise(cuts))
        for i in chance.permutation(len(parts)):
            call_part(call, int(chance.integers(program.threads)), *parts[i])
    return [
        np.frombuffer(ctypes.string_at(start + t.offset, t.nbytes), t.dtype).reshape(t.shape)
        for t in program.outputs
    ]


def check(program: Program, graph: Graph, folder: Path, seed: int) -> None:
    memory_check.check(program)
    for call in program.calls:
        assert not (call.kernel.units and (call.in_place or call.overlap is not None))
    feeds = {name: x[:1] for name, x in batch(graph, seed, n=2).items()}
    want = reference.run(graph, feeds)
    library = ctypes.CDLL(str(host_kernels(program, folder)))
    for seed_of_parts in range(4):
        found = run_in_parts(program, library, feeds, seed_of_parts)
        for tensor, y in zip(program.outputs, found, strict=True):
            np.testing.assert_array_equal(y, want[tensor.name], err_msg=tensor.name)


@pytest.mark.parametrize("op", thinned(OPS, FAST.__contains__))
@CHECKED
@given(data=st.data())
def test_any_partition_gives_the_same_bytes(op: str, tmp_path: Path, data: st.DataObject) -> None:
    graphs = data.draw(st.lists(graphs_of(op), min_size=PER_BUILD, max_size=PER_BUILD))
    seed = draw_seed(data)
    buildable = []
    for graph in graphs:
        try:
            build_program(graph, LINUX)
            buildable.append(graph)
        except EdgekitError as refused:
            assert refused.code == "E310", refused  # an accumulator that can overflow
    if buildable:
        graph = merged(buildable)
        check(build_program(graph, LINUX, threads=THREADS), graph, tmp_path, seed)


def test_layers_of_a_network_have_parts(tmp_path: Path) -> None:
    graph = net()
    alone, shared = build_program(graph, LINUX), build_program(graph, LINUX, threads=THREADS)
    assert not any(c.kernel.units for c in alone.calls)  # as on every target
    units = {c.op: c.kernel.units for c in shared.calls}
    assert units["conv2d"] > 8 and units["depthwise_conv2d"] == 12
    for one, many in zip(alone.calls, shared.calls, strict=True):
        scratch = -(-one.scratch_bytes // 16) * 16
        assert many.scratch_bytes == (scratch * THREADS if many.kernel.units else scratch)
    check(shared, graph, tmp_path, 1)


def test_the_checker_knows_every_workers_scratch() -> None:
    """A plan that has room for one worker only is refused."""
    program = build_program(net(), LINUX, threads=THREADS)
    call = next(c for c in program.calls if c.kernel.units and c.scratch_bytes)
    at = max(a.offset + a.nbytes for a in call.arguments if a.role == "scratch")
    small = type(program)(**{**vars(program), "arena_bytes": at - 1})
    with pytest.raises(PlanError):
        memory_check.check(small)


# ---- which loops


@dataclass(frozen=True)
class IntImm:
    value: int

    def __int__(self) -> int:
        return self.value


@dataclass(frozen=True, eq=False)
class Var:
    name: str


@dataclass(frozen=True)
class Add:
    a: Any
    b: Any


@dataclass(frozen=True)
class Mul:
    a: Any
    b: Any


@dataclass(frozen=True)
class FloorDiv:
    a: Any
    b: Any


@dataclass(frozen=True)
class For:
    loop_var: Var
    extent: IntImm
    body: Any
    kind: int = 0
    min: IntImm = field(default_factory=lambda: IntImm(0))


@dataclass(frozen=True)
class BufferStore:
    buffer: str
    value: Any
    indices: tuple[Any, ...]


@dataclass(frozen=True)
class BufferLoad:
    source: str
    indices: tuple[Any, ...]


@dataclass(frozen=True)
class SeqStmt:
    seq: tuple[Any, ...]


@dataclass(frozen=True)
class AllocBuffer:
    buffer: str


ROUND, INNER, ONE = Var("i"), Var("j"), IntImm(1)
STEP = Mul(ROUND, IntImm(4))


def loop(index: Any, value: Any = ONE, inner: int = 4) -> For:
    return For(ROUND, IntImm(8), For(INNER, IntImm(inner), BufferStore("y", value, (index,))))


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (loop(Add(STEP, INNER)), True),
        (loop(Add(STEP, INNER), inner=5), False),  # rounds write what the next one writes
        (loop(INNER), False),  # all of them write the same
        (loop(FloorDiv(ROUND, IntImm(2))), False),  # who knows
        (loop(Add(STEP, INNER), BufferLoad("y", (ROUND,))), False),  # reads what others write
        (loop(Add(STEP, INNER), BufferLoad("x", (ROUND,))), True),
        (
            SeqStmt((AllocBuffer("kept"), loop(Add(STEP, INNER)))),
            False,
        ),  # kept between rounds
        (SeqStmt((loop(Add(STEP, INNER)), loop(Add(STEP, INNER)))), False),
        (For(ROUND, IntImm(1), BufferStore("y", ONE, (ROUND,))), False),  # nothing to share
        (For(ROUND, IntImm(8), BufferStore("y", ONE, (ROUND,)), kind=1), False),
        (For(ROUND, IntImm(8), BufferStore("t", ONE, (ROUND,))), False),  # no result at all
    ],
)
def test_loops_that_are_given_away(body: Any, given: bool) -> None:
    found = rounds.independent(body, "y".__eq__)
    assert (found is not None) == given
