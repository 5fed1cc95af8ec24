"""The routine of a convolution: tiles of pixels by channels over runs of taps.

The taps of an output pixel are runs of bytes in the input, at the same distances for every pixel: a
row of the kernel is one run, or as many as it has columns where those are dilated. A routine walks
over rows of output pixels, in each over tiles of pixels, in each over tiles of channels. Where the
last tile of a row has fewer pixels than others, its last pixel stands for those that are missing;
they write the same bytes to the same place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from codegen.a64 import requant
from codegen.a64.cores import CHUNK, Core, tail_load
from codegen.a64.requant import VectorRequant
from codegen.a64.routine import Routine
from codegen.channels import Channels
from codegen.kernel import Cost

#: Chunks, tails included, up to which all taps of a tile are written out.
WRITTEN_OUT = 10
#: Registers beside the arguments, in the order in which they are taken.
FREE = [f"x{i}" for i in (*range(5, 18), *range(19, 31))]
#: Largest offsets of loads: of a pair of vectors, and of one with n bytes (times n).
PAIR_OFFSET, OFFSET = 1008, 4095

_SCALAR = {4: "s", 8: "d", 16: "q"}


class TooManyRegisters(Exception):
    """A tile that the registers do not hold."""


@dataclass(frozen=True)
class Walk:
    """Where taps and pixels lie; distances in bytes.

    `taps`: (count, distance) of kernel rows and of runs in such a row; `run`: bytes of one run.
    `pixels`: of a row of the output, `pixel` apart in the input and `result` in the output, where
    they lie in order; `rows`, `row` apart in the input.
    """

    taps: tuple[tuple[int, int], tuple[int, int]]
    run: int
    pixels: int
    pixel: int
    rows: int
    row: int
    channels: int
    result: int

    @property
    def chunks(self) -> int:
        return self.run // CHUNK

    @property
    def tail(self) -> int:
        return self.run % CHUNK

    @property
    def runs(self) -> list[int]:
        """Where each run begins, from a pixel's first."""
        (rows, far), (columns, near) = self.taps
        return [y * far + x * near for y in range(rows) for x in range(columns)]

    @property
    def beyond(self) -> int:
        """Bytes that are read behind a run."""
        return tail_load(self.tail) - self.tail


@dataclass(frozen=True)
class _Registers:
    """Of a tile: by pixel its input, the pointer that moves over it, and its output; and others."""

    xs: list[str]
    moving: list[str]
    ys: list[str]
    weights: str
    counters: list[str]
    spare: str


