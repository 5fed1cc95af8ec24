"""Models with states: numpy, host, interpreter, ahead-of-time C and a board, step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from placed import check_placed
from state_graphs import accumulator, compiled_graph, stepwise

from codegen.lower import build_program, reduced
from edgekit import text
from edgekit.devices.find import find_target
from edgekit.execute import execute
from edgekit.graph import GraphError, State
from edgekit.output import Output
from edgekit.reference import run


def samples(n: int) -> np.ndarray:
    return np.random.default_rng(3).integers(-20, 21, (n, 4)).astype(np.int8)


@pytest.fixture(scope="module", params=["copied", "in place"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Output:
    in_place = request.param == "in place"
    graph = accumulator([5, -7, 100, 3] if in_place else [3, 3, 3, 3], in_place)
    assert ("copy" in [n.op for n in reduced(graph)[0].nodes]) != in_place
    return compiled_graph(graph, Path(tmp_path_factory.mktemp("states")) / "out")


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


@pytest.mark.parametrize("in_place", [False, True])
def test_states_in_the_memory_plan(in_place: bool) -> None:
    program = build_program(accumulator([1, 2, 3, 4], in_place), find_target("cortex-m4"))
    check_placed(program)
    (state,) = [b for b in program.placed if b.kind == "state"]
    assert (state.first, state.last) == (-1, len(program.calls))
