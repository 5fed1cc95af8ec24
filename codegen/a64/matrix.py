"""The inner loop with SMMLA: eight taps of two pixels times those of two channels at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.a64.cores import CHUNK, LoadPixel, Stream, divisor, tail_load
from codegen.a64.routine import Routine

#: Taps of an instruction.
STEP = 8


@dataclass(frozen=True)
class Matrix:
    """Accumulators hold two pixels by two channels; the register before them is free."""

    pixels: int
    quads: int

    @property
    def rows(self) -> int:
        return self.pixels // 2

    @property
    def base(self) -> int:
        return 31 - self.pixels * self.quads

    @property
    def fits(self) -> bool:
        """With weights, pixels, and a register for the halves of two pixels."""
        return self.pixels % 2 == 0 and self.base >= 4 + self.pixels + 1

    @property
    def _paired(self) -> bool:
        """Whether there is room for two chunks of each pixel."""
        return self.base >= 4 + 2 * self.pixels + 1

    @property
    def initial(self) -> int:
        return 2 * self.quads

    def accumulator(self, row: int, vector: int) -> int:
        return self.base + 1 + row * 2 * self.quads + vector

    def start(self, bias: np.ndarray) -> np.ndarray:
        return np.tile(bias.astype("<i4").reshape(-1, 2), (1, 2)).ravel().view(np.int8)

    def unrolled(self, chunks: int) -> int:
        return divisor(chunks, 4)

    def taps(self, r: Routine, chunks: int, tail: int, pixel: LoadPixel, weights: str) -> None:
        steps = [(chunk, half) for chunk in range(chunks) for half in (0, 1)]
        steps += [(chunks, half) for half in range(-(-tail // STEP))]
        stream = (v for group in Stream(r, weights, 2 * self.quads * len(steps), 1) for v in group)
        paired = chunks // 2 * 2 if self._paired else 0
        width = 2 if self._paired else 1
        x = {p: [4 + width * p + i for i in range(width)] for p in range(self.pixels)}
        spare = 4 + width * self.pixels
        halves: list[list[int]] = []
        for chunk, half in steps:
            if half == 0:
                if chunk >= paired or chunk % 2 == 0:
                    both = chunk < paired
                    size = CHUNK * (1 + both) if chunk < chunks else tail_load(tail)
                    # Of two chunks the registers follow one another.
                    x = {p: [4 + width * p + i for i in range(width)] for p in range(self.pixels)}
                    spare = 4 + width * self.pixels
                    for p in range(self.pixels):
                        pixel(p, x[p][0], CHUNK * chunk, size)
                at = chunk % 2 if chunk < paired else 0
                second = (chunk, 1) in steps
                halves = []
                for row in range(self.rows):
                    a, b = x[2 * row][at], x[2 * row + 1][at]
                    r(f"zip1 v{spare}.2d, v{a}.2d, v{b}.2d")
                    if second:
                        r(f"zip2 v{b}.2d, v{a}.2d, v{b}.2d")
                    halves.append([spare, b])
                    spare = a
            for vector in range(2 * self.quads):
                w = next(stream)
                for row in range(self.rows):
                    to = self.accumulator(row, vector)
                    r(f"smmla v{to}.4s, v{halves[row][half]}.16b, v{w}.16b")

    def order(self, weights: np.ndarray, chunks: int, tail: int) -> np.ndarray:
        steps = 2 * chunks + -(-tail // STEP)
        whole = np.zeros((4 * self.quads, STEP * steps), np.int8)
        whole[:, : weights.shape[1]] = weights
        return whole.reshape(-1, 2, steps, STEP).transpose(2, 0, 1, 3).ravel()

    def finish(self, r: Routine) -> list[list[int]]:
        sums: list[list[int]] = []
        spare = self.base
        for row in range(self.rows):
            first, second = list[int](), list[int]()
            for quad in range(self.quads):
                a, b = (self.accumulator(row, 2 * quad + i) for i in (0, 1))
                r(f"zip1 v{spare}.2d, v{a}.2d, v{b}.2d", f"zip2 v{b}.2d, v{a}.2d, v{b}.2d")
                first.append(spare)
                second.append(b)
                spare = a
            sums += [first, second]
        return sums
