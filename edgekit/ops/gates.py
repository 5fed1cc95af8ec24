"""Sigmoid and tanh of int16 numbers and the products around them: what gates of cells are made of.

The functions are those of TFLite Micro's int16 kernels, bit for bit; docs/SPEC.md, "Recurrent
layers", has the formulas. "Qm.n" is an int16 with m integer and n fractional bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

INT16_MIN, INT16_MAX = -32768, 32767
#: Pre-activations of gates are Q3.12, gates are Q0.15.
GATE_BITS, UNIT_BITS = 12, 15
#: Entries of the sigmoid table for each unit of x: the table reaches from 0 to 255/24.
STEPS_PER_UNIT, STEPS = 24, 256


@cache
def sigmoid_table() -> np.ndarray:
    """uint16[256], Q0.16: sigmoid(i / 24), raised by half of the error of linear interpolation.

    The error is that of the chord in the middle of the interval behind i. The last entry is 65535.
    """
    at = np.arange(STEPS + 1) / STEPS_PER_UNIT
    exact, middle = _sigmoid(at), _sigmoid(at[:-1] + 0.5 / STEPS_PER_UNIT)
    error = middle - (exact[:-1] + exact[1:]) / 2
    table = np.floor(65536 * (exact[:-1] + error / 2) + 0.5).astype(np.uint16)
    table[-1] = 65535
    return table


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def clamp16(x: ArrayLike) -> np.ndarray:
    """int64 numbers within int16."""
    return np.clip(np.asarray(x, np.int64), INT16_MIN, INT16_MAX)


def sigmoid16(x: ArrayLike) -> np.ndarray:
    """The sigmoid of Q3.12 numbers as Q0.15 in int64 (the Logistic kernel for int16)."""
    return sigmoid_of_thirds(np.asarray(x, np.int64) * 3)


def sigmoid_of_thirds(v: np.ndarray) -> np.ndarray:
    """The sigmoid of v / (3 * 2**12) as Q0.15 in int64."""
    place, rest = np.abs(v) >> 9, np.abs(v) & 511
    y = np.where(place >= STEPS - 1, INT16_MAX << 10, _between(place, rest, 9))
    y = np.where(v >= 0, y + (1 << 9), (1 << 25) - y + (1 << 9) - 1)
    return y >> 10


def tanh16(x: ArrayLike, power: int = -GATE_BITS) -> np.ndarray:
    """tanh of int16 numbers of scale 2**power as Q0.15 in int64 (the Tanh kernel for int16).

    It reads the sigmoid's table: tanh(x) = 2 sigmoid(2x) - 1.
    """
    v = np.asarray(x, np.int64) * 3
    left = GATE_BITS + power
    return tanh_of_thirds(v << left if left >= 0 else (v + (1 << (-left - 1))) >> -left)


def tanh_of_thirds(v: np.ndarray) -> np.ndarray:
    """The tanh of v / (3 * 2**12) as Q0.15 in int64."""
    place, rest = np.abs(v) >> 8, np.abs(v) & 255
    y = np.where(place >= STEPS - 1, 65535 << 8, _between(place, rest, 8))
    y = np.where(v >= 0, y - (1 << 23) + (1 << 7), -y + (1 << 23) + (1 << 7) - 1)
    return y >> 8


def _between(place: np.ndarray, rest: np.ndarray, bits: int) -> np.ndarray:
    """Linear interpolation of the table with `bits` more fractional bits; places clip."""
    table = sigmoid_table().astype(np.int64)
    low = table[np.minimum(place, STEPS - 1)]
    high = table[np.minimum(place + 1, STEPS - 1)]
    return (low << bits) + rest * (high - low)
