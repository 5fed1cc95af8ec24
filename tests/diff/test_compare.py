"""`edgekit.diff` on the digits sample and on graphs whose errors are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from models import DIGITS

from edgekit import data
from edgekit.diff import Diff, compare, page
from edgekit.diff.lift import Lifter, group, more_flash, peak_bytes
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant, State, Value
from edgekit.importers import load
from edgekit.ops import convert
from edgekit.reference import run
from quantizer import quantize
from quantizer.compare import compare as quantizer_compare
from quantizer.equalize import SUFFIX, equalize


@pytest.fixture(scope="module")
def graphs() -> tuple[Graph, Graph, dict[str, np.ndarray], np.ndarray]:
    graph = load(DIGITS.path)
    assert DIGITS.calibration is not None
    calibration = data.load(DIGITS.calibration, graph)
    samples = data.load(DIGITS.samples, graph)
    arrays = {k: v[:64] for k, v in samples.arrays.items()}
    assert samples.labels is not None
    return graph, quantize(graph, calibration.arrays).graph, arrays, samples.labels[:64]


@pytest.fixture(scope="module")
def found(graphs: tuple[Graph, Graph, dict[str, np.ndarray], np.ndarray]) -> Diff:
    left, right, arrays, labels = graphs
    return compare(left, right, arrays, labels=labels)


def test_sqnr_is_the_quantizers(graphs, found: Diff) -> None:  # type: ignore[no-untyped-def]
    left, right, arrays, _ = graphs
    want = quantizer_compare(left, right, arrays)
    assert [t.name for t in found.tensors] == list(want)
    for tensor in found.tensors:
        assert tensor.sqnr_db == pytest.approx(want[tensor.name], rel=1e-6)
    assert found.logits_sqnr_db == pytest.approx(want[found.logits], rel=1e-6)
    assert found.agreement is not None and found.agreement > 0.9
    assert found.accuracy_left is not None and found.accuracy_left > 0.9


def test_figures_hang_together(found: Diff) -> None:
    for t in found.tensors:
        count = sum(t.histogram_left)
        assert count == sum(t.histogram_right) == 64 * math.prod(t.shape)
        outside = t.histogram_left[0] + t.histogram_left[-1]
        assert t.saturated == pytest.approx(outside / count)
        assert t.histogram_right[0] == t.histogram_right[-1] == 0
        assert 0 < t.used <= 1 and 0.9 < t.cosine <= 1 + 1e-9
    first = found.tensors[0]
    assert first.op == "input" and first.local_sqnr_db == first.sqnr_db


def test_nothing_quantized_beats_all_quantized(found: Diff) -> None:
    assert found.weights_only_db is not None and found.lift_base_db is not None
    assert found.weights_only_db > found.lift_base_db + 1
    lifts = [t.lift for t in found.tensors if t.lift]
    assert lifts and all(x.tensor_bytes >= x.ram_bytes >= 0 for x in lifts)


def test_a_model_equals_itself(graphs) -> None:  # type: ignore[no-untyped-def]
    _, right, arrays, _ = graphs
    same = compare(right, right, arrays)
    assert same.logits_sqnr_db == math.inf and same.agreement == 1
    assert same.worth_lifting() == [] and same.worst_locally() == []
    facts = json.loads(json.dumps(same.as_json(), allow_nan=False))
    assert facts["logits_sqnr_db"] is None
    assert "nobody" in page(same) or "no single tensor" in page(same)


def test_two_integer_graphs(graphs) -> None:  # type: ignore[no-untyped-def]
    """int8 against int4: what the first one's integers stand for is the reference."""
    left, right, arrays, labels = graphs
    four = quantize(left, arrays, weight_bits=4).graph
    result = compare(right, four, arrays, labels=labels, names=("int8", "int4"))
    assert 5 < result.logits_sqnr_db < compare(left, right, arrays).logits_sqnr_db
    assert result.accuracy_left is not None and result.accuracy_right is not None
    assert all(t.lift is not None for t in result.worth_lifting())
    assert "int8 against int4" in page(result)


