"""Variables and subgraphs of .tflite files, against TFLite Micro where it runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_files import File
from tflite_peer import differing_bytes, feed

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.importers import load, unsupported

Q = ("int8", 0.25, 3)
SHAPE = [1, 4]


def written(folder: Path, f: File, inputs: list[int], outputs: list[int]) -> Path:
    path = folder / "m.tflite"
    path.write_bytes(f.bytes(inputs, outputs))
    return path


def check(path: Path, compared: int, n: int = 6) -> Graph:
    """Import, run `n` consecutive samples and compare; returns the graph."""
    graph = load(path)
    found = differing_bytes(path, graph, feed(graph, np.random.default_rng(1), n, plausible=False))
    assert len(found) >= compared and not any(found.values()), found
    return graph


def handle(f: File, name: str) -> int:
    h = f.tensor([], "resource", name=f"{name} handle {len(f.sub.tensors)}")
    f.op("VAR_HANDLE", [], [h], "VarHandle", container="", sharedName=name)
    return h


def recurrent(first: list[int] | None, *, late: bool = False, scale: float = 0.25) -> File:
    """y = x + v; v = y, where v begins with `first`; `late` reads v once more behind."""
    f = File()
    x, v, y = f.tensor(SHAPE, *Q, name="x"), f.tensor(SHAPE, *Q), f.tensor(SHAPE, *Q, name="y")
    assert (x, y) == (0, 2)
    if first is not None:
        f.op("CALL_ONCE", [], [], "CallOnce", initSubgraphIndex=1)
    h = handle(f, "v")
    f.op("READ_VARIABLE", [h], [v], "ReadVariable")
    f.op("ADD", [x, v], [y], "Add")
    f.op("ASSIGN_VARIABLE", [h, y], [], "AssignVariable")
    if late:
        again, z = f.tensor(SHAPE, *Q), f.tensor(SHAPE, *Q, name="z")
        f.op("READ_VARIABLE", [h], [again], "ReadVariable")
        f.op("ADD", [x, again], [z], "Add")
    if first is not None:
        main, f.sub = f.sub, f.subgraph("init")
        h = handle(f, "v")
        c = f.tensor(SHAPE, "int8", scale, 3, data=first)
        f.op("ASSIGN_VARIABLE", [h, c], [], "AssignVariable")
        f.sub = main
    return f


@pytest.mark.parametrize("first", [None, [1, -20, 30, 127]])
def test_a_variable_is_a_state(tmp_path: Path, first: list[int] | None) -> None:
    graph = check(written(tmp_path, recurrent(first), [0], [2]), 1)
    [state] = graph.states
    # TFLite Micro begins with the zero point where nothing is assigned.
    assert state.initial.tolist() == [first or [3, 3, 3, 3]]
    assert state.next == "y"


def test_a_variable_that_is_read_again_behind_its_assignment(tmp_path: Path) -> None:
    f = recurrent([0, 1, 2, 3], late=True)
    at = next(i for i, t in enumerate(f.sub.tensors) if t.name == "z")
    graph = check(written(tmp_path, f, [0], [at]), 2)
    assert [n.op for n in graph.nodes] == ["add", "add"]


def test_a_variable_that_is_never_assigned_is_a_constant(tmp_path: Path) -> None:
    f = recurrent([9, 8, 7, 6])
    f.sub.operators = [o for o in f.sub.operators if len(o.outputs)  # ASSIGN_VARIABLE has none
                       or o.opcodeIndex == f.codes["CALL_ONCE"]]  # fmt: skip
    graph = check(written(tmp_path, f, [0], [2]), 1)
    assert not graph.states


def test_a_variable_with_two_scales_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, recurrent([1, 2, 3, 4], scale=0.5), [0], [2])
    [found] = unsupported(path)
    assert found.op == "READ_VARIABLE" and "another scale" in found.reason


def test_an_initialization_that_computes_is_refused(tmp_path: Path) -> None:
    f = recurrent([1, 2, 3, 4])
    f.sub = f.model.subgraphs[1]
    f.op("RELU", [1], [f.tensor(SHAPE, *Q)])
    found = unsupported(written(tmp_path, f, [0], [2]))
    assert [u.op for u in found] == ["CALL_ONCE"] and "'init'" in found[0].reason


def branches(condition: bool | None) -> tuple[File, list[int], int]:
    """IF x + x ELSE x * x on a constant, or on a second input."""
    f = File()
    x, y = f.tensor(SHAPE, *Q, name="x"), f.tensor(SHAPE, *Q, name="y")
    c = f.tensor([1], "bool", data=None if condition is None else [condition], name="c")
    f.op("IF", [c, x], [y], "If", thenSubgraphIndex=1, elseSubgraphIndex=2)
    main = f.sub
    for code, options in (("ADD", "Add"), ("MUL", "Mul")):
        f.sub = f.subgraph(code)
        a, b = f.tensor(SHAPE, *Q, name="x"), f.tensor(SHAPE, *Q, name="y")
        f.op(code, [a, a], [b], options)
        f.sub.inputs, f.sub.outputs = [a], [b]
    f.sub = main
    return f, [x] if condition is not None else [x, c], y


@pytest.mark.parametrize("condition", [True, False])
def test_a_known_condition_chooses_a_subgraph(tmp_path: Path, condition: bool) -> None:
    f, inputs, y = branches(condition)
    path = written(tmp_path, f, inputs, [y])
    graph = load(path)
    assert [n.op for n in graph.nodes] == ["add" if condition else "mul"]
    assert [graph.values[o].shape for o in graph.outputs] == [(1, 4)]


def test_a_computed_condition_is_refused(tmp_path: Path) -> None:
    f, inputs, y = branches(None)
    f.sub.tensors[2].shape = [1]
    [found] = unsupported(written(tmp_path, f, inputs, [y]))
    assert found.op == "IF" and "condition" in found.reason


def loop(passes: int) -> tuple[File, list[int], list[int]]:
    """i = 0; while i < passes: x = x + c; i = i + 1."""
    f = File()
    x, y = f.tensor(SHAPE, *Q, name="x"), f.tensor(SHAPE, *Q, name="y")
    i, n = f.tensor([1], "int32", data=[0]), f.tensor([1], "int32")
    f.op("WHILE", [i, x], [n, y], "While", condSubgraphIndex=1, bodySubgraphIndex=2)
    main, f.sub = f.sub, f.subgraph("condition")
    a, b, less = f.tensor([1], "int32"), f.tensor(SHAPE, *Q), f.tensor([1], "bool")
    f.op("LESS", [a, f.tensor([1], "int32", data=[passes])], [less], "Less")
    f.sub.inputs, f.sub.outputs = [a, b], [less]
    f.sub = f.subgraph("body")
    a, b = f.tensor([1], "int32"), f.tensor(SHAPE, *Q)
    more, after = f.tensor([1], "int32"), f.tensor(SHAPE, *Q)
    f.op("ADD", [a, f.tensor([1], "int32", data=[1])], [more], "Add")
    f.op("ADD", [b, f.tensor(SHAPE, *Q, data=[1, 5, 9, 4])], [after], "Add")
    f.sub.inputs, f.sub.outputs = [a, b], [more, after]
    f.sub = main
    return f, [x], [y]


def test_a_loop_with_a_known_number_of_passes_is_unrolled(tmp_path: Path) -> None:
    f, inputs, outputs = loop(3)
    path = written(tmp_path, f, inputs, outputs)
    graph = load(path)
    assert [n.op for n in graph.nodes] == ["add"] * 3
    from tflm import Tflm

    from edgekit.reference import run

    x = feed(graph, np.random.default_rng(0), 4, plausible=False)[graph.inputs[0]]
    peer = Tflm(path.read_bytes())
    want = np.concatenate([peer.run(row[None]) for row in x])
    assert np.array_equal(run(graph, {graph.inputs[0]: x})[graph.outputs[0]], want)


def test_loops_within_loops_are_bounded(tmp_path: Path) -> None:
    """250 passes of 250 passes of a body in a file of two kilobytes."""
    f, inputs, outputs = loop(250)
    body = f.model.subgraphs[2]
    f.sub = body
    inner = f.tensor(SHAPE, *Q), f.tensor([1], "int32")
    first = f.tensor([1], "int32", data=[0])
    add = body.operators[1]
    f.op("WHILE", [first, add.outputs[0]], [inner[1], inner[0]], "While", condSubgraphIndex=1,
         bodySubgraphIndex=3)  # fmt: skip
    body.outputs = [body.outputs[0], inner[0]]
    f.sub = f.subgraph("inner")
    a, b = f.tensor([1], "int32"), f.tensor(SHAPE, *Q)
    more, after = f.tensor([1], "int32"), f.tensor(SHAPE, *Q)
    f.op("ADD", [a, f.tensor([1], "int32", data=[1])], [more], "Add")
    f.op("ADD", [b, b], [after], "Add")
    f.sub.inputs, f.sub.outputs = [a, b], [more, after]
    [found] = unsupported(written(tmp_path, f, inputs, outputs))
    assert found.op == "WHILE" and "10000" in found.reason


def test_a_computed_constant_of_absurd_size_is_refused(tmp_path: Path) -> None:
    f = File()
    x, c, y = f.tensor(SHAPE, *Q), f.tensor([1, 1 << 27], *Q), f.tensor([1, 1 << 27], *Q)
    f.op("FILL", [f.ints([1, 1 << 27]), f.tensor([], *Q, data=[1])], [c], "Fill")
    f.op("ADD", [x, c], [y], "Add")
    [found] = unsupported(written(tmp_path, f, [x], [y]))
    assert found.op == "FILL" and "134217728" in found.reason


def test_a_long_loop_is_refused(tmp_path: Path) -> None:
    f, inputs, outputs = loop(1000)
    [found] = unsupported(written(tmp_path, f, inputs, outputs))
    assert found.op == "WHILE" and "256" in found.reason


def test_subgraphs_that_call_one_another_are_damage(tmp_path: Path) -> None:
    f = File()
    x, y = f.tensor(SHAPE, *Q), f.tensor(SHAPE, *Q)
    f.op("CALL", [x], [y], "Call", subgraph=1)
    main, f.sub = f.sub, f.subgraph("again")
    a, b = f.tensor(SHAPE, *Q), f.tensor(SHAPE, *Q)
    f.op("CALL", [a], [b], "Call", subgraph=1)
    f.sub.inputs, f.sub.outputs = [a], [b]
    f.sub = main
    with pytest.raises(EdgekitError, match="calls itself") as caught:
        load(written(tmp_path, f, [x], [y]))
    assert caught.value.code == "E103"
