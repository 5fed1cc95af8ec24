"""Models with states: numpy, host, interpreter, ahead-of-time C and a board, step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codegen.lower import reduced
from edgekit import text
from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.execute import execute
from edgekit.graph import Graph, GraphError, Node, Quant, State, Value
from edgekit.output import Output, write_output
from edgekit.reference import run

GRID = Quant.make(0.5, 3)


def accumulator(initial: list[int], in_place: bool = False) -> Graph:
    """A running sum that becomes h; with `in_place` it is made when h is not read any more, so that
    it can lie where h lies."""
    g = Graph("accumulator", ["x"], ["z"])
    for name in ("x", "h", "y", "z"):
        g.add_value(Value(name, (1, 4), "int8", GRID))
    if in_place:
        g.nodes.append(Node("add", ("h", "x"), ("z",), {}, "first"))
        g.nodes.append(Node("add", ("x", "z"), ("y",), {}, "second"))
    else:
        g.nodes.append(Node("add", ("h", "x"), ("y",), {}, "first"))
        g.nodes.append(Node("add", ("y", "h"), ("z",), {}, "second"))
    g.states.append(State("h", "y", np.array([initial], np.int8)))
    return g.verify()


def stepwise(graph: Graph, x: np.ndarray) -> np.ndarray:
    """`graph` sample by sample, its state carried by hand."""
    h, rows = graph.states[0].initial, []
    for sample in x:
        alone = graph.copy()
        alone.states, alone.inputs = [], ["x", "h"]
        found = run(alone, {"x": sample[None], "h": h}, keep="all")
        h = found["y"]
        rows.append(found["z"][0])
    return np.stack(rows)


def samples(n: int) -> np.ndarray:
    return np.random.default_rng(3).integers(-20, 21, (n, 4)).astype(np.int8)


@pytest.fixture(scope="module", params=["copied", "in place"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Output:
    in_place = request.param == "in place"
    graph = accumulator([5, -7, 100, 3] if in_place else [3, 3, 3, 3], in_place)
    target = find_target("cortex-m4")
    assert ("copy" in [n.op for n in reduced(graph)[0].nodes]) != in_place
    built = build(
        graph, None, target=target, board=find_board(target.default_board), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    folder = Path(tmp_path_factory.mktemp("states")) / "out"
    return write_output(folder, built.files, built.description("accumulator", "zig"))


def test_reference_carries_states() -> None:
    x = samples(6)
    graph = accumulator([5, -7, 100, 3])
    np.testing.assert_array_equal(run(graph, {"x": x})["z"], stepwise(graph, x))
    kept = run(graph, {"x": x}, keep=["h", "y"])
    np.testing.assert_array_equal(kept["h"][1:], kept["y"][:-1])


@pytest.mark.parametrize(
    ("where", "mode"),
    [("host", "interpreter"), ("host", "aot"), ("virtual-cortex-m4", "interpreter"),
     ("virtual-cortex-m4", "aot")],
)  # fmt: skip
def test_every_place_carries_states(compiled: Output, where: str, mode: str) -> None:
    x = samples(6)
    want = stepwise(compiled.graph, x)
    for _ in range(2):  # the second round begins at the initial content again
        found = execute(compiled, {"x": x}, where, mode=mode)
        np.testing.assert_array_equal(found["z"], want)


def test_text_keeps_states() -> None:
    graph = accumulator([5, -7, 100, 3])
    again = text.loads(text.dumps(graph))
    assert text.dumps(again) == text.dumps(graph)
    np.testing.assert_array_equal(again.states[0].initial, graph.states[0].initial)


def test_rules_of_states() -> None:
    graph = accumulator([0, 0, 0, 0])
    graph.states[0] = State("h", "nothing", graph.states[0].initial)
    with pytest.raises(GraphError, match="nothing"):
        graph.verify()
    graph.states[0] = State("h", "y", np.zeros((1, 4), np.int16))
    with pytest.raises(GraphError, match="initial"):
        graph.verify()
