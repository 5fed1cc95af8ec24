"""Inputs and outputs that become states: what they compute, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shared import SHARED, needs_shared

from edgekit.data import quantize_inputs
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.importers import load
from edgekit.pipeline import compile
from edgekit.reference import run
from edgekit.streaming.kept import keep, parse_pairs


def running(
    dtype: str = "float32", grids: tuple[Quant | None, Quant | None] = (None, None)
) -> Graph:
    """y = x + s, which is the next s as well; z is y again."""
    g = Graph("running", ["x", "s"], ["z", "y"])
    before, after = grids
    for name, quant in (("x", before), ("s", before), ("y", after), ("z", after)):
        g.add_value(Value(name, (1, 3), dtype, quant))
    g.nodes = [
        Node("add", ("x", "s"), ("y",), {}, "sum"),
        Node("clip", ("y",), ("z",), {"clamp": [None, None]}, "copy"),
    ]
    return g.verify()


def test_a_pair_becomes_a_state() -> None:
    graph = keep(running(), {"s": "y"})
    assert (graph.inputs, graph.outputs) == (["x"], ["z"])
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(run(graph, {"x": x})["z"], x.cumsum(axis=0))


def test_integers_of_another_grid_are_converted() -> None:
    graph = keep(running("int8", (Quant.make(0.5, 3), Quant.make(1.0, -2))), {"s": "y"})
    assert graph.values[graph.states[0].next].quant == graph.values["s"].quant
    assert (graph.states[0].initial == 3).all()
    x = np.full((3, 3), 7, np.int8)  # 2.0
    np.testing.assert_array_equal(run(graph, {"x": x})["z"], [[0] * 3, [2] * 3, [4] * 3])


@pytest.mark.parametrize(
    ("pairs", "code", "message"),
    [
        ({"t": "y"}, "E150", "no input 't'"),
        ({"s": "w"}, "E150", "no output 'w'"),
        ({"x": "y", "s": "y"}, "E150", "two states"),
        ({"x": "z", "s": "y"}, "E152", "no input left"),
    ],
)
def test_refusals(pairs: dict[str, str], code: str, message: str) -> None:
    with pytest.raises(EdgekitError, match=message) as refused:
        keep(running(), pairs)
    assert refused.value.code == code


def test_shapes_must_agree() -> None:
    g = running()
    g.values["z"] = Value("z", (3, 1))
    g.nodes[1] = Node("reshape", ("y",), ("z",), {"shape": [3, 1]}, "turn")
    with pytest.raises(EdgekitError, match=r"\[1, 3\], output 'z' is \[3, 1\]") as refused:
        keep(g.verify(), {"s": "z"})
    assert refused.value.code == "E151"


def test_pairs_are_parsed() -> None:
    assert parse_pairs(("a=b", "c=d")) == {"a": "b", "c": "d"}
    for bad in (("a",), ("=b",), ("a=",), ("a=b", "a=c")):
        with pytest.raises(EdgekitError) as refused:
            parse_pairs(bad)
        assert refused.value.code == "E150"


@needs_shared
def test_silero_vad_keeps_its_state(tmp_path: Path) -> None:
    """Calibrated on frames alone; the board goes on from frame to frame as numpy does."""
    path = SHARED / "models" / "silero_vad_openvino_16k.onnx"
    rng = np.random.default_rng(0)
    tone = np.sin(np.arange(576 * 12) * 0.3) * np.linspace(0, 0.5, 576 * 12)
    frames = (tone + rng.normal(0, 0.02, tone.shape)).astype(np.float32).reshape(12, 576)
    done = compile(
        path, output=tmp_path / "out", calibration={"input": frames}, states={"state": "stateN"}
    )
    assert done.report.logits_sqnr_db is not None and done.report.logits_sqnr_db > 20
    feeds = quantize_inputs(done.graph, {"input": frames})
    want = run(done.graph, feeds)["output"]
    assert len(np.unique(want)) > 3
    for place in ("host", "virtual-cortex-m4"):
        found = execute(done.output, feeds, place, mode="aot")
        np.testing.assert_array_equal(found["output"], want)
    assert load(path).inputs == ["input", "state"]
