"""Variants by operator: modules that offer ``MAKERS``, found by looking into this folder.

A module whose name starts with an underscore holds what several makers share.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from codegen.gpu.kernel import Maker, Variant
from codegen.kernel import Layer, NotApplicable


@cache
def makers() -> dict[str, tuple[Maker, ...]]:
    """Makers by operator, in the order of their modules' names."""
    found: dict[str, tuple[Maker, ...]] = {}
    for info in pkgutil.iter_modules(__path__):
        if not info.name.startswith("_"):
            for maker in importlib.import_module(f"{__name__}.{info.name}").MAKERS:
                for op in maker.ops:
                    found[op] = (*found.get(op, ()), maker)
    return found


def variants(layer: Layer) -> list[Variant]:
    """All variants of `layer`, best guess first.

    Raises:
        NotApplicable: where there is none, with every maker's reason.
    """
    found: list[Variant] = []
    reasons = []
    for maker in makers().get(layer.node.op, ()):
        try:
            found += maker.variants(layer)
        except NotApplicable as reason:
            reasons.append(f"{maker.name}: {reason}")
    if not found:
        raise NotApplicable("; ".join(reasons) or f"no {layer.node.op} on GPUs")
    return found
