"""Which products of a depthwise convolution may be added up in 16 bits.

A product of two int8 takes 16 bits, so a few of them fit where the weights are small enough. The
taps are divided into groups, in an order that the compiler may choose, such that no sum of a
group's products leaves 16 bits in any channel; only a group's sum is widened. Two weights of
magnitude 127 always fit, two of -128 do not.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

#: Kernel rows whose orders are all tried; higher kernels are taken from top to bottom.
ROWS_TRIED = 3


def partition(weights: np.ndarray, steps: tuple[int, int] = (1, 1)) -> list[list[int]]:
    """Taps in the order of use, in groups.

    Args:
        weights: int8 [KH, KW, C]; a tap's number is its index among KH * KW.
        steps: rows and columns from a result to the next of those that are computed together.
    """
    height, width, channels = weights.shape
    # Inputs are -128 to 127, whatever their zero point; so are those in the padding.
    w = weights.reshape(height * width, channels).astype(np.int64)
    highest = np.maximum(w * -128, w * 127)
    lowest = np.minimum(w * -128, w * 127)
    found = None
    for order in _orders(height, width, steps):
        groups = _greedy(order, highest, lowest)
        if found is None or len(groups) < len(found):
            found = groups
    assert found is not None
    return found


def _orders(height: int, width: int, steps: tuple[int, int]) -> list[list[int]]:
    """Orders in which taps follow each other that read the same for neighbouring results."""
    taps = np.arange(height * width).reshape(height, width)
    taps = taps[_strided(height, steps[0])][:, _strided(width, steps[1])]
    if height > ROWS_TRIED:
        return [taps.ravel().tolist()]
    found = []
    for rows in permutations(range(height)):
        for turned in range(1 << height if width > 1 else 1):
            parts = [taps[i][:: -1 if turned >> i & 1 else 1] for i in rows]
            found.append(np.concatenate(parts).tolist())
    return found


def _strided(count: int, step: int) -> list[int]:
    """0, step, 2 * step, ..., then 1, step + 1, ..."""
    return [i for first in range(min(step, count)) for i in range(first, count, step)]


def _greedy(order: list[int], highest: np.ndarray, lowest: np.ndarray) -> list[list[int]]:
    """As many taps in each group as fit, which gives the fewest groups of consecutive taps."""
    groups: list[list[int]] = []
    up = down = np.zeros(0, np.int64)
    for tap in order:
        if groups:
            up, down = up + highest[tap], down + lowest[tap]
            if up.max() <= 32767 and down.min() >= -32768:
                groups[-1].append(tap)
                continue
        groups.append([tap])
        up, down = highest[tap], lowest[tap]
    return groups
