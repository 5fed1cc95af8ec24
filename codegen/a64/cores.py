"""Inner loops: products of a few pixels with a few channels, summed over a run of taps.

A core keeps an accumulator vector for each pixel and each four channels (`Dot`) or each channel
(`Multiply`), and defines the order of packed weights. A run of taps is read in chunks of 16 bytes;
what is left of it is the run's tail.

Registers v0 to `base` - 1 hold weights, pixels and products; accumulators lie behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from codegen.a64.routine import Routine

CHUNK = 16
#: Puts the bytes of a pixel at an offset in the run into a vector register (a pair of them, for 32
#: bytes): pixel, first register, offset, bytes.
LoadPixel = Callable[[int, int, int, int], None]


class Core(Protocol):
    """What a tile's routine needs of its inner loops."""

    @property
    def pixels(self) -> int:
        """Pixels of a tile."""

    @property
    def quads(self) -> int:
        """Groups of four channels of a tile."""

    @property
    def fits(self) -> bool:
        """Whether the registers hold what the inner loops need."""

    @property
    def base(self) -> int:
        """The first accumulator."""

    @property
    def initial(self) -> int:
        """Vectors of initial values of a row of accumulators."""

    @property
    def rows(self) -> int:
        """How often `initial` accumulators are started: mostly once for each pixel."""

    def accumulator(self, row: int, vector: int) -> int:
        """Register of one accumulator vector."""

    def start(self, bias: np.ndarray) -> np.ndarray:
        """int8: initial values of a row of accumulators, given int32 biases of all channels."""

    def unrolled(self, chunks: int) -> int:
        """How many chunks a round of a loop over `chunks` takes: a divisor."""

    def taps(self, r: Routine, chunks: int, tail: int, pixel: LoadPixel, weights: str) -> None:
        """Add the products of some chunks and a tail; weights are read at a pointer."""

    def order(self, weights: np.ndarray, chunks: int, tail: int) -> np.ndarray:
        """int8 [channels, taps of a run] in the order of use, as `taps` reads them."""

    def finish(self, r: Routine) -> list[list[int]]:
        """Add up what remains; by pixel the registers with sums of four channels each."""


def divisor(n: int, most: int) -> int:
    """The largest divisor of `n` up to `most`."""
    return max(d for d in range(1, max(most, 1) + 1) if n % d == 0)


def tail_load(tail: int) -> int:
    """Bytes that the load of a tail takes."""
    return next(n for n in (0, 4, 8, 16) if n >= tail)


def fetch(r: Routine, first: int, count: int, pointer: str) -> None:
    """Consecutive vector registers from a pointer, which moves on."""
    names = ", ".join(f"v{first + i}.16b" for i in range(count))
    r(f"ld1 {{{names}}}, [{pointer}], #{16 * count}")


class Stream:
    """Weights in groups of four registers; the next group is fetched before this one is used."""

    def __init__(self, r: Routine, pointer: str, total: int, buffers: int) -> None:
        self.r, self.pointer, self.total, self.buffers = r, pointer, total, buffers
        self.fetched = 0

    def __iter__(self) -> Iterator[list[int]]:
        groups = [min(4, self.total - i) for i in range(0, self.total, 4)]
        ahead = self.buffers - 1
        for i in range(len(groups) + ahead):
            if i < len(groups):
                fetch(self.r, 4 * (i % self.buffers), groups[i], self.pointer)
            if i >= ahead:
                first = 4 * ((i - ahead) % self.buffers)
                yield [first + k for k in range(groups[i - ahead])]


