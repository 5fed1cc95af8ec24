"""conv2d and fully_connected: rows of taps against packed weights (`codegen.mve.gemm`).

Pixels of a 1x1 convolution are such rows already. Else the taps of a few pixels are gathered in
scratch, where the input's zero point stands for padding. A result of one pixel takes eight channels
at a time, anything else two pixels by four channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from codegen.mve import gather, gemm, requant
from codegen.mve.requant import VectorRequant
from codegen.mve.routine import MveRoutine
from codegen.schedules import _float, _window

#: Bytes of gathered taps that a block of pixels may take.
GATHER_BYTES = 2048
#: Instructions of a driver around one call: its arguments, and what leads to it.
CALL = 26


def _as_conv(layer: Layer) -> Layer:
    """A fully connected layer as a 1x1 convolution of one pixel."""
    if layer.node.op != "fully_connected":
        return layer
    x, w, bias = layer.inputs
    channels, taps = w.shape
    data = layer.constants[w.name].reshape(channels, 1, 1, taps)
    return replace(
        layer,
        inputs=(replace(x, shape=(1, 1, 1, taps)), replace(w, shape=data.shape), bias),
        constants={**layer.constants, w.name: data},
        output=replace(layer.output, shape=(1, 1, 1, channels)),
    )


def int8_only(layer: Layer) -> None:
    """Refuse what these kernels do not compute."""
    _float.refuse(layer)
    if layer.node.attrs.get("weight_bits", 8) != 8:
        raise NotApplicable(f"weights of {layer.node.attrs['weight_bits']} bits")


def candidates(given: Layer) -> list[Candidate]:
    """One: which loops run follows from the shapes."""
    layer = _as_conv(given)
    int8_only(layer)
    groups = layer.node.attrs.get("groups", 1)
    if groups != 1:
        raise NotApplicable(f"{groups} groups")
    w = layer.constants[layer.inputs[1].name]
    channels = analyse(layer, w.reshape(w.shape[0], -1))
    how = requant.plan(channels)
    p: dict[str, Any] = {
        **_window.params(layer, (w.shape[1], w.shape[2])),
        "O": w.shape[0],
        **how.params,
        "zx": channels.input_zero_point,
        "template": "mve_conv2d",
    }
    lanes = 8 if p["OH"] * p["OW"] == 1 else 4
    packed = gemm.pack_weights(channels.weights, lanes)
    spec = KernelSpec(
        given.node.op,
        "arm_mve",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("q", "int8", _operand_bytes(channels, lanes), "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        p,
    )
    constants = {"w": packed, "q": requant.pack(channels, lanes)}
    return [Candidate(spec, (layer.inputs[0].name,), constants, cost=_Conv(p).cost)]


def _operand_bytes(channels: Channels, lanes: int) -> int:
    return -(-len(channels.bias) // lanes) * (lanes // 4) * requant.GROUP_BYTES


def write(spec: KernelSpec) -> Written:
    """The driver in C, and its routine."""
    return _Conv(spec.params).written(spec)


class _Conv:
    """The loops of one convolution."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.how = VectorRequant.of(p)
        self.window = gather.Window.of(p)
        self.k = p["kernel"][0] * p["kernel"][1] * p["C"]
        self.chunks = gemm.chunks_of(self.k)
        self.row = self.chunks * gemm.CHUNK
        self.pixels = p["OH"] * p["OW"]
        self.unroll = gemm.unrolled(self.chunks)
        self.loops = self.chunks // self.unroll
        self.block = min(max(GATHER_BYTES // self.row // 2 * 2, 2), self.pixels)

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
            return self.block * self.row + gemm.CHUNK
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
        if self.window.pointwise:
            return [n for n in (self.pixels - self.overread, self.overread) if n]
        full, rest = divmod(self.pixels, self.block)
        return [self.block] * full + ([rest] if rest else [])

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
        if whole:
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
            f"            if (n == {self.block}) {{\n"
            f"                RUN(scratch, w, q, y, {self.block});\n"
            f"                y += {self.block * p['O']};\n"
            f"                n = 0;\n"
            f"            }}\n        }}\n    }}\n"
            + (f"    RUN(scratch, w, q, y, {self.pixels % self.block});\n"
               if self.pixels % self.block else "")
        )  # fmt: skip


TEMPLATES = (Template("mve_conv2d", ("conv2d", "fully_connected"), candidates, write),)
