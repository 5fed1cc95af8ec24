"""conv2d and fully_connected: tiles of pixels by channels (`codegen.a64.gemm`).

The input is read where it lies if no tap is padding and no load goes beyond it; else a part's rows
are copied to scratch with padding around them. A part of the work is rows of the result, or tiles
of its pixels where all of them lie at the same distance.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from codegen.a64 import broadcast, padding, requant
from codegen.a64.broadcast import Broadcast
from codegen.a64.cores import Core, Dot, Multiply, widest
from codegen.a64.gemm import Gemm, TooManyRegisters, Walk
from codegen.a64.matrix import Matrix
from codegen.a64.requant import VectorRequant
from codegen.a64.routine import Routine
from codegen.channels import Channels, analyse
from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.thumb import layers

#: Pixels and groups of four channels of the largest tiles that are tried.
PIXELS, QUADS = 8, 4
#: Taps of a run up to which copies of a pixel's taps are tried.
FEW_TAPS = 64
#: What loads of the last taps go beyond a copy of the input.
SLACK = 16
#: Bytes of what is copied at a time where nothing is padded, and the routine that does it.
PIECE = 256
_PIECES = padding.rows(0, PIECE, 0, PIECE, 0)
#: Instructions of a kernel around its routines.
DRIVER = 20


def candidates(layer: Layer, family: str = "a64") -> list[Candidate]:
    """The tile with the fewest instructions."""
    attrs = dict(layer.node.attrs)
    groups = attrs.pop("groups", 1)
    p = layers.params(replace(layer, node=replace(layer.node, attrs=attrs)))
    channels = analyse(layer)
    how = requant.plan(channels)
    p |= {"template": f"{family}_conv2d", "zx": channels.input_zero_point, **how.params}
    p["groups"] = groups
    geometry = _Geometry(p)
    run, count = geometry.walk.run, len(geometry.walk.runs)
    runs = [slice(i * run, (i + 1) * run) for i in range(count)]
    loops = _LOOPS.get(family) or _products(channels.weights, runs)
    conv = _Conv(json.loads(_cheapest(json.dumps([p, loops]))))
    packed = np.concatenate([conv.gemm.packed(part) for part in _groups(channels, groups)])
    operands = (
        Operand("x", "int8", layer.inputs[0].size, "input"),
        Operand("w", "int8", packed.size, "constant"),
        Operand("y", "int8", layer.output.size, "output"),
    )
    spec = KernelSpec(layer.node.op, family, operands, conv.p)
    return [Candidate(spec, (layer.inputs[0].name,), {"w": packed}, cost=conv.cost)]


def _groups(channels: Channels, count: int) -> list[Channels]:
    """The channels of each group."""
    parts = zip(
        *(np.split(values, count) for values in (channels.weights, channels.bias,
                                                 channels.multiplier, channels.shift)),
        strict=True,
    )  # fmt: skip
    return [replace(channels, weights=w, bias=b, multiplier=m, shift=s) for w, b, m, s in parts]


@lru_cache(maxsize=1024)
def _cheapest(given: str) -> str:
    """A kernel's parameters with the inner loop and the tile that take the fewest instructions.

    Args:
        given: its parameters without them, and inner loops, as JSON: layers that are alike have the
            same.
    """
    p, loops = json.loads(given)
    found = []
    for loop in loops:
        for tile in _tiles(_Geometry(p).walk, loop):
            try:
                conv = _Conv({**p, **loop, "tile": tile})
            except TooManyRegisters:
                continue
            found.append((conv.cost.instructions, conv.p))
    return json.dumps(min(found, key=lambda f: f[0])[1])


#: Inner loops of the families that multiply and add at once.
_LOOPS = {"a64_dot": [{"core": "dot"}], "a64_i8mm": [{"core": "matrix"}, {"core": "dot"}]}


def _products(weights: np.ndarray, runs: list[slice]) -> list[dict[str, Any]]:
    """Inner loops without dot products, and what they may sum in 16 bits."""
    found: list[dict[str, Any]] = [{"core": "multiply", "products": widest(weights, runs)}]
    if runs[0].stop <= FEW_TAPS:
        for most in (2, 4):
            sums = broadcast.groups(weights, runs, most)
            if found[-1].get("sums") != sums:
                found.append({"core": "broadcast", "sums": sums})
    return found


def _tiles(walk: Walk, p: dict[str, Any]) -> list[list[int]]:
    """Tiles that the registers hold and that are worth a look: nearly as many pixels as would fit,
    or a number that leaves none over."""
    found = []
    for quads in range(1, min(QUADS, -(-walk.channels // 4)) + 1):
        fits = [n for n in range(1, PIXELS + 1) if _core(p)(n, quads).fits]
        most = min(max(fits, default=0), walk.pixels)
        near = [n for n in fits if 3 * n >= 2 * most or (2 * n >= most and walk.pixels % n == 0)]
        found += [[n, quads] for n in near if n <= most]
    return found


def _core(p: dict[str, Any]) -> Callable[[int, int], Core]:
    """The inner loops of tiles of so many pixels and groups of four channels."""
    if p["core"] == "multiply":
        return partial(Multiply, products=p["products"])
    if p["core"] == "broadcast":
        return partial(Broadcast, groups=tuple(map(tuple, p["sums"])))
    return Matrix if p["core"] == "matrix" else Dot


def write(spec: KernelSpec) -> Written:
    """The driver in C, and its routines."""
    return _Conv(spec.params).written(spec)


class _Geometry:
    """Where taps lie, in the input or in the copy of its rows."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        (kh, kw), (sy, sx), (dy, dx) = p["kernel"], p["strides"], p["dilations"]
        c = p["C"]
        self.flat = (
            [kh, kw] == [1, 1]
            and not any(p["pads"])
            and (p["H"], p["W"]) == (p["OH"], p["OW"])
            and (sy == sx == 1 or p["OH"] * p["OW"] == 1)
        )
        joined = kw == 1 or (dx == 1 and p["groups"] == 1)
        run = c // p["groups"] * (kw if joined else 1)
        columns = (p["OW"] - 1) * sx + (kw - 1) * dx + 1
        self.rows_read = (kh - 1) * dy + 1
        beyond = Walk(((1, 0), (1, 0)), run, 1, 0, 1, 0, 1, 1).beyond
        top, left = p["pads"][:2]
        last_row = (p["OH"] - 1) * sy + self.rows_read
        self.copied = bool(beyond or top or left or columns > p["W"] or last_row > p["H"])
        if left >= columns or top >= last_row:
            raise NotApplicable("no pixel of the input is read")
        inside = min(p["W"], columns - left)
        pitch = p["W"] * c
        if self.copied and not self.flat:
            pitch = -(-columns * c // 16) * 16
        self.pitch = pitch
        self.row = (left * c, inside * c, pitch - (left + inside) * c)
        pixels = p["OH"] * p["OW"] if self.flat else p["OW"]
        self.walk = Walk(
            ((kh, dy * pitch), (1 if joined else kw, dx * c)),
            run,
            pixels,
            sx * c,
            1 if self.flat else p["OH"],
            sy * pitch,
            p["O"] // p["groups"],
            p["O"],
        )

    @property
    def pad(self) -> Routine:
        """Copies rows of the input with their padding."""
        return padding.rows(*self.row, self.p["W"] * self.p["C"], self.p["zx"])

    @property
    def scratch_bytes(self) -> int:
        p, w = self.p, self.walk
        if not self.copied:
            return 0
        if self.flat:
            return int(w.pixels * w.pixel + SLACK)
        return int(((p["OH"] - 1) * p["strides"][0] + self.rows_read) * self.pitch + SLACK)


class _Conv:
    """The kernel of one layer."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.geometry = _Geometry(p)
        pixels, quads = p["tile"]
        walk = self.geometry.walk
        self.gemm = Gemm(walk, VectorRequant.of(p), _core(p), pixels, quads)
        self.units = -(-walk.pixels // pixels) if self.geometry.flat else walk.rows

    @property
    def cost(self) -> Cost:
        g, p = self.geometry, self.p
        total = (self.gemm.cost + Cost(DRIVER, DRIVER)) * p["groups"]
        if g.copied and g.flat:
            pieces, rest = divmod(g.walk.pixels * g.walk.pixel, PIECE)
            total += padding.cost(_PIECES, (0, PIECE, 0), 0, pieces, 0) + Cost(rest // 4, rest // 4)
        elif g.copied:
            rows = (p["OH"] - 1) * p["strides"][0] + g.rows_read
            top = min(p["pads"][0], rows)
            inside = min(rows - top, p["H"])
            total += padding.cost(g.pad, g.row, top, inside, rows - top - inside)
        return total

    def written(self, spec: KernelSpec) -> Written:
        g, w, routine = self.geometry, self.geometry.walk, self.gemm.routine
        scratch = ", uint8_t *memory" if g.copied else ""
        parts = {routine.name: routine.text()}
        source, body = "x", ""
        if g.flat:
            tile = self.p["tile"][0]
            body += (
                f"    const uint32_t first = begin * {tile}u;\n"
                f"    const uint32_t last = end * {tile}u < {w.pixels}u ? end * {tile}u "
                f": {w.pixels}u;\n"
            )
            at, pixels, rows = f"x + first * {w.pixel}u", "last - first", "1"
            to = f"y + first * {w.result}u"
            if g.copied:
                parts[_PIECES.name] = _PIECES.text()
                body += (
                    f"    const uint32_t bytes = (last - first) * {w.pixel}u;\n"
                    f"    const uint32_t whole = bytes / {PIECE}u * {PIECE}u;\n"
                    f"    const int8_t *from = {at};\n"
                    f"    {_PIECES.name}((int8_t *)memory, from, 0, "
                    f"(int32_t)(bytes / {PIECE}u), 0);\n"
                    f"    memcpy(memory + whole, from + whole, bytes - whole);\n"
                )
        else:
            at, pixels, rows = f"x + begin * {w.row}u", str(w.pixels), "end - begin"
            to = f"y + begin * {w.pixels * w.result}u"
            if g.copied:
                pad = g.pad
                parts[pad.name] = pad.text()
                body += self._pad(pad.name)
        source = "(const int8_t *)memory" if g.copied else at
        groups = self.p["groups"]
        if groups == 1:
            body += f"    {routine.name}({source}, {to}, w, {pixels}, {rows});\n"
        else:
            weights = spec.operands[1].count // groups
            body += (
                f"    for (uint32_t g = 0; g < {groups}u; g++) {{\n"
                f"        {routine.name}({source} + g * {self.p['C'] // groups}u, "
                f"{to} + g * {w.channels}u, w + g * {weights}u, {pixels}, {rows});\n    }}\n"
            )
        text = (
            f"void {spec.name}(const int8_t *x, const int8_t *w, int8_t *y{scratch}, "
            f"uint32_t begin, uint32_t end)\n{{\n"
            f"    if (begin >= end) {{\n        return;\n    }}\n{body}}}\n"
        )
        return Written(text, parts, g.scratch_bytes, self.units)

    def _pad(self, name: str) -> str:
        """Copies the rows of the input that a part reads."""
        g, p = self.geometry, self.p
        sy, top, height = p["strides"][0], p["pads"][0], p["H"]
        return (
            f"    const int32_t first = (int32_t)begin * {sy} - {top};\n"
            f"    const int32_t last = (int32_t)(end - 1u) * {sy} + {g.rows_read - top};\n"
            f"    const int32_t rows = last - first;\n"
            f"    const int32_t from = ek_min(ek_max(first, 0), {height});\n"
            f"    const int32_t inside = ek_max(ek_min(last, {height}) - from, 0);\n"
            f"    const int32_t above = ek_min(ek_max(-first, 0), rows);\n"
            f"    {name}((int8_t *)memory, x + from * {p['W'] * p['C']}, above, inside, "
            f"rows - above - inside);\n"
        )


TEMPLATES = (Template("a64_conv2d", ("conv2d", "fully_connected"), candidates, write),)