def test_equalized_tensors_are_not_compared() -> None:
    """They hold other numbers on purpose; the outputs still are those of the model."""
    from quantizer_small import samples as small
    from quantizer_small import wide_network

    left = wide_network()
    data = small()
    right = quantize(equalize(left, data), data).graph
    result = compare(left, right, data)
    assert result.unmatched and all(name.endswith(SUFFIX) for name in result.unmatched)
    assert result.logits_sqnr_db > 20


def test_finds_the_layer_that_was_spoilt(graphs) -> None:  # type: ignore[no-untyped-def]
    """One tensor whose scale is ten times too coarse is named first in both lists."""
    left, right, arrays, _ = graphs
    bad = right.copy()
    convolutions = [n.output for n in bad.nodes if n.op == "conv2d"]
    name = convolutions[0]
    quant = bad.values[name].quant
    assert quant is not None
    coarse = Quant.make(quant.scale * 10, quant.zero_point)
    for member in group(bad, name) | {
        n.output for n in bad.nodes if name in n.inputs and n.op.endswith("pool2d")
    }:
        bad.values[member] = replace(bad.values[member], quant=coarse)
    result = compare(left, bad.verify(), arrays)
    assert result.worst_locally()[0].name in (name, bad.consumers(name)[0].output)
    spoilt = next(t for t in result.tensors if t.name == name)
    assert spoilt.local_sqnr_db is not None and spoilt.local_sqnr_db < 30 and spoilt.used < 0.2
    assert result.worth_lifting()[0].name == name
    assert spoilt.lift is not None and result.lift_base_db is not None
    intact = compare(left, right, arrays).lift_base_db
    assert intact is not None  # without this tensor's error the network is about what it was
    assert abs(result.lift_base_db + spoilt.lift.gain_db - intact) < 6


def test_lifting_nothing_changes_nothing(graphs) -> None:  # type: ignore[no-untyped-def]
    _, right, arrays, _ = graphs
    raw = data.quantize_inputs(right, arrays)
    integers = run(right, raw, keep="all")
    lifter = Lifter(right, arrays, integers)
    name = right.nodes[-2].output
    want = convert.dequantize(right.values[name], integers[name])
    np.testing.assert_array_equal(lifter.run(frozenset(), name), want)


def test_peak_bytes() -> None:
    """x(8) -> a(4) -> b(4, reshape) -> c(2): the most is x and a together."""
    q = Quant.make(1.0)
    g = Graph("g", inputs=["x"], outputs=["c"])
    g.values = {
        n: Value(n, s, "int8", q)
        for n, s in {"x": (1, 8), "a": (1, 4), "b": (1, 2, 2), "c": (1, 2)}.items()
    }
    g.nodes = [
        Node("clip", ("x",), ("a",)),
        Node("reshape", ("a",), ("b",), {"shape": [1, 2, 2]}),
        Node("clip", ("b",), ("c",)),
    ]
    assert group(g, "a") == {"a", "b"}
    assert peak_bytes(g) == 12
    assert peak_bytes(g, frozenset({"x"})) == 20
    assert peak_bytes(g, frozenset({"a", "b"})) == 16
    assert peak_bytes(g, frozenset({"c"})) == 12


def test_more_flash(graphs) -> None:  # type: ignore[no-untyped-def]
    """Only the tables of a softmax change; weights and biases stay."""
    _, right, _, _ = graphs
    softmax = right.nodes[-1]
    assert softmax.op == "softmax"
    assert more_flash(right, group(right, softmax.inputs[0])) == 2 * 2 * 513 - 4 * 256
    assert more_flash(right, frozenset(right.inputs)) == 0


def test_mixed_graphs(graphs) -> None:  # type: ignore[no-untyped-def]
    """16-bit tensors have nothing to lift to, and what lies between float layers is left out."""
    left, _, arrays, _ = graphs
    calibration = data.load(DIGITS.calibration, left).arrays
    convs = [n for n in left.nodes if n.op == "conv2d"]
    mixed = quantize(
        left,
        calibration,
        float_layers=[n.name or n.output for n in convs[:2]],
        activation_bits={convs[2].name or convs[2].output: 16},
    ).graph
    found = compare(left, mixed, arrays)
    names = {t.name: t for t in found.tensors}
    assert mixed.values[convs[0].output].dtype == "float32" and convs[0].output not in names
    wide = names[convs[2].output]
    assert mixed.values[wide.name].dtype == "int16" and wide.lift is None
    assert found.logits_sqnr_db > 25 and page(found)


