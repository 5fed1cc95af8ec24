"""Elementwise operators through the quantizer: close to the float network, and exact in C."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, run_host
from quantizer_small import Builder

from codegen.lower import build_program
from edgekit.data import dequantize_output, quantize_inputs
from edgekit.graph import Graph
from edgekit.reference import run
from quantizer import quantize

C99 = replace(M4.target, families=("c99",))


def network() -> Graph:
    """Gates, a choice by a comparison, truth values as numbers, a root and a quotient."""
    b = Builder(0)
    x = b.input("x", 1, 4, 4, 6)
    s = b.node("sub", b.node("unary", x, function="gelu"), b.constant("c", 6))
    gate = b.node("unary", x, function="sigmoid")
    m = b.node("mul", b.node("unary", s, function="tanh"), gate)
    p = b.node("prelu", m, b.constant("slope", 6))
    bounded = b.node("maximum", p, b.node("minimum", x, b.constant("limit", 1, 1, 1, 6)))
    # Zero is exact on every grid, so that no sample lies on the wrong side of it.
    positive = b.node("compare", x, number(b, "zero", 0.0), kind="greater")
    chosen = b.node("where", positive, bounded, s)
    mask = b.node("cast", b.node("logical", positive, kind="not"), to="float32")
    d = b.node("squared_difference", chosen, mask)
    root = b.node("unary", b.node("add", d, number(b, "one", 1.0)), function="sqrt")
    return b.done(root, b.node("div", chosen, root), positive)


def number(b: Builder, name: str, value: float) -> str:
    return b.graph.add_constant(name, np.full((1, 1, 1, 1), value, np.float32))


def samples(n: int, seed: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(seed)
    return {"x": r.normal(0, 1, (n, 4, 4, 6)).astype(np.float32)}


@pytest.mark.parametrize(("bits", "least"), [(8, 24), (16, 40)])
def test_network(bits: int, least: float, tmp_path: Path) -> None:
    graph = network()
    integer = quantize(graph, samples(64, 1), activation_bits=bits).graph
    data = samples(32, 2)
    feeds = quantize_inputs(integer, data)
    want, have = run(graph, data), run(integer, feeds)
    for name, found in zip(graph.outputs[:2], integer.outputs[:2], strict=True):
        noise = dequantize_output(integer, found, have[found]) - want[name]
        signal = np.square(want[name].astype(np.float64)).sum()
        assert 10 * np.log10(signal / np.square(noise).sum()) > least, name
    positive = integer.outputs[2]
    assert integer.values[positive].dtype == "bool"
    tiny = np.abs(data["x"]) < 0.02
    np.testing.assert_array_equal(have[positive][~tiny], want[graph.outputs[2]][~tiny])

    program = build_program(integer, C99)
    on_host = run_host(program, tmp_path, {name: x[:1] for name, x in feeds.items()})
    for tensor, made in zip(program.outputs, on_host, strict=True):
        np.testing.assert_array_equal(made, have[tensor.name][:1])
