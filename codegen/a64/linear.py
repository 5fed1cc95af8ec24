"""Fully connected layers: a row of inputs by tiles of channels.

Each weight is read once, in the order of use; the inputs stay in the cache. Threads share the tiles
of channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from codegen.a64 import requant
from codegen.a64.cores import CHUNK, Core
from codegen.a64.requant import VectorRequant
from codegen.a64.routine import Routine
from codegen.channels import Channels, analyse
from codegen.int8 import int8_weights
from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Operand, Written

#: A core for one row of inputs and so many groups of four channels.
MakeCore = Callable[[int], Core]
#: Instructions of the C around a call.
CALL = 12
#: How the bytes behind the last whole vector of inputs are read: size, register, lane.
_PIECES = ((8, "d"), (4, "s"), (2, "h"), (1, "b"))


class Linear:
    """Tiles of `quads` groups of four channels, and a smaller one for what is left."""

    def __init__(self, p: dict[str, Any], core: MakeCore, quads: int) -> None:
        self.p = p
        self.how = VectorRequant.of(p)
        self.chunks, self.tail = divmod(p["K"], CHUNK)
        self.loops, self.rest = divmod(p["O"], 4 * quads)
        self.main = core(quads)
        self.last = core(-(-self.rest // 4)) if self.rest else None

    @property
    def units(self) -> int:
        return int(self.loops + (self.last is not None))

    @property
    def _round(self) -> int:
        """Chunks of 16 inputs that are written out."""
        return self.main.unrolled(self.chunks) if self.chunks else 0

    # ---- constants

    @cached_property
    def tile_bytes(self) -> int:
        """Constants of a whole tile."""
        count = 4 * self.main.quads
        none = np.zeros((count, self.p["K"]), np.int8)
        return (
            16 * self.main.initial
            + sum(map(len, self._ordered(self.main, none)))
            + 4 * count * self.how.operands
        )

    def packed(self, channels: Channels) -> np.ndarray:
        """int8: of each tile initial values, weights, operands of requantization."""
        found, at = [], 0
        for core in [self.main] * self.loops + ([self.last] if self.last else []):
            count = 4 * core.quads
            found.append(core.start(requant.lanes(channels.bias, at, count).view("<i4")))
            weights = np.zeros((count, self.p["K"]), np.int8)
            given = channels.weights[at : at + count]
            weights[: len(given)] = given
            found += self._ordered(core, weights)
            found.append(requant.operands(channels, self.how, at, count))
            at += count
        return np.concatenate(found)

    def _ordered(self, core: Core, weights: np.ndarray) -> list[np.ndarray]:
        found = []
        size = CHUNK * self._round
        for at in range(0, CHUNK * self.chunks, size or 1):
            found.append(core.order(weights[:, at : at + size], self._round, 0))
        if self.tail:
            found.append(core.order(weights[:, CHUNK * self.chunks :], 0, self.tail))
        return found

    # ---- text

    @cached_property
    def whole(self) -> Routine:
        """Whole tiles."""
        return self._routine(self.main, 4 * self.main.quads)

    @cached_property
    def smaller(self) -> Routine:
        assert self.last is not None
        return self._routine(self.last, self.rest)

    @property
    def routines(self) -> list[Routine]:
        return [self.whole] * (self.loops > 0) + ([self.smaller] if self.last else [])

    def _routine(self, core: Core, channels: int) -> Routine:
        r = Routine(
            "a64_linear", "const int8_t *x", "int8_t *y", "const int8_t *w", "int32_t tiles"
        )
        with r.loop("tiles", "w3"):
            first = core.accumulator(0, 0)
            _fetch(r, [first + i for i in range(core.initial)])
            r("mov x5, x0")
            rounds = self.chunks // self._round if self._round else 0
            if rounds > 1:
                r(f"mov x6, #{rounds}")
                with r.loop("rounds", "x6"):
                    core.taps(r, self._round, 0, _pixel(r), "x2")
            elif rounds:
                core.taps(r, self._round, 0, _pixel(r), "x2")
            if self.tail:
                core.taps(r, 0, self.tail, _pixel(r, self.tail), "x2")
            sums = core.finish(r)[0]
            _requantize(r, self.how, sums, channels)
        return r

    def cost(self, call: int = CALL) -> Cost:
        """All tiles in one call."""
        rounds = self.chunks // self._round if self._round else 0
        total = Cost(call, call)
        if self.loops:
            total += self.whole.cost(tiles=self.loops, rounds=rounds)
        if self.last:
            total += self.smaller.cost(tiles=1, rounds=rounds) + Cost(call, call)
        return total


def _pixel(r: Routine, tail: int = 0) -> Callable[[int, int, int, int], None]:
    """Inputs from x5, which moves on; of a tail no byte behind the last is read."""

    def load(_: int, vector: int, _offset: int, size: int) -> None:
        if tail:
            _tail(r, vector, tail)
        elif size == 2 * CHUNK:
            r(f"ldp q{vector}, q{vector + 1}, [x5], #{size}")
        else:
            r(f"ldr q{vector}, [x5], #{size}")

    return load


def _tail(r: Routine, vector: int, count: int) -> None:
    at = 0
    for size, lane in _PIECES:
        if count & size:
            if at:
                r(f"ld1 {{v{vector}.{lane}}}[{at // size}], [x5], #{size}")
            else:
                r(f"ldr {lane}{vector}, [x5], #{size}")
            at += size


def _fetch(r: Routine, registers: list[int]) -> None:
    """Consecutive vectors from the constants."""
    for i in range(0, len(registers), 4):
        some = registers[i : i + 4]
        names = ", ".join(f"v{v}.16b" for v in some)
        r(f"ld1 {{{names}}}, [x2], #{16 * len(some)}")


def _requantize(r: Routine, how: VectorRequant, sums: list[int], channels: int) -> None:
    quads, kinds = len(sums), how.operands
    _fetch(r, list(range(kinds * quads)))
    vectors = [(v, range(q, kinds * quads, quads)) for q, v in enumerate(sums)]
    requant.emit(r, how, vectors, kinds * quads)
    requant.fixed(r, how, kinds * quads)
    for i in range(0, quads, 4):
        requant.pack(r, how, sums[i : i + 4], kinds * quads)
        requant.store(r, sums[i], 0, min(channels - 4 * i, CHUNK), "x1")


def candidate(layer: Layer, family: str, core: MakeCore, quads: int, **params: Any) -> Candidate:
    """For int8 layers with constant weights; `params` are what `core` depends on."""
    c = channels_of(layer)
    outputs, inputs = c.weights.shape
    if layer.output.size > outputs:
        raise NotApplicable("several rows of inputs")
    how = requant.plan(c)
    p = {
        **params,
        **c.types,
        **how.params,
        "K": inputs,
        "O": outputs,
        "quads": min(quads, -(-outputs // 4)),
    }
    linear = Linear(p, core, p["quads"])
    packed = linear.packed(c)
    spec = KernelSpec(
        "fully_connected",
        family,
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        p,
    )
    return Candidate(spec, (layer.inputs[0].name,), {"w": packed}, cost=linear.cost())


def channels_of(layer: Layer) -> Channels:
    """The layer's integers; raises NotApplicable where it is not int8 with constant weights."""
    int8_weights(layer)
    if layer.inputs[1].name not in layer.constants:
        raise NotApplicable("weights that are no constants")
    return analyse(layer)


def write(spec: KernelSpec, core: MakeCore) -> Written:
    """The driver in C, and its routines."""
    p = spec.params
    linear = Linear(p, core, p["quads"])
    tile = 4 * p["quads"]
    calls = ""
    if linear.loops:
        calls += (
            f"    const int32_t tiles = ek_min((int32_t)end, {linear.loops}) - first;\n"
            f"    if (tiles > 0) {{\n"
            f"        {linear.whole.name}(x, y + first * {tile}, w + first * "
            f"{linear.tile_bytes}, tiles);\n    }}\n"
        )
    if linear.last:
        calls += (
            f"    if (begin < end && end > {linear.loops}u) {{\n"
            f"        {linear.smaller.name}(x, y + {linear.loops * tile}, "
            f"w + {linear.loops * linear.tile_bytes}, 1);\n    }}\n"
        )
    first = "    const int32_t first = (int32_t)begin;\n" if linear.loops else ""
    text = (
        f"void {spec.name}(const int8_t *x, const int8_t *w, int8_t *y, uint32_t begin, "
        f"uint32_t end)\n{{\n{first}{calls}}}\n"
    )
    return Written(text, {r.name: r.text() for r in linear.routines}, 0, units=linear.units)
