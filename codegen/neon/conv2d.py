"""conv2d and fully_connected: rows of taps against packed weights (`codegen.neon.gemm`).

Pixels of a 1x1 convolution are such rows already, where their bytes are whole eights. Else the taps
of a block of pixels are gathered in scratch, where the input's zero point stands for padding.

Parts are blocks of pixels, or groups of channels where all pixels are one block.
"""

from __future__ import annotations

from typing import Any

from codegen.channels import analyse
from codegen.int8 import as_conv, int8_only
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
from codegen.neon import gather, gemm, requant
from codegen.neon.requant import VectorRequant
from codegen.schedules import _window

#: Bytes of gathered taps that a block of pixels may take.
GATHER_BYTES = 4096
#: Pixels of a block where there are many.
BLOCK = 16
#: Parts that a layer should have at least, for threads to share.
PARTS = 8
#: Bytes of pixels that are read anew for every group of channels.
PIXEL_BYTES = 8192


def candidates(given: Layer) -> list[Candidate]:
    """One, for any shape without groups."""
    int8_only(given)
    layer = as_conv(given)
    groups = layer.node.attrs.get("groups", 1)
    if groups != 1:
        raise NotApplicable(f"{groups} groups")
    w, channels = layer.inputs[1], analyse(layer)
    params: dict[str, Any] = {
        **_window.params(layer, (w.shape[1], w.shape[2])),
        "O": w.shape[0],
        **requant.plan(channels).params,
        "zx": channels.input_zero_point,
        "depth": gemm.depth_of(channels.weights),
        "template": "neon_conv2d",
    }
    conv = _Conv(params)
    lanes = conv.rows.tile[1]
    packed, operands = gemm.pack_weights(channels.weights, lanes), requant.pack(channels, lanes)
    spec = KernelSpec(
        given.node.op,
        "neon",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("q", "int32", operands.size, "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        params,
    )
    constants = {"w": packed, "q": operands}
    return [Candidate(spec, (layer.inputs[0].name,), constants, cost=conv.cost)]


def write(spec: KernelSpec) -> Written:
    """The driver in C, and what it calls."""
    return _Conv(spec.params).written(spec)


class _Conv:
    """The loops of one convolution."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.window = gather.Window.of(p)
        self.k = p["kernel"][0] * p["kernel"][1] * p["C"]
        self.pixels = p["OH"] * p["OW"]
        self.gathered = not self.window.pointwise or self.k % gemm.HALF != 0
        #: Bytes from row to row of taps.
        self.step = gemm.row_bytes(self.k) if self.gathered else self.k
        tile = gemm.SINGLE if self.pixels == 1 else gemm.TILE
        how = VectorRequant.of(p)
        self.rows = gemm.Rows(tile, self.k, how, p["O"] % tile[1], p["depth"])
        self.block = min(self._block(), self.pixels)

    def _block(self) -> int:
        """Pixels whose results are made before others are begun."""
        if self.gathered:
            most = max(GATHER_BYTES // self.step // 2 * 2, 2)
            return min(most, max(BLOCK, self.pixels // PARTS // 2 * 2))
        few = self.pixels * self.k <= PIXEL_BYTES
        return self.pixels if few and self.groups >= PARTS else BLOCK

    @property
    def groups(self) -> int:
        """Of channels."""
        return -(-int(self.p["O"]) // self.rows.tile[1])

    @property
    def by_channels(self) -> bool:
        return self.pixels <= self.block

    @property
    def units(self) -> int:
        return self.groups if self.by_channels else -(-self.pixels // self.block)

    @property
    def scratch_bytes(self) -> int:
        return self.block * self.step if self.gathered else 0

    @property
    def cost(self) -> Cost:
        blocks, rest = divmod(self.pixels, self.block)
        across = self.rows.tile[0]
        tiles = blocks * -(-self.block // across) + -(-rest // across)
        calls = -(-self.pixels // self.block)
        total = self.groups * (tiles * self.rows.instructions + calls * 16)
        total += self.window.instructions if self.gathered else 0
        return Cost(total, total)

    def written(self, spec: KernelSpec) -> Written:
        scratch = ", uint8_t *memory" if self.gathered else ""
        head = (
            f"void {spec.name}(const int8_t *x, const int8_t *w, const int32_t *q, int8_t *y"
            f"{scratch}, uint32_t begin, uint32_t end)"
        )
        body = self._by_channels() if self.by_channels else self._by_pixels()
        if self.gathered:
            body = "    int8_t *const taps = (int8_t *)memory;\n" + body
        parts = {}
        if self.gathered:
            zx = self.p["zx"]
            parts[self.window.name(zx)] = self.window.part(zx)
        parts[self.rows.name] = self.rows.text()
        return Written(f"{head}\n{{\n{body}}}\n", parts, self.scratch_bytes, self.units)

    def _gather(self, first: str, count: str, indent: str) -> str:
        """C text: taps of `count` pixels from `first` on."""
        p, name = self.p, self.window.name(self.p["zx"])
        if self.pixels == 1:
            return f"{indent}{name}(x, taps, 0, 0);\n"
        return (
            f"{indent}int32_t oy = {first} / {p['OW']}, ox = {first} % {p['OW']};\n"
            f"{indent}for (int32_t i = 0; i < {count}; i++) {{\n"
            f"{indent}    {name}(x, taps + i * {self.step}, oy, ox);\n"
            f"{indent}    if (++ox == {p['OW']}) {{\n"
            f"{indent}        ox = 0;\n{indent}        oy++;\n{indent}    }}\n{indent}}}\n"
        )

    def _by_channels(self) -> str:
        channels, o = self.rows.tile[1], self.p["O"]
        text = f"    const int32_t group = (int32_t)begin, c = {channels} * group;\n"
        if self.gathered:
            text += self._gather("0", str(self.pixels), "    ")
        return (
            text
            + "    "
            + self.rows.call(
                "taps" if self.gathered else "x",
                "y + c",
                f"w + group * {channels * gemm.row_bytes(self.k)}",
                f"q + group * {3 * channels}",
                str(self.pixels),
                str(self.step),
                o,
                f"ek_min({channels} * (int32_t)end, {o}) - c",
            )
        )

    def _by_pixels(self) -> str:
        o = self.p["O"]
        text = (
            f"    for (int32_t first = (int32_t)begin * {self.block}; "
            f"first < ek_min((int32_t)end * {self.block}, {self.pixels}); "
            f"first += {self.block}) {{\n"
            f"        const int32_t n = ek_min({self.block}, {self.pixels} - first);\n"
        )
        source = f"x + first * {self.k}"
        if self.gathered:
            text, source = text + self._gather("first", "n", "        "), "taps"
        step, y = str(self.step), f"y + first * {o}"
        return f"{text}        {self.rows.call(source, y, 'w', 'q', 'n', step, o, str(o))}    }}\n"


TEMPLATES = (Template("neon_conv2d", ("conv2d", "fully_connected"), candidates, write),)