@dataclass(frozen=True)
class Dot:
    """SDOT: each lane of an accumulator is a channel, to which four taps are added at a time."""

    pixels: int
    quads: int

    @property
    def base(self) -> int:
        return 32 - self.pixels * self.quads

    @property
    def fits(self) -> bool:
        return self.base >= 4 + self.pixels

    @property
    def rows(self) -> int:
        return self.pixels

    @property
    def initial(self) -> int:
        return self.quads

    @property
    def _buffers(self) -> int:
        return 2 if self.base >= 8 + self.pixels else 1

    def accumulator(self, pixel: int, vector: int) -> int:
        return self.base + pixel * self.quads + vector

    def start(self, bias: np.ndarray) -> np.ndarray:
        return bias.astype("<i4").view(np.int8)

    def _paired(self, chunks: int) -> bool:
        return chunks % 2 == 0 and self.base >= 4 * self._buffers + 2 * self.pixels

    def unrolled(self, chunks: int) -> int:
        return divisor(chunks, 4)

    def taps(self, r: Routine, chunks: int, tail: int, pixel: LoadPixel, weights: str) -> None:
        first = 4 * self._buffers
        steps = 4 * chunks + -(-tail // 4)
        groups = iter(Stream(r, weights, steps * self.quads, self._buffers))
        at, have = 0, list[int]()
        paired = self._paired(chunks)
        for step in range(steps):
            chunk, lane = divmod(step, 4)
            width = 2 if paired and chunk < chunks else 1
            x = [first + width * p for p in range(self.pixels)]
            if lane == 0 and (width == 1 or chunk % 2 == 0):
                size = 16 * width if chunk < chunks else tail_load(tail)
                for p in range(self.pixels):
                    pixel(p, x[p], CHUNK * chunk, size)
            for quad in range(self.quads):
                if at == len(have):
                    at, have = 0, next(groups)
                for p in range(self.pixels):
                    source = x[p] + (chunk % 2 if width == 2 else 0)
                    to = self.accumulator(p, quad)
                    r(f"sdot v{to}.4s, v{have[at]}.16b, v{source}.4b[{lane}]")
                at += 1

    def order(self, weights: np.ndarray, chunks: int, tail: int) -> np.ndarray:
        steps = 4 * chunks + -(-tail // 4)
        whole = np.zeros((4 * self.quads, 4 * steps), np.int8)
        whole[:, : weights.shape[1]] = weights
        return whole.reshape(self.quads, 4, steps, 4).transpose(2, 0, 1, 3).ravel()

    def finish(self, r: Routine) -> list[list[int]]:
        return [[self.accumulator(p, q) for q in range(self.quads)] for p in range(self.pixels)]


@dataclass(frozen=True)
class Multiply:
    """SMULL and SMLAL: 16-bit sums of products of eight taps, widened in pairs.

    `products` that are summed in 16 bits: 1 is always exact, 2 where weights are above -128 or the
    sums are bounded otherwise (`widest`), 4 where four taps eight apart are.
    """

    pixels: int
    quads: int
    products: int
    base = 16

    @property
    def fits(self) -> bool:
        return self.pixels * self.quads <= 4

    @property
    def rows(self) -> int:
        return self.pixels

    @property
    def initial(self) -> int:
        return 4 * self.quads

    @property
    def _buffers(self) -> int:
        return 2 if self.pixels <= 2 else 1

    def accumulator(self, pixel: int, vector: int) -> int:
        return self.base + pixel * 4 * self.quads + vector

    def start(self, bias: np.ndarray) -> np.ndarray:
        whole = np.zeros((len(bias), 4), "<i4")
        whole[:, 0] = bias
        return whole.view(np.int8).ravel()

    @property
    def _width(self) -> int:
        """Chunks that are multiplied before sums are widened."""
        return 2 if self.products == 4 else 1

    def unrolled(self, chunks: int) -> int:
        # Pixels are read in pairs of chunks where there is an even number of them.
        return max(n for n in range(1, 5) if chunks % n == 0 and (n % 2 == 0 or chunks % 2))

    def _pieces(self, chunks: int, tail: int) -> list[tuple[int, int, int]]:
        """(first chunk, chunks, taps) that are summed before they are widened."""
        width = self._width
        found = [(c, min(width, chunks - c)) for c in range(0, chunks, width)]
        pieces = [(c, n, CHUNK * n) for c, n in found]
        return pieces + ([(chunks, 1, tail)] if tail else [])

    def taps(self, r: Routine, chunks: int, tail: int, pixel: LoadPixel, weights: str) -> None:
        pieces = self._pieces(chunks, tail)
        first = 4 * self._buffers
        total = sum(4 * self.quads * n for _, n, _ in pieces)
        groups = iter(Stream(r, weights, total, self._buffers))
        have: list[int] = []
        paired = chunks // 2 * 2
        for chunk, count, taps in pieces:
            width = 2 if chunk < paired else 1
            x = [first + width * p for p in range(self.pixels)]
            if chunk >= paired or chunk % 2 == 0:
                size = 16 * width if chunk < chunks else tail_load(tail)
                for p in range(self.pixels):
                    pixel(p, x[p], CHUNK * chunk, size)
            x = [v + (chunk % 2 if width == 2 else 0) for v in x]
            for channel in range(0, 4 * self.quads, 4 // count):
                if not have:
                    have = next(groups)
                pairs = [
                    (self.accumulator(p, channel + c), x[p], have[count * c : count * c + count])
                    for c in range(4 // count)
                    for p in range(self.pixels)
                ]
                have = []
                for i in range(0, len(pairs), 4):
                    self._sums(r, pairs[i : i + 4], taps)

    def _sums(self, r: Routine, pairs: list[tuple[int, int, list[int]]], taps: int) -> None:
        """Products of up to four accumulators, each in a register of its own."""
        products = [
            (f"{'2' if half else ''} v{{t}}.8h, v{{x}}.{kind}, v{{w}}.{kind}", i)
            for i in range(-(-taps // CHUNK))
            for half, kind in ((0, "8b"), (1, "16b"))
            if taps > CHUNK * i + 8 * half
        ]
        for k, (form, chunk) in enumerate(products):
            name = "smlal" if k % self.products else "smull"
            for t, (_, x, w) in enumerate(pairs):
                r(name + form.format(t=12 + t, x=x + chunk, w=w[chunk]))
            if (k + 1) % self.products == 0 or k + 1 == len(products):
                r(*(f"sadalp v{to}.4s, v{12 + t}.8h" for t, (to, _, _) in enumerate(pairs)))

    def order(self, weights: np.ndarray, chunks: int, tail: int) -> np.ndarray:
        found = []
        for chunk, count, _ in self._pieces(chunks, tail):
            whole = np.zeros((4 * self.quads, CHUNK * count), np.int8)
            part = weights[:, CHUNK * chunk : CHUNK * (chunk + count)]
            whole[:, : part.shape[1]] = part
            found.append(whole.ravel())
        return np.concatenate(found)

    def finish(self, r: Routine) -> list[list[int]]:
        sums = []
        for p in range(self.pixels):
            quads = []
            for quad in range(self.quads):
                a, b, c, d = (self.accumulator(p, 4 * quad + i) for i in range(4))
                quads.append((a, b, c, d))
            sums.append(quads)
        whole = [quad for quads in sums for quad in quads]
        r(*(f"addp v{a}.4s, v{a}.4s, v{b}.4s" for a, b, _, _ in whole))
        r(*(f"addp v{c}.4s, v{c}.4s, v{d}.4s" for _, _, c, d in whole))
        r(*(f"addp v{a}.4s, v{a}.4s, v{c}.4s" for a, _, c, _ in whole))
        return [[quad[0] for quad in quads] for quads in sums]


def widest(weights: np.ndarray, runs: list[slice]) -> int:
    """How many products `Multiply` may sum in 16 bits, for int8 weights [O, K] and any input.

    Args:
        runs: the taps of each run, from whose start chunks are counted.
    """
    products = weights.astype(np.int64)[..., None] * np.array([-128, 127])
    fits = {2: True, 4: True}
    for run in runs:
        taps = products[:, run]
        whole = np.zeros((len(taps), -(-taps.shape[1] // 32) * 32, 2), np.int64)
        whole[:, : taps.shape[1]] = taps
        for count in fits:
            # Taps of one sum lie eight apart.
            groups = whole.reshape(len(taps), -1, count, 8, 2)
            most, least = groups.max(-1).sum(2), groups.min(-1).sum(2)
            fits[count] &= bool(
                most.max(initial=0) < 1 << 15 and least.min(initial=0) >= -(1 << 15)
            )
    return 4 if fits[4] else 2 if fits[2] else 1
