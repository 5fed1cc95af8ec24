"""maximum: the greater of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.ops.extremes import Extreme


class Maximum(Extreme):
    """Greater one of two elements, with numpy broadcasting."""

    name = "maximum"

    def of(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.maximum(a, b)
        return result


OPERATOR = Maximum()
