"""layer_norm and its kin with the DSP extension: a third of the instructions for each number.

The portable kernel's text with upper words of products: with V below 2**46 every inverse root has a
shift that lets deviations go left first, and with few numbers in a group they stay below 2**31.
"""

from __future__ import annotations

from codegen.kernel import Candidate, Cost, Layer, NotApplicable, Template
from codegen.portable.normalize import OPS, layer_candidate, short, write

#: V of the specification, and numbers of a group, below which shifted deviations fit.
SPREAD, MEMBERS = 1 << 46, 1 << 13


def _candidates(layer: Layer) -> list[Candidate]:
    found = layer_candidate(layer, "thumb_dsp", Cost(420, 520), Cost(25, 31))
    p = found.spec.params
    _, pixels, _, channels = p["view"]
    if p["spread"] >= SPREAD or pixels * channels > MEMBERS:
        raise NotApplicable(f"{pixels * channels} numbers of {layer.inputs[0].dtype} to a group")
    if not short(p):
        raise NotApplicable("a result's scale far from that of gamma and beta")
    return [found]


TEMPLATES = (Template("normalize", OPS, _candidates, write),)
