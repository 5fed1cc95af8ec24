"""conv2d and fully_connected: rows of taps against packed weights (`codegen.mve.gemm`).

Pixels of a 1x1 convolution are such rows already. Else the taps of a few pixels are gathered in
scratch, where the input's zero point stands for padding. A result of one pixel takes eight channels
at a time, anything else two pixels by four channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import analyse
from codegen.int8 import Requant, as_conv, int8_only
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
from codegen.mve import gather, gemm, requant
from codegen.mve.routine import MveRoutine
from codegen.overlap import Steps, sharing, tile_steps
from codegen.schedules import _window

#: Bytes of gathered taps that a block of pixels may take.
GATHER_BYTES = 2048
#: Pixels of a 1x1 convolution that are finished before the next are begun, to save RAM.
TILE = 16
#: Instructions of a driver around one call: its arguments, and what leads to it.
CALL = 26


def candidates(given: Layer) -> list[Candidate]:
    """One for each of `_tiles`."""
    layer = as_conv(given)
    int8_only(layer)
    groups = layer.node.attrs.get("groups", 1)
    if groups != 1:
        raise NotApplicable(f"{groups} groups")
    w, channels = layer.inputs[1], analyse(layer)
    how = requant.plan(channels)
    params: dict[str, Any] = {
        **_window.params(layer, (w.shape[1], w.shape[2])),
        "O": w.shape[0],
        **how.params,
        "zx": channels.input_zero_point,
        "template": "mve_conv2d",
    }
    lanes = 8 if params["OH"] * params["OW"] == 1 else 4
    packed = gemm.pack_weights(channels.weights, lanes)
    constants = {"w": packed, "q": requant.pack(channels, lanes)}
    operands = (
        Operand("x", "int8", layer.inputs[0].size, "input"),
        Operand("w", "int8", packed.size, "constant"),
        Operand("q", "int8", constants["q"].size, "constant"),
        Operand("y", "int8", layer.output.size, "output"),
    )
    found = []
    for tile in _tiles(params):
        conv = _Conv({**params, "tile": tile})
        spec = KernelSpec(given.node.op, "arm_mve", operands, conv.p)
        candidate = Candidate(spec, (layer.inputs[0].name,), constants, cost=conv.cost)
        found.append(sharing(candidate, conv.steps(layer.output.nbytes)))
    return found


def _tiles(p: dict[str, Any]) -> list[int]:
    """Pixels between which the channels start anew: as many as scratch holds where taps are
    gathered, else all, or a few, so that results may take the place of pixels that were read."""
    pixels = p["OH"] * p["OW"]
    if gather.Window.of(p).pointwise:
        return [pixels] + ([TILE] if pixels > 2 * TILE else [])
    row = gemm.chunks_of(p["kernel"][0] * p["kernel"][1] * p["C"]) * gemm.CHUNK
    return [min(max(GATHER_BYTES // row // 2 * 2, 2), pixels)]


def write(spec: KernelSpec) -> Written:
    """The driver in C, and its routine."""
    return _Conv(spec.params).written(spec)


class _Conv:
    """The loops of one convolution."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.how = Requant.of(p)
        self.window = gather.Window.of(p)
        self.k = p["kernel"][0] * p["kernel"][1] * p["C"]
        self.chunks = gemm.chunks_of(self.k)
        self.row = self.chunks * gemm.CHUNK
        self.pixels = p["OH"] * p["OW"]
        self.unroll = gemm.unrolled(self.chunks)
        self.loops = self.chunks // self.unroll
        self.tile = p["tile"]

    @property
    def routine(self) -> MveRoutine:
        make = gemm.vector if self.pixels == 1 else gemm.rows
        lanes = 8 if self.pixels == 1 else 4
        return make(
            self.unroll, self.loops > 1, self.how.form, self.how.clamped, self.p["O"] % lanes != 0
        )

    @property
    def overread(self) -> int:
        """Pixels at the end of an input that is its own rows, whose chunks would end beyond it."""
        return min(-(-(self.row - self.k) // self.k), self.pixels)

    @property
    def scratch_bytes(self) -> int:
        if not self.window.pointwise:
            return int(self.tile * self.row + gemm.CHUNK)
        return (self.overread - 1) * self.k + self.row if self.overread else 0

    # ---- cost

    @property
    def cost(self) -> Cost:
        p = self.p
        if self.pixels == 1:
            groups = -(-p["O"] // 8)
            total = self.routine.cost(groups=groups, chunks=self.loops)
        else:
            total = Cost(0, 0)
            for pixels in self._blocks():
                for pairs in filter(None, (pixels // 2, pixels % 2)):
                    total += self._call(pairs)
        gathered = self.pixels if not self.window.pointwise else self.overread
        if not self.window.pointwise:
            total += Cost(self.window.instructions, self.window.instructions)
        elif gathered:
            copied = 8 + 4 * gemm.chunks_of(self.overread * self.k)
            total += Cost(copied, copied)
        return total

    def _call(self, pairs: int) -> Cost:
        groups = -(-self.p["O"] // 4)
        return self.routine.cost(groups=groups, pairs=pairs, chunks=self.loops) + Cost(CALL, CALL)

    def _blocks(self) -> list[int]:
        """Pixels of each call of `run`."""
        last = [self.overread] if self.window.pointwise and self.overread else []
        full, rest = divmod(self.pixels - sum(last), self.tile)
        return [self.tile] * full + ([rest] if rest else []) + last

    def steps(self, out_bytes: int) -> Steps | None:
        """Order of access for `codegen.overlap`."""
        if self.pixels == 1:
            return None
        if not self.window.pointwise:
            return tile_steps({**self.p, "x_dtype": "int8"}, out_bytes, self.tile)
        # Each group of channels reads a tile's pixels anew, after the first has been written.
        starts = np.cumsum([0, *self._blocks()])
        pairs = np.stack([starts[:-1] * self.k, starts[1:] * self.p["O"]], 1)
        return np.repeat(pairs, 2, 0)

    # ---- text

    def written(self, spec: KernelSpec) -> Written:
        p, routine = self.p, self.routine
        scratch = ", uint8_t *memory" if self.scratch_bytes else ""
        head = (
            f"void {spec.name}(const int8_t *x, const int8_t *w, const int8_t *q, "
            f"int8_t *y{scratch})"
        )
        if self.pixels == 1:
            body = self._one_pixel()
        elif self.window.pointwise:
            body = self._pointwise()
        else:
            body = self._gathered()
        if self.scratch_bytes:
            body = "    int8_t *const scratch = (int8_t *)memory;\n" + body
        run = "" if self.pixels == 1 else self._run(spec.name)
        parts = {routine.name: routine.text()}
        if not self.window.pointwise:
            parts[self.window.name(p["zx"])] = self.window.part(p["zx"])
        text = f"{run}{head}\n{{\n{body}}}\n".replace("RUN(", f"{spec.name}_run(")
        return Written(text, parts, self.scratch_bytes)

    def _one_pixel(self) -> str:
        p, lines, source = self.p, "", "x"
        if not self.window.pointwise:
            lines, source = f"    {self.window.name(p['zx'])}(x, scratch, 0, 0);\n", "scratch"
        elif self.overread:
            lines, source = f"    ek_m_copy(scratch, x, {self.k});\n", "scratch"
        return lines + (
            f"    {self.routine.name}({source}, y, w, q, {self.how.zero_point}, {self.how.low}, "
            f"{self.how.high}, {self.loops}, {p['O']});\n"
        )

    def _run(self, name: str) -> str:
        """A function that turns `n` rows, `step` bytes apart, into pixels."""
        p, h = self.p, self.how
        step = self.k if self.window.pointwise else self.row
        tail = f"{h.zero_point}, {h.low}, {h.high}, {self.loops}"
        wbytes = 4 * self.row
        call = self.routine.name
        return (
            f"static void {name}_run(const int8_t *x, const int8_t *w, const int8_t *q, int8_t *y, "
            f"int32_t n)\n{{\n"
            f"    if (n > 1) {{\n"
            f"        {call}(x, y, w, q, {2 * step - self.row}, {p['O']}, {tail}, {step}, "
            f"{wbytes}, n >> 1, {p['O']});\n"
            f"    }}\n"
            f"    if ((n & 1) != 0) {{ /* the last pixel stands for two, which write the same */\n"
            f"        {call}(x + (n - 1) * {step}, y + (n - 1) * {p['O']}, w, q, 0, 0, {tail}, 0, "
            f"{wbytes}, 1, {p['O']});\n"
            f"    }}\n}}\n"
        )

    def _pointwise(self) -> str:
        rest, o = self.overread, self.p["O"]
        text = ""
        whole = self.pixels - rest
        if whole > self.tile:
            text += (
                f"    for (int32_t i = 0; i < {whole}; i += {self.tile}) {{\n"
                f"        RUN(x + i * {self.k}, w, q, y + i * {o}, "
                f"ek_min({self.tile}, {whole} - i));\n    }}\n"
            )
        elif whole:
            text += f"    RUN(x, w, q, y, {whole});\n"
        if rest:
            text += (
                f"    ek_m_copy(scratch, x + {whole * self.k}, {rest * self.k});\n"
                f"    RUN(scratch, w, q, y + {whole * o}, {rest});\n"
            )
        return text

    def _gathered(self) -> str:
        p = self.p
        return (
            f"    int32_t n = 0;\n"
            f"    for (int32_t oy = 0; oy < {p['OH']}; oy++) {{\n"
            f"        for (int32_t ox = 0; ox < {p['OW']}; ox++) {{\n"
            f"            {self.window.name(p['zx'])}(x, scratch + n * {self.row}, oy, ox);\n"
            f"            n++;\n"
            f"            if (n == {self.tile}) {{\n"
            f"                RUN(scratch, w, q, y, {self.tile});\n"
            f"                y += {self.tile * p['O']};\n"
            f"                n = 0;\n"
            f"            }}\n        }}\n    }}\n"
            + (f"    RUN(scratch, w, q, y, {self.pixels % self.tile});\n"
               if self.pixels % self.tile else "")
        )  # fmt: skip


TEMPLATES = (Template("mve_conv2d", ("conv2d", "fully_connected"), candidates, write),)