class _Checker(HTMLParser):
    """Every tag that is opened is closed, and nothing comes from elsewhere."""

    VOID = ("meta", "link", "rect", "path", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {v for k, v in attrs if k in ("src", "href")} <= {"data:,"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page(found: Diff) -> None:
    text = page(replace(found, left="<script>a & b"))
    checker = _Checker()
    checker.feed(text)
    assert not checker.open
    assert len(text) < 1_000_000 and "<script>" not in text and "nan" not in text
    for part in ("viewport", "prefers-color-scheme", "Error by layer", "Histograms", "Ranges"):
        assert part in text
    for tensor in found.tensors:
        assert tensor.name.replace("&", "&amp;") in text


# ---- what is refused


def refused(code: str, left: Graph, right: Graph, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(EdgekitError) as caught:
        compare(left, right, arrays)
    assert caught.value.code == code and caught.value.help


def renamed(graph: Graph, old: str, new: str) -> Graph:
    from edgekit.passes.edit import rename

    graph = graph.copy()
    rename(graph, old, new)
    graph.inputs = [new if n == old else n for n in graph.inputs]
    return graph.verify()


def test_refusals(graphs) -> None:  # type: ignore[no-untyped-def]
    left, right, arrays, _ = graphs
    refused("E220", renamed(left, left.inputs[0], "other"), right, arrays)
    refused("E221", renamed(left, left.outputs[0], "other"), right, arrays)
    refused("E222", left, left, arrays)
    refused("E201", left, right, {"none": arrays[left.inputs[0]]})
    hidden = right.nodes[0].output
    part = compare(renamed(left, hidden, "other"), right, arrays, lift=False)
    assert part.unmatched == (hidden,)
    assert hidden not in [t.name for t in part.tensors]
    assert part.tensors[1].local_sqnr_db is None  # its operand has no counterpart


@pytest.mark.parametrize("states", [False, True])
def test_operators_with_several_results(states: bool) -> None:
    """An lstm, whose first result is judged and lifted, with what it keeps beside it."""
    rng = np.random.default_rng(0)
    g = Graph("cell", ["x"], ["z"])
    names = ["x", "h0", "c0"]
    g.add_value(Value("x", (1, 5, 3)))
    for name in ("h0", "c0"):
        if states:
            g.add_value(Value(name, (1, 4)))
        else:
            g.add_constant(name, np.zeros((1, 4), np.float32))
    for name, shape in (("w", (16, 3)), ("r", (16, 4)), ("bias", (16,))):
        names.append(g.add_constant(name, rng.normal(0, 0.7, shape).astype(np.float32)))
    for value in (Value("y", (1, 5, 4)), Value("h", (1, 4)), Value("c", (1, 4)),
                  Value("z", (1, 1, 4))):  # fmt: skip
        g.add_value(value)
    last = {"starts": [0, 4, 0], "stops": [1, 5, 4], "steps": [1, 1, 1]}
    g.nodes = [
        Node("lstm", tuple(names), ("y", "h", "c"), {}, "cell"),
        Node("slice", ("y",), ("z",), last, "last"),
    ]
    if states:
        g.states = [State(f"{n}0", n, np.zeros((1, 4), np.float32)) for n in ("h", "c")]
    x = rng.normal(0, 1, (24, 5, 3)).astype(np.float32)
    integer = quantize(g.verify(), {"x": x}).graph
    found = compare(g, integer, {"x": x})
    by_name = {t.name: t for t in found.tensors}
    assert found.logits_sqnr_db > 25 and by_name["y"].sqnr_db > 25
    assert all(abs(t.lift.gain_db) < 10 for t in found.tensors if t.lift)
    local = by_name["z"].local_sqnr_db
    assert local is not None and local > 30
