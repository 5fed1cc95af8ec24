"""A tensor's axes as [outer, along, inner], for kernels that work along one of them."""

from __future__ import annotations

import math

from edgekit.graph import Shape


def around(shape: Shape, axis: int) -> tuple[int, int, int]:
    """Elements before, along and behind `axis`."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
