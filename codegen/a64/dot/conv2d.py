"""`codegen.a64.conv2d` with SDOT."""

from __future__ import annotations

from codegen.a64 import conv2d
from codegen.kernel import Candidate, Layer, Template


def candidates(layer: Layer) -> list[Candidate]:
    """The tile with the fewest instructions."""
    return conv2d.candidates(layer, "a64_dot")


TEMPLATES = (Template("a64_dot_conv2d", ("conv2d", "fully_connected"), candidates, conv2d.write),)