class Gemm:
    """The routine of a walk for a requantization.

    `core` makes the inner loops of so many pixels and groups of four channels. Tiles of `pixels` by
    `quads` are used as often as they fit, then a smaller one for the channels that are left.
    """

    def __init__(
        self,
        walk: Walk,
        how: VectorRequant,
        core: Callable[[int, int], Core],
        pixels: int,
        quads: int,
    ) -> None:
        self.walk, self.how, self.pixels = walk, how, pixels
        self.main = core(pixels, quads)
        self.loops, rest = divmod(walk.channels, 4 * quads)
        self.last = core(pixels, -(-rest // 4)) if rest else None
        self.rest = rest
        self.written_out = self._written_out()
        for used in self.cores:
            if not used.fits or how.operands * used.quads + how.spare > used.base:
                raise TooManyRegisters
        self.routine = self._routine()

    @property
    def cores(self) -> list[Core]:
        """Of the tiles that are used."""
        return ([self.main] if self.loops else []) + ([self.last] if self.last else [])

    def _written_out(self) -> bool:
        w = self.walk
        if len(w.runs) * (w.chunks + (w.tail > 0)) > WRITTEN_OUT:
            return False
        size = tail_load(w.tail) if w.tail else CHUNK
        last = w.runs[-1] + w.run
        return (
            all(at % (CHUNK if w.chunks else size) == 0 for at in w.runs) and last < OFFSET * size
        )

    # ---- constants

    def packed(self, channels: Channels) -> np.ndarray:
        """int8: for each tile of channels initial values, weights, operands of requantization."""
        found, at = [], 0
        for core in self._tiles:
            count = 4 * core.quads
            found.append(core.start(requant.lanes(channels.bias, at, count).view("<i4")))
            weights = np.zeros((count, channels.weights.shape[1]), np.int8)
            given = channels.weights[at : at + count]
            weights[: len(given)] = given
            found += self._ordered(core, weights)
            found.append(requant.operands(channels, self.how, at, count))
            at += count
        return np.concatenate(found)

    @property
    def _tiles(self) -> list[Core]:
        return [self.main] * self.loops + ([self.last] if self.last else [])

    def _ordered(self, core: Core, weights: np.ndarray) -> list[np.ndarray]:
        w, found = self.walk, []
        for i in range(len(w.runs)):
            run = weights[:, i * w.run : (i + 1) * w.run]
            if self.written_out:
                found.append(core.order(run, w.chunks, w.tail))
                continue
            chunks = core.unrolled(w.chunks) if w.chunks else 0
            size = CHUNK * chunks
            for at in range(0, CHUNK * w.chunks, size or 1):
                found.append(core.order(run[:, at : at + size], chunks, 0))
            if w.tail:
                found.append(core.order(run[:, CHUNK * w.chunks :], 0, w.tail))
        return found

    # ---- cost

    @property
    def cost(self) -> Cost:
        """One call that makes all rows."""
        return self.cost_of(self.walk.rows, self.walk.pixels)

    def cost_of(self, rows: int, pixels: int) -> Cost:
        """One call."""
        w, p = self.walk, self.pixels
        tiles = -(-pixels // p)
        trips: dict[str, int | Fraction] = {"rows": rows, "tiles": tiles, "channels": self.loops}
        trips["short"] = Fraction(1 if pixels % p else 0, tiles)
        trips |= {"kernel_rows": w.taps[0][0], "kernel_columns": w.taps[1][0]}
        for core in self.cores:
            rounds = w.chunks // core.unrolled(w.chunks) if w.chunks else 0
            trips[f"rounds_{core.quads}"] = rounds
        return self.routine.cost(**trips)

    # ---- text

    def _routine(self) -> Routine:
        w, pixels = self.walk, self.pixels
        r = Routine(
            "a64_conv", "const int8_t *x", "int8_t *y", "const int8_t *w", "int64_t pixels",
            "int64_t rows",
        )  # fmt: skip
        free = iter(FREE)

        def take(count: int = 1) -> list[str]:
            found = [name for _, name in zip(range(count), free, strict=False)]
            if len(found) < count:
                raise TooManyRegisters
            return found

        row, left, weights, at, spare = take(5)
        several = self.loops + (self.last is not None) > 1
        xs, ys = take(pixels), take(pixels)
        # Where taps are not written out pointers move, and every tile of channels needs its own.
        moving = take(pixels) if several and not self.written_out else xs
        counters = [] if self.written_out else take(3)
        steps = {n: take()[0] for n in {w.pixel, w.result} if n > OFFSET}
        for n, register in steps.items():
            r.constant(register, n)

        def step(to: str, source: str, distance: int) -> None:
            r(f"add {to}, {source}, {steps.get(distance, f'#{distance}')}")

        with r.loop("rows", "x4"):
            r(f"mov {row}, x0", f"mov {left}, x3")
            with r.part("tiles") as again:
                for registers, first, distance in ((xs, "x0", w.pixel), (ys, "x1", w.result)):
                    r(f"mov {registers[0]}, {first}")
                    for a, b in itertools.pairwise(registers):
                        step(b, a, distance)
                r(f"subs {left}, {left}, #{pixels}")
                if pixels > 1:
                    with r.when("short", "lt"):
                        self._short(r, left, spare, xs, ys)
                step("x0", xs[-1], w.pixel)
                step("x1", ys[-1], w.result)
                r(f"mov {weights}, x2")
                tile = _Registers(xs, moving, ys, weights, counters, spare)
                if self.loops > 1:
                    r(f"mov {at}, #{self.loops}")
                    with r.loop("channels", at):
                        self._tile(r, self.main, 4 * self.main.quads, tile)
                elif self.loops:
                    self._tile(r, self.main, 4 * self.main.quads, tile)
                if self.last:
                    self._tile(r, self.last, self.rest, tile)
                r(f"cmp {left}, #0", f"b.gt {again}b")
            if w.rows > 1:
                r.add("x0", row, w.row, spare)
        return r

    def _short(self, r: Routine, left: str, spare: str, xs: list[str], ys: list[str]) -> None:
        """Pixels behind the last one of the row become that one."""
        for i in range(1, len(xs)):
            r(f"cmn {left}, #{len(xs) - i}")
            r(f"csel {xs[i]}, {xs[i]}, {xs[i - 1]}, gt", f"csel {ys[i]}, {ys[i]}, {ys[i - 1]}, gt")

    def _tile(self, r: Routine, core: Core, channels: int, at: _Registers) -> None:
        """Results of a tile's pixels for its next channels, of which `channels` exist."""
        for i in range(0, core.initial, 4):
            count = min(4, core.initial - i)
            for row in range(core.rows):
                first = core.accumulator(row, i)
                names = ", ".join(f"v{first + k}.16b" for k in range(count))
                after = f", #{16 * count}" if row == core.rows - 1 else ""
                r(f"ld1 {{{names}}}, [{at.weights}]{after}")
        if at.moving is not at.xs:
            r(*(f"mov {to}, {x}" for to, x in zip(at.moving, at.xs, strict=True)))
        self._taps(r, core, at)
        sums = core.finish(r)
        spare = self._requantize(r, sums, at.weights)
        self._store(r, sums, channels, spare, at.ys)

    def _taps(self, r: Routine, core: Core, at: _Registers) -> None:
        """All products of a tile."""
        w = self.walk
        if self.written_out:
            for start in w.runs:

                def fixed(p: int, vector: int, offset: int, size: int, start: int = start) -> None:
                    _load(r, vector, at.xs[p], start + offset, size)

                core.taps(r, w.chunks, w.tail, fixed, at.weights)
            return

        def moving(p: int, vector: int, offset: int, size: int) -> None:
            name = f"[{at.moving[p]}]"
            if size == 2 * CHUNK:
                r(f"ldp q{vector}, q{vector + 1}, {name}, #{size}")
            elif offset < tail:
                r(f"ldr q{vector}, {name}, #{CHUNK}")
            else:
                r(f"ldr {_SCALAR[size]}{vector}, {name}")

        (rows, far), (columns, near) = w.taps
        tail = CHUNK * w.chunks
        with _repeated(r, "kernel_rows", at.counters[0], rows):
            with _repeated(r, "kernel_columns", at.counters[1], columns):
                chunks = core.unrolled(w.chunks) if w.chunks else 0
                with _repeated(
                    r, f"rounds_{core.quads}", at.counters[2], w.chunks // (chunks or 1)
                ):
                    core.taps(r, chunks, 0, moving, at.weights)
                core.taps(r, 0, w.tail, lambda p, v, _, size: moving(p, v, tail, size), at.weights)
                self._move(r, at, (near if columns > 1 else far) - tail, rows * columns)
            self._move(r, at, far - columns * near, rows if columns > 1 else 1)

    def _move(self, r: Routine, at: _Registers, distance: int, times: int) -> None:
        """Move the pointers to the next run, if there is one."""
        if times > 1:
            for x in at.moving:
                r.add(x, x, distance, at.spare)

    def _requantize(self, r: Routine, sums: list[list[int]], weights: str) -> int:
        """Results in place of sums; the first register behind the operands that they took."""
        quads, kinds = len(sums[0]), self.how.operands
        for i in range(0, kinds * quads, 4):
            count = min(4, kinds * quads - i)
            names = ", ".join(f"v{i + k}.16b" for k in range(count))
            r(f"ld1 {{{names}}}, [{weights}], #{16 * count}")
        operands = [[kind * quads + q for kind in range(kinds)] for q in range(quads)]
        vectors = [(v, operands[q]) for pixel in sums for q, v in enumerate(pixel)]
        requant.emit(r, self.how, vectors, kinds * quads)
        return kinds * quads

    def _store(
        self, r: Routine, sums: list[list[int]], channels: int, spare: int, ys: list[str]
    ) -> None:
        """Bytes of results to where each pixel's pointer is."""
        requant.fixed(r, self.how, spare)
        quads = len(sums[0])
        together = max(4 // quads, 1) if quads != 3 else 1
        for first in range(0, len(sums), together):
            pixels = sums[first : first + together]
            requant.pack(r, self.how, [v for pixel in pixels for v in pixel], spare)
        for p, y in enumerate(ys):
            first = p - p % together
            requant.store(r, sums[first][0], 4 * quads * (p - first), channels, y)


@contextmanager
def _repeated(r: Routine, name: str, counter: str, times: int) -> Iterator[None]:
    """A loop where there is more than one round, and nothing where there is none."""
    if times > 1:
        r(f"mov {counter}, #{times}")
        with r.loop(name, counter):
            yield
    else:
        yield


def _load(r: Routine, vector: int, pointer: str, offset: int, size: int) -> None:
    """Bytes at a fixed offset to a vector register, 32 of them to two."""
    if size == 2 * CHUNK:
        if offset <= PAIR_OFFSET:
            r(f"ldp q{vector}, q{vector + 1}, [{pointer}, #{offset}]")
            return
        _load(r, vector, pointer, offset, CHUNK)
        _load(r, vector + 1, pointer, offset + CHUNK, CHUNK)
    else:
        r(f"ldr {_SCALAR[size]}{vector}, [{pointer}, #{offset}]")
