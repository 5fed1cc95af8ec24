"""The inner loop for few taps: two taps of a pixel in every lane, multiplied with many channels.

DUP copies two neighbouring taps of a pixel to all pairs of bytes of a vector; SMULL and SMLAL then
multiply them with the taps of four channels, and SADALP adds each channel's two sums to its lane.
Nothing is left to be added up at the end, and a run of taps is used to two bytes exactly, which
`codegen.a64.cores.Multiply` does faster only where there are many of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codegen.a64.cores import CHUNK, LoadPixel, fetch, tail_load
from codegen.a64.routine import Routine

#: Pairs of taps of a chunk.
STEPS = CHUNK // 2
#: Products that lie in registers at once.
PRODUCTS = 4


@dataclass(frozen=True)
class Broadcast:
    """`groups`: by chunk of a run, its tail last, how many pairs of taps are summed in 16 bits."""

    pixels: int
    quads: int
    groups: tuple[tuple[int, ...], ...]

    @property
    def base(self) -> int:
        return 32 - self.pixels * self.quads

    @property
    def _vectors(self) -> int:
        """Of weights for a pair of taps."""
        return -(-self.quads // 2)

    @property
    def _weights(self) -> int:
        """Registers of weights."""
        return self._vectors * max(max(group) for group in self.groups)

    @property
    def _together(self) -> int:
        """Pixels whose products are summed side by side."""
        return max(PRODUCTS // self.quads, 1)

    @property
    def _pairs(self) -> int:
        """Registers with copied taps."""
        return max(self._together, 2)

    @property
    def fits(self) -> bool:
        return self.base >= self._weights + self.pixels + self._pairs + PRODUCTS

    @property
    def rows(self) -> int:
        return self.pixels

    @property
    def initial(self) -> int:
        return self.quads

    def accumulator(self, pixel: int, vector: int) -> int:
        return self.base + pixel * self.quads + vector

    def start(self, bias: np.ndarray) -> np.ndarray:
        return bias.astype("<i4").view(np.int8)

    def unrolled(self, chunks: int) -> int:
        return chunks

    def _pieces(self, chunks: int, tail: int) -> Iterator[tuple[int, int, list[range]]]:
        """Each chunk's index, bytes to load, and the pairs of taps that are summed at a time."""
        groups = self.groups[:chunks] + (self.groups[-1:] if tail else ())
        for chunk, counts in enumerate(groups):
            ends = np.cumsum(counts).tolist()
            steps = [range(end - count, end) for count, end in zip(counts, ends, strict=True)]
            yield chunk, CHUNK if chunk < chunks else tail_load(tail), steps

    def taps(self, r: Routine, chunks: int, tail: int, pixel: LoadPixel, weights: str) -> None:
        first = self._weights
        for chunk, size, groups in self._pieces(chunks, tail):
            for p in range(self.pixels):
                pixel(p, first + p, CHUNK * chunk, size)
            for steps in groups:
                count = len(steps) * self._vectors
                for i in range(0, count, 4):
                    fetch(r, i, min(4, count - i), weights)
                for p in range(0, self.pixels, self._together):
                    batch = range(p, min(p + self._together, self.pixels))
                    self._sums(r, batch, steps, first)

    def _sums(self, r: Routine, batch: range, steps: range, first: int) -> None:
        """Products of some pixels with all channels, for taps that are summed in 16 bits."""
        copies = first + self.pixels
        products = copies + self._pairs
        sums = [(p, quad) for p in batch for quad in range(self.quads)]
        for i, step in enumerate(steps):
            name = "smlal" if i else "smull"
            # A single pixel's copies alternate between two registers.
            copy = {p: copies + (k if len(batch) > 1 else i % 2) for k, p in enumerate(batch)}
            r(*(f"dup v{copy[p]}.8h, v{first + p}.h[{step}]" for p in batch))
            for k, (p, quad) in enumerate(sums):
                w = i * self._vectors + quad // 2
                half, kind = ("2", "16b") if quad % 2 else ("", "8b")
                r(f"{name}{half} v{products + k}.8h, v{copy[p]}.{kind}, v{w}.{kind}")
        r(*(f"sadalp v{self.accumulator(p, quad)}.4s, v{products + k}.8h"
            for k, (p, quad) in enumerate(sums)))  # fmt: skip

    def order(self, weights: np.ndarray, chunks: int, tail: int) -> np.ndarray:
        steps = STEPS * chunks + -(-tail // 2)
        whole = np.zeros((8 * self._vectors, 2 * steps), np.int8)
        whole[: len(weights), : weights.shape[1]] = weights
        return whole.reshape(self._vectors, 8, steps, 2).transpose(2, 0, 1, 3).ravel()

    def finish(self, r: Routine) -> list[list[int]]:
        return [[self.accumulator(p, q) for q in range(self.quads)] for p in range(self.pixels)]


def groups(weights: np.ndarray, runs: list[slice], most: int) -> list[list[int]]:
    """How many pairs of taps 16 bits hold the sums of, for each chunk of a run: `most` at most.

    Args:
        weights: int8 [O, K]; the input may be anything.
        runs: the taps of each run, all of one length.
    """
    each = np.stack([weights[:, run] for run in runs]).astype(np.int64)
    if each.shape[-1] % 2:
        each = np.pad(each, ((0, 0), (0, 0), (0, 1)))
    pairs = each.reshape(-1, each.shape[-1] // 2, 2)
    highest = np.maximum(pairs * 127, pairs * -128)
    lowest = np.minimum(pairs * 127, pairs * -128)
    found = []
    for first in range(0, pairs.shape[1], STEPS):
        last = min(first + STEPS, pairs.shape[1])
        counts, at = [], first
        while at < last:
            count = 1
            while count < most and at + count < last:
                taken = slice(at, at + count + 1)
                if highest[:, taken].sum(1).max() >= 1 << 15 or lowest[:, taken].sum(1).min() < -(
                    1 << 15
                ):
                    break
                count += 1
            counts.append(count)
            at += count
        found.append(counts)
    return found
