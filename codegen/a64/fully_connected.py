"""Fully connected layers with SMULL and SMLAL."""

from __future__ import annotations

from codegen.a64 import linear
from codegen.a64.cores import Multiply, widest
from codegen.kernel import Candidate, KernelSpec, Layer, Template, Written

#: Groups of four channels at a time, whose sums fill sixteen registers.
QUADS = 4


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 layers."""
    weights = linear.channels_of(layer).weights
    products = widest(weights, [slice(0, weights.shape[1])])
    return [
        linear.candidate(
            layer,
            "a64",
            _core(products),
            QUADS,
            template="a64_fully_connected",
            products=products,
        )
    ]


def _core(products: int) -> linear.MakeCore:
    return lambda quads: Multiply(1, quads, products)


def write(spec: KernelSpec) -> Written:
    return linear.write(spec, _core(spec.params["products"]))


TEMPLATES = (Template("a64_fully_connected", ("fully_connected",), candidates, write),)
