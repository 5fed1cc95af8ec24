"""Sigmoid and tanh of int16, cells in integers against cells in reals, and illegal operands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recurrent_models import cells, integers

from edgekit.graph import Graph, GraphError, Quant, Value
from edgekit.ops import gates, operator
from edgekit.ops.convert import dequantize, quantize

EVERY = np.arange(-32768, 32768)
FEW = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_sigmoid_of_every_number() -> None:
    y = gates.sigmoid16(EVERY)
    assert y.min() >= 0 and y.max() <= 32767 and (np.diff(y) >= 0).all()
    assert np.abs(y - 32768 / (1 + np.exp(-EVERY / 4096))).max() < 3


@pytest.mark.parametrize("power", range(-15, 1))
def test_tanh_of_every_number(power: int) -> None:
    y = gates.tanh16(EVERY, power)
    assert (np.diff(y) >= 0).all() and y.min() >= -32768 and y.max() <= 32767
    want = np.tanh(EVERY * 2.0**power)
    # Numbers finer than Q3.12 are rounded to it first.
    slack = 5 + (8 if power < -12 else 0)
    assert np.abs(y - 32768 * want).max() < slack


def reals(graph: Graph, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The layer's results on the reals that its integers stand for."""
    (node,) = graph.nodes
    x, w = (graph.values[n].quant for n in (node.inputs[0], "w"))
    assert x is not None and w is not None
    operands = []
    for name in node.inputs:
        data, value = graph.constants.get(name, feeds.get(name)), graph.values[name]
        assert data is not None
        if name in ("bias", "inner"):  # in steps of the products that they are added to
            by = w if name == "bias" else graph.values["r"].quant
            of = x if name == "bias" else graph.values["y"].quant
            assert by is not None and of is not None
            scale = (by.scale * of.scale)[-len(data) :]
            value = Value(name, data.shape, "int32", Quant.make(scale, 0, 0))
        operands.append(dequantize(value, data).astype(np.float32))
    return operator(node.op).evaluate_float(node, operands)


def shortened(graph: Graph) -> Graph:
    """The layer for a single step, its cell in a grid that does not saturate."""
    graph = graph.copy()
    for name in {"c0", "c"} & set(graph.values):
        graph.values[name] = replace(graph.values[name], quant=Quant.make(2.0**-13, 0))
    for name in ("x", "y"):
        value = graph.values[name]
        graph.values[name] = replace(value, shape=(1, 1, value.shape[2]))
    return graph


def reading(graph: Graph) -> float:
    """How far a gru's state moves at most where its products read half a step beside the state.

    With d half a step of y and S the largest sum of magnitudes in a row of R, a gate's slope being
    1/4 at most: z moves by d S / 4 and takes its share of |h - candidate| < 1.2; the candidate
    moves by d S for the state, by |h| d S^2 / 4 < 0.05 d S^2 for the reset gate, and by d S once
    more where the state is rounded again behind the reset gate.
    """
    (node,) = graph.nodes
    y, r = graph.values["y"].quant, graph.values["r"].quant
    assert y is not None and r is not None
    d = float(y.scale[0]) / 2
    rows = (np.abs(graph.constants["r"].astype(np.float64)) * r.scale[:, None]).sum(axis=1)
    of_z, of_reset, of_new = (float(part.max()) for part in np.split(rows, 3))
    roundings = 1 if node.attrs["linear_before_reset"] else 2
    return d * (1.2 * of_z / 4 + roundings * of_new + 0.05 * of_reset * of_new)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("op", ["lstm", "gru", "rnn"])
def test_integers_follow_reals(op: str, dtype: str) -> None:
    """One step, from which errors do not grow: results differ by few steps of their grid."""

    @FEW
    @given(cells(op, dtype, reach=1.5), st.integers(0, 1000))
    def check(graph: Graph, seed: int) -> None:
        (node,) = graph.nodes
        graph = shortened(graph)
        rng = np.random.default_rng(seed)
        values = [graph.values[n] for n in node.inputs]
        outs = [graph.values[n] for n in node.outputs]
        feeds = {n: integers(rng, graph.values[n].shape, graph.values[n].dtype)
                 for n in node.inputs if n not in graph.constants}  # fmt: skip
        if op != "rnn":  # states of 16 bits from which nothing saturates
            name = "h0" if op == "gru" else "c0"
            feeds[name] = quantize(graph.values[name], rng.uniform(-0.2, 0.2, feeds[name].shape))
        inputs = [graph.constants.get(n, feeds.get(n)) for n in node.inputs]
        have = operator(op).evaluate_int(node, inputs, values, outs)
        slack = 0.01  # of tables and of what the products read: Q3.12, Q0.15
        if op == "gru":
            slack = 0.005 + reading(graph)
        for integer, real, out in zip(have, reals(graph, feeds), outs, strict=True):
            want = quantize(out, real).astype(np.int64)
            scale = float(out.quant.scale[0])  # type: ignore[union-attr]
            few = 2 + slack / scale
            assert np.abs(integer.astype(np.int64) - want).max() <= few

    check()


@FEW
@given(cells("lstm"), st.integers(0, 1000))
def test_samples_are_independent(graph: Graph, seed: int) -> None:
    """Many at once give what each gives alone."""
    (node,) = graph.nodes
    rng = np.random.default_rng(seed)
    values = [graph.values[n] for n in node.inputs]
    outs = [graph.values[n] for n in node.outputs]
    feeds = {n: integers(rng, (3, *graph.values[n].shape[1:]), graph.values[n].dtype)
             for n in node.inputs if n not in graph.constants}  # fmt: skip
    together = operator("lstm").evaluate_int(
        node, [graph.constants.get(n, feeds.get(n)) for n in node.inputs], values, outs
    )
    for i in range(3):
        alone = operator("lstm").evaluate_int(
            node,
            [graph.constants[n] if n in graph.constants else feeds[n][i : i + 1]
             for n in node.inputs],
            values, outs,
        )  # fmt: skip
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[i : i + 1], b)


@FEW
@given(cells("gru"))
def test_illegal_operands(graph: Graph) -> None:
    for name, shape in (("x", (2, 3, 4)), ("w", (7, 7)), ("h0", (1, 99)), ("inner", (1,))):
        if graph.values[name].shape == shape:
            continue
        broken = graph.copy()
        broken.values[name] = replace(broken.values[name], shape=shape, quant=None)
        values = [broken.values[n] for n in broken.nodes[0].inputs]
        with pytest.raises(GraphError, match=r"must be|one sequence"):
            operator("gru").checked(broken.nodes[0], values)
