"""minimum: the lesser of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.ops.extremes import Extreme


class Minimum(Extreme):
    """Lesser one of two elements, with numpy broadcasting."""

    name = "minimum"

    def of(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.minimum(a, b)
        return result


OPERATOR = Minimum()
