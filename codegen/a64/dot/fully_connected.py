"""Fully connected layers with dot products."""

from __future__ import annotations

from codegen.a64 import linear
from codegen.a64.cores import Dot
from codegen.kernel import Candidate, KernelSpec, Layer, Template, Written

#: Groups of four channels at a time; fewer where left shifts take a third operand of each.
QUADS, QUADS_LEFT = 8, 4


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 layers."""
    left = bool((linear.channels_of(layer).shift > 0).any())
    quads = QUADS_LEFT if left else QUADS
    return [linear.candidate(layer, "a64_dot", _core, quads, template="a64_dot_fully_connected")]


def _core(quads: int) -> Dot:
    return Dot(1, quads)


def write(spec: KernelSpec) -> Written:
    return linear.write(spec, _core)


TEMPLATES = (Template("a64_dot_fully_connected", ("fully_connected",), candidates, write),)
