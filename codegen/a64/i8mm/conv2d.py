"""`codegen.a64.conv2d` with SMMLA, where that takes fewer instructions than SDOT."""

from __future__ import annotations

from codegen.a64 import conv2d
from codegen.kernel import Candidate, Layer, NotApplicable, Template


def candidates(layer: Layer) -> list[Candidate]:
    """The tile with the fewest instructions; raises NotApplicable where it is one with SDOT."""
    found = conv2d.candidates(layer, "a64_i8mm")
    if found[0].spec.params["core"] == "dot":
        raise NotApplicable("SDOT takes fewer instructions than SMMLA")
    return found


TEMPLATES = (Template("a64_i8mm_conv2d", ("conv2d", "fully_connected"), candidates, conv2d.write),)
