"""Random one-operator integer graphs of matrix products and normalizations."""

from __future__ import annotations

from typing import Any

import numpy as np
from graphs import CLAMPS, one_node, quants, scales
from hypothesis import strategies as st

from edgekit.graph import Graph, Quant, Value
from edgekit.ops import operator
from edgekit.ops.normalize import BETA_STEPS
from edgekit.ops.softmax import PROBABILITIES

SIZES = st.integers(1, 12)
ROW_OPERATORS = ("l2_normalize", "log_softmax")
NORMALIZATIONS = ("layer_norm", "rms_norm", "instance_norm", "group_norm")


def _out_dtype(x_dtype: str, dtype: str) -> dict[str, Any]:
    return {} if dtype == x_dtype else {"out_dtype": dtype}


@st.composite
def matmul_graphs(
    draw: st.DrawFn,
    a_dtype: str = "int8",
    b_dtype: str = "int8",
    dtype: str = "int8",
    clamps: bool = True,
    sizes: st.SearchStrategy[int] = SIZES,
) -> Graph:
    """Batches that are equal, or of one matrix that all others meet; b may be constant."""
    lead = (1, *draw(st.lists(st.integers(1, 3), max_size=2)))
    m, k, n = (draw(sizes) for _ in range(3))
    transpose_b = draw(st.booleans())
    b_lead = draw(st.sampled_from([lead, (1,) * len(lead)]))
    b_shape = (*b_lead, n, k) if transpose_b else (*b_lead, k, n)
    values = [
        Value("a", (*lead, m, k), a_dtype, draw(quants(1e-3, 0.1, a_dtype))),
        Value("b", b_shape, b_dtype, draw(quants(1e-3, 0.1, b_dtype))),
    ]
    constants = {}
    if draw(st.booleans()):
        r, info = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), np.iinfo(b_dtype)
        constants["b"] = r.integers(info.min, info.max + 1, b_shape).astype(b_dtype)
    return one_node(
        "matmul",
        values,
        Value("y", (*lead, m, n), dtype, draw(quants(1e-2, 1.0, dtype))),
        constants,
        transpose_b=transpose_b,
        clamp=draw(st.sampled_from(CLAMPS)) if clamps else None,
        **_out_dtype(a_dtype, dtype),
    )


@st.composite
def norm_graphs(draw: st.DrawFn, op: str, x_dtype: str = "int8", dtype: str = "int8") -> Graph:
    """Any of the four normalizations with drawn gamma and beta."""
    attrs: dict[str, Any] = {"epsilon": draw(st.sampled_from([0.0, 1e-12, 1e-5, 1e-3, 1.0]))}
    inner = draw(st.lists(st.integers(1, 5), min_size=1, max_size=2))
    channels = draw(st.integers(1, 24))
    if op == "group_norm":
        attrs["groups"] = draw(st.sampled_from([1, 2, 3]))
        channels *= attrs["groups"]
    shape = (1, *inner, channels)
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    gamma_quant = Quant.make(draw(scales(1e-6, 1e-3)))
    values = [
        Value("x", shape, x_dtype, draw(quants(1e-3, 0.5, x_dtype))),
        Value("gamma", (channels,), "int16", gamma_quant),
    ]
    constants = {"gamma": r.integers(-32767, 32768, channels).astype(np.int16)}
    if operator(op).centred:  # type: ignore[attr-defined]
        step = gamma_quant.scale[0] * np.float32(BETA_STEPS)
        values.append(Value("beta", (channels,), "int32", Quant.make(step)))
        spread = draw(st.sampled_from([0, 1 << 20, 1 << 30]))
        constants["beta"] = r.integers(-spread, spread + 1, channels).astype(np.int32)
    return one_node(
        op,
        values,
        Value("y", shape, dtype, draw(quants(1e-2, 1.0, dtype))),
        constants,
        clamp=draw(st.sampled_from(CLAMPS)),
        **attrs,
        **_out_dtype(x_dtype, dtype),
    )


@st.composite
def row_graphs(draw: st.DrawFn, op: str, dtype: str = "int8") -> Graph:
    """l2_normalize or log_softmax."""
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 80)))
    attrs = {"epsilon": 0.0} if op == "l2_normalize" else {}
    low, high = (1e-3, 1.0) if op == "l2_normalize" else (1e-4, 2.0)
    x = Value("x", shape, dtype, draw(quants(low, high, dtype)))
    quant = operator(op).fixed_quant(None, dtype)  # type: ignore[attr-defined]
    return one_node(op, [x], Value("y", shape, dtype, quant), {}, **attrs)


@st.composite
def masked_softmax_graphs(draw: st.DrawFn, dtype: str = "int8") -> Graph:
    """A mask for all, or for the last axes; a constant, or an operand of its own."""
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 40)))
    mask_shape = draw(st.sampled_from([shape, (1, 1, *shape[2:]), shape[2:], (1, 1, 1, shape[3])]))
    x = Value("x", shape, dtype, draw(quants(1e-5, 2.0, dtype)))
    constants = {}
    if len(mask_shape) < len(shape) or draw(st.booleans()):
        r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        constants["mask"] = r.random(mask_shape) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    return one_node(
        "masked_softmax",
        [x, Value("mask", mask_shape, "bool")],
        Value("y", shape, dtype, PROBABILITIES[dtype]),
        constants,
        beta=draw(st.sampled_from([1.0, 0.25])),
    )


def graphs_of(op: str) -> st.SearchStrategy[Graph]:
    """The strategy of ``matmul int8,int16>int16``, ``layer_norm int16>int8`` and the like.

    Operand types are in front of the arrow, one where they are equal, and the result's after it.
    """
    name, _, types = op.partition(" ")
    before, _, dtype = (types or "int8").partition(">")
    kinds = before.split(",")
    if name == "matmul":
        return matmul_graphs(kinds[0], kinds[-1], dtype or kinds[0])
    if name in NORMALIZATIONS:
        return norm_graphs(name, kinds[0], dtype or kinds[0])
    if name == "masked_softmax":
        return masked_softmax_graphs(kinds[0])
    return row_graphs(name, kinds[0])
