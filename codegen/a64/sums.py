"""Whether a sum of two quantized tensors is one multiply-add of the bytes, for every pair of them.

SPEC scales both operands with roundings of their own, adds, and rounds twice more. What comes out
is nearly always what

    clamp(((A * (a - za) + B * (b - zb)) / 2^shift, rounded half up) + zo)

gives, if A and B are good to 20 bits or so. There are only 65,536 pairs of bytes, so that "nearly"
need not do: A and B are looked for near the quotients of the scales such that all pairs agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.kernel import Layer
from edgekit.ops.add import OPERATOR
from edgekit.ops.requant import clamp_of_output, tensor_quant

#: Shifts that a kernel can make: 16 by taking upper halves, the rest in a narrowing.
SHIFTS = range(24, 16, -1)
#: How far from the quotients of scales factors are looked for.
REACH = 12


@dataclass(frozen=True)
class Sum:
    """The integers of the formula above; `low`, `high` are the clamp."""

    factors: tuple[int, int]
    zero_points: tuple[int, int]
    shift: int
    zero_point: int
    low: int
    high: int

    def of(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Results for int64 bytes, as the kernels compute them."""
        (fa, fb), (za, zb) = self.factors, self.zero_points
        total = fa * (a - za) + fb * (b - zb)
        rounded = ((total >> 16) + (1 << self.shift - 17)) >> self.shift - 16
        return np.clip(rounded + self.zero_point, self.low, self.high)


def find(layer: Layer) -> Sum | None:
    """The sum that is exact for all pairs of bytes, None if there is none within reach."""
    (sa, za), (sb, zb), (so, zo) = map(tensor_quant, (*layer.inputs, layer.output))
    low, high = clamp_of_output(layer.node, layer.output)
    a, b = (m.ravel().astype(np.int8) for m in np.meshgrid(*[np.arange(-128, 128)] * 2))
    want = OPERATOR.reference_int(layer.node, [a, b], list(layer.inputs), layer.output)
    a, b = a.astype(np.int64), b.astype(np.int64)
    exact = (sa / so) * (a - za) + (sb / so) * (b - zb)
    # Pairs that small changes of the factors can push over a rounding come first.
    near = np.argsort(np.abs(exact - np.floor(exact) - 0.5))
    a, b, exact, want = a[near], b[near], exact[near], want[near]
    steps = sorted(
        ((i, j) for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1)),
        key=lambda s: abs(s[0]) + abs(s[1]),
    )
    for shift in SHIFTS:
        if np.abs(exact).max() * 2.0**shift >= 2.0**31 - 2 * REACH * 256:
            continue
        nearest = [round(scale / so * 2.0**shift) for scale in (sa, sb)]
        for i, j in steps:
            factors = (nearest[0] + i, nearest[1] + j)
            sum_ = Sum(factors, (za, zb), shift, zo, low, high)
            few = slice(0, 1 << 10)
            if (sum_.of(a[few], b[few]) == want[few]).all() and (sum_.of(a, b) == want).all():
                return sum_
    return None
