"""Products of int8 rows with int8 weights: tiles of pixels by channels, as C with intrinsics.

A row is read in chunks of 16 bytes and, where it is left over, one of 8; sums of a pixel and a
channel are the lanes of one vector, which are added up at the end of a tile. Weights are packed in
the order of use, rows padded with zeros to whole chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.neon.requant import INSTRUCTIONS, PARAMETERS, VectorRequant

CHUNK, HALF = 16, 8
#: Pixels and channels of a tile: eight sums leave room for operands among 16 vector registers.
TILE = (2, 4)
#: The same where a layer has one pixel.
SINGLE = (1, 8)
#: Chunks that are unrolled at most.
UNROLL = 4
#: Magnitudes of weights whose products are summed in 16 bits: 128 times as much must fit.
MOST = 255


def row_bytes(k: int) -> int:
    """Bytes of a padded row of `k` bytes."""
    return -(-k // HALF) * HALF


def depth_of(weights: np.ndarray) -> int:
    """How many products are summed in 16 bits: 4 or 2 where they fit whatever the pixels are, as
    the magnitudes of weights that meet are at most 255 together; else 1.

    Args:
        weights: int8 [O, K]; bytes i and i + 8 of a chunk meet, and those of the next one where two
            are taken together (`Rows.steps`).
    """
    o, k = weights.shape
    whole = np.zeros((o, -(-k // CHUNK) * CHUNK), np.int64)
    whole[:, :k] = np.abs(weights.astype(np.int64))
    if k % CHUNK and k % CHUNK <= HALF:
        whole = whole[:, :-CHUNK]  # a half, whose products stay alone
    two = whole.reshape(o, -1, 2, HALF).sum(2)
    if not (two <= MOST).all():
        return 1
    odd = two.shape[1] % 2
    four = two[:, odd:].reshape(o, -1, 2, HALF).sum(2)
    return 4 if four.size and (four <= MOST).all() else 2


def pack_weights(weights: np.ndarray, channels: int) -> np.ndarray:
    """int8 [O, K] to [O / channels][chunk][channels][16, or 8 in a last half], flat."""
    o, k = weights.shape
    whole = np.zeros((-(-o // channels) * channels, row_bytes(k)), np.int8)
    whole[:o, :k] = weights
    full = row_bytes(k) // CHUNK * CHUNK
    groups = whole.reshape(-1, channels, row_bytes(k))
    chunks = groups[:, :, :full].reshape(len(groups), channels, -1, CHUNK).transpose(0, 2, 1, 3)
    parts = [chunks.reshape(len(groups), -1), groups[:, :, full:].reshape(len(groups), -1)]
    return np.ascontiguousarray(np.concatenate(parts, 1)).ravel()


@dataclass(frozen=True)
class Rows:
    """A function that turns rows into results, group of channels by group."""

    tile: tuple[int, int]
    k: int
    how: VectorRequant
    #: Channels of the last group, 0 where it is whole.
    rest: int
    #: `depth_of` the weights.
    depth: int

    @property
    def chunks(self) -> int:
        return row_bytes(self.k) // CHUNK

    @property
    def half(self) -> bool:
        return row_bytes(self.k) % CHUNK != 0

    @property
    def looped(self) -> bool:
        return self.chunks > UNROLL

    @property
    def ahead(self) -> int:
        """Chunks before a loop that takes two in a round."""
        return 2 - self.chunks % 2

    @property
    def name(self) -> str:
        size = f"{self.ahead}n" if self.looped else str(self.chunks)
        flags = ("_half" if self.half else "", f"_rest{self.rest}" if self.rest else "",
                 {1: "_wide", 2: "", 4: "_deep"}[self.depth])  # fmt: skip
        return f"ek_neon_rows{self.tile[0]}x{self.tile[1]}_{size}{''.join(flags)}_{self.how.suffix}"

    @property
    def instructions(self) -> int:
        """Of a tile, fitted to what zig's code executes (tests/codegen/neon/test_costs.py)."""
        pixels, channels = self.tile
        products = {1: 4, 2: 3, 4: 2.5}[self.depth]
        chunk = pixels + channels + int(products * pixels * channels) + 2 * self.looped
        half = pixels + channels + 2 * pixels * channels
        forms = 2 * (INSTRUCTIONS[self.how.form] - INSTRUCTIONS["relu"]) + 2 * self.how.clamped
        ends = 66 if self.looped else 46 if self.tile == TILE else 58
        return self.chunks * chunk + self.half * half + forms + ends

    def call(self, x: str, y: str, w: str, q: str, n: str, step: str, stride: int,
             channels: str) -> str:  # fmt: skip
        """C statement: `n` rows, `step` bytes apart, to pixels that are `stride` bytes apart."""
        counts = f"{n}, {step}, {stride}, {channels}, {self.chunks}"
        return f"{self.name}({x}, {y}, {w}, {q}, {counts}, {self.how.numbers});\n"

    def text(self) -> str:
        """The function in C."""
        pixels, channels = self.tile
        rows = ["i", *(f"ek_min(i + {p}, n - 1)" for p in range(1, pixels))]
        lines = [
            *(f"const int8_t *x{p} = x + {row} * step;" for p, row in enumerate(rows)),
            "const int8_t *v = w;",
            "const int32_t *o = q;",
            "EK_N_ANEW(v);",
            "EK_N_ANEW(o);",
        ]
        body = "".join(f"            {line}\n" for line in lines) + self._sums()
        for c in range(0, channels, 4):
            for i, what in enumerate(("bias", "multiplier", "shift")):
                at = f"o + {i * channels + c}"
                body += f"            const int32x4_t {what}{c} = vld1q_s32({at});\n"
        for p in range(pixels):
            for c in range(0, channels, 4):
                body += f"            const int32x4_t r{p}{c} = {self._result(p, c)};\n"
        unused = "" if self.looped else "    (void)chunks;\n"
        group = f"chunks * {CHUNK * channels}" + (f" + {HALF * channels}" if self.half else "")
        return (
            f"static void {self.name}(const int8_t *x, int8_t *y, const int8_t *w,\n"
            f"    const int32_t *q, int32_t n, int32_t step, int32_t stride, int32_t channels,\n"
            f"    int32_t chunks, {', '.join(PARAMETERS)})\n{{\n"
            f"{self.how.constants()}"
            f"    for (; channels > 0; channels -= {channels}) {{\n"
            f"        for (int32_t i = 0; i < n; i += {pixels}) {{\n"
            f"{body}{self._stores()}        }}\n"
            f"        w += {group if self.looped else channels * row_bytes(self.k)};\n"
            f"        q += {3 * channels};\n        y += {channels};\n    }}\n"
            f"{unused}}}\n"
        )

    def _result(self, p: int, c: int) -> str:
        lanes = ", ".join(f"a{p}{c + j}" for j in range(4))
        sums = f"vaddq_s32(ek_n_sums({lanes}), bias{c})"
        return self.how.rescaled(sums, f"multiplier{c}", f"shift{c}")

    def _sums(self) -> str:
        pixels, channels = self.tile
        names = [f"a{p}{c}" for p in range(pixels) for c in range(channels)]
        text = f"            int32x4_t {', '.join(names)};\n"
        first = True
        for n in self.steps(self.ahead if self.looped else self.chunks):
            text += self._chunks(n, first)
            first = False
        if self.looped:
            text += f"            for (int32_t k = {self.ahead}; k < chunks; k += 2) {{\n"
            text += "                EK_N_ANEW(v);\n"
            text += "".join(self._chunks(n, False) for n in self.steps(2)) + "            }\n"
        return text + (self._half(first) if self.half else "")

    def steps(self, chunks: int) -> list[int]:
        """Chunks that are taken together: two where four products are summed in 16 bits, after an
        odd one."""
        if self.depth < 4:
            return [1] * chunks
        return [1] * (chunks % 2) + [2] * (chunks // 2)

    def _chunks(self, n: int, first: bool) -> str:
        """Products of `n` chunks, 1 or 2."""
        pixels, channels = self.tile
        lines = ["{"]
        for i in range(n):
            loads = ", ".join(f"b{p}{i} = vld1q_s8(x{p} + {CHUNK * i})" for p in range(pixels))
            lines.append(f"    const int8x16_t {loads};")
        if n == 2:
            lines += [f"    const int8_t *u = v + {CHUNK * channels};", "    EK_N_ANEW(u);"]
        for c in range(channels):
            for i, pointer in enumerate("vu"[:n]):
                load = f"vld1q_s8({pointer} + {CHUNK * c})"
                lines.append(f"    const int8x16_t w{c}{i} = {load};")
            for p in range(pixels):
                lines += [f"    {line}" for line in self._products(n, p, c, first)]
            lines += [f"    EK_N_IN_ORDER(a{p}{c});" for p in range(pixels)]
        steps = "".join(f"x{p} += {CHUNK * n}, " for p in range(pixels))
        lines += [f"    {steps}v += {CHUNK * channels * n};", "}"]
        return "".join(f"            {line}\n" for line in lines)

    def _products(self, n: int, p: int, c: int, first: bool) -> list[str]:
        """Statements that add the products of pixel and channel to their sum."""
        a = f"a{p}{c}"
        if self.depth == 1:
            halves = [f"vmull_s8(vget_{h}_s8(w{c}0), vget_{h}_s8(b{p}0))" for h in ("low", "high")]
            return [f"{a} = {_added(a, product, first and i == 0)};"
                    for i, product in enumerate(halves)]  # fmt: skip
        product = f"ek_n_products(b{p}0, w{c}0)"
        if n == 2:
            product = f"ek_n_more_products({product}, b{p}1, w{c}1)"
        return [f"{a} = {_added(a, product, first)};"]

    def _half(self, first: bool) -> str:
        pixels, channels = self.tile
        loads = ", ".join(f"b{p} = vld1_s8(x{p})" for p in range(pixels))
        lines = ["{", f"    const int8x8_t {loads};"]
        for c in range(channels):
            lines.append(f"    const int8x8_t w{c} = vld1_s8(v + {HALF * c});")
            for p in range(pixels):
                a = f"a{p}{c}"
                lines.append(f"    {a} = {_added(a, f'vmull_s8(w{c}, b{p})', first)};")
        return "".join(f"            {line}\n" for line in [*lines, "}"])

    def _stores(self) -> str:
        channels = self.tile[1]
        if self.tile == SINGLE:
            found = self.how.narrowed("r00", "r04")
            lines = [f"const int8x8_t found = {found};", "(void)stride;"]
            whole, part = ["vst1_s8(y, found);"], [f"ek_n_store_part(y, found, {self.rest});"]
        else:
            found = self.how.narrowed("r00", "r10")
            lines = [
                f"const int8x8_t found = {found};",
                "int8_t *const y0 = y + i * stride;",
                "int8_t *const y1 = y + ek_min(i + 1, n - 1) * stride;",
            ]
            whole = ["ek_n_store_low(y0, found);", "ek_n_store_high(y1, found);"]
            part = [
                f"ek_n_store_part(y0, found, {self.rest});",
                f"ek_n_store_part(y1, vext_s8(found, found, 4), {self.rest});",
            ]
        if self.rest:
            indented = [[f"    {line}" for line in way] for way in (whole, part)]
            lines += [
                f"if (channels >= {channels}) {{",
                *indented[0],
                "} else {",
                *indented[1],
                "}",
            ]
        else:
            lines += whole
        return "".join(f"            {line}\n" for line in lines)


def _added(a: str, product: str, first: bool) -> str:
    """C expression: `a` and a vector of 16 bits, by two."""
    return f"vpaddlq_s16({product})" if first else f"vpadalq_s16({a}, {product})"
