"""The taps of one output pixel, copied to scratch in the order of the weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from codegen.mve.gemm import CHUNK


@dataclass(frozen=True)
class Window:
    """Shapes of a sliding window; the tuples are [y, x]."""

    height: int
    width: int
    channels: int
    out: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int]

    #: Of the names of gathering functions, and of the copying ones that they call.
    FAMILY: ClassVar[str] = "mve"
    PREFIX: ClassVar[str] = "ek_m"

    @classmethod
    def of(cls, p: dict[str, Any]) -> Self:
        """From the params of a kernel."""

        def two(values: list[int]) -> tuple[int, int]:
            return values[0], values[1]

        return cls(
            p["H"], p["W"], p["C"], (p["OH"], p["OW"]), two(p["kernel"]), two(p["strides"]),
            two(p["dilations"]), two(p["pads"]),
        )  # fmt: skip

    @property
    def pointwise(self) -> bool:
        """Whether output pixels read just the input pixels in order."""
        return (
            self.kernel == (1, 1)
            and self.pads == (0, 0)
            and self.out == (self.height, self.width)
            and (self.strides == (1, 1) or self.out == (1, 1))
        )

    def _inside(self, axis: int) -> list[bool]:
        """By output row or column: whether all of its taps are real."""
        size = (self.height, self.width)[axis]
        first = [o * self.strides[axis] - self.pads[axis] for o in range(self.out[axis])]
        span = (self.kernel[axis] - 1) * self.dilations[axis]
        return [f >= 0 and f + span < size for f in first]

    @property
    def run(self) -> int:
        """Bytes that lie one after the other, in the input as among the taps."""
        return self.channels * (self.kernel[1] if self.dilations[1] == 1 else 1)

    @property
    def instructions(self) -> int:
        """About how many all pixels take, loops over them included."""
        runs = self.kernel[0] * (self.kernel[1] if self.dilations[1] != 1 else 1)
        copy = 2 * (self.run // CHUNK) + (3 if self.run % CHUNK else 0) + 1
        inner = sum(self._inside(0)) * sum(self._inside(1))
        outer = self.out[0] * self.out[1] - inner
        border = self.kernel[0] * (24 + 4 * (self.run // CHUNK))
        if self.dilations[1] != 1:
            border *= self.kernel[1]
        return inner * (runs * copy + 14) + outer * (border + 14)

    def name(self, zero_point: int) -> str:
        text = f"{self!r} {zero_point}"
        return f"ek_{self.FAMILY}_gather_{hashlib.sha256(text.encode()).hexdigest()[:6]}"

    def part(self, zero_point: int) -> str:
        """The function: taps of output pixel (oy, ox) of x to `to`."""
        top, left = self.pads
        always = all(self._inside(0)) and all(self._inside(1))
        last_row = self.height - (self.kernel[0] - 1) * self.dilations[0]
        last_column = self.width - (self.kernel[1] - 1) * self.dilations[1]
        inside = f"iy >= 0 && iy < {last_row} && ix >= 0 && ix < {last_column}"
        text = (
            f"EK_INLINE void {self.name(zero_point)}(const int8_t *x, int8_t *to, int32_t oy, "
            f"int32_t ox)\n{{\n"
            f"    const int32_t iy = oy * {self.strides[0]} - {top};\n"
            f"    const int32_t ix = ox * {self.strides[1]} - {left};\n"
        )
        if always:
            return text + self._inner() + "}\n"
        if last_row <= 0 or last_column <= 0:
            return text + self._border(zero_point) + "}\n"
        return (
            text + f"    if ({inside}) {{\n{self._inner()}        return;\n    }}\n"
            f"{self._border(zero_point)}}}\n"
        )

    def _inner(self) -> str:
        c, row = self.channels, self.width * self.channels
        lines = [f"        const int8_t *from = x + iy * {row} + ix * {c};"]
        at = 0
        for ky in range(self.kernel[0]):
            for kx in range(1 if self.dilations[1] == 1 else self.kernel[1]):
                source = ky * self.dilations[0] * row + kx * self.dilations[1] * c
                lines += [f"        {copy}" for copy in self._copies(at, source)]
                at += self.run
        return "\n".join(lines) + "\n"

    def _copies(self, at: int, source: int) -> list[str]:
        """Statements that copy a run from `source` bytes behind `from` to `at` behind `to`."""
        found = []
        for i in range(0, self.run, CHUNK):
            n = min(self.run - i, CHUNK)
            to, where = f"to + {at + i}", f"from + {source + i}"
            if n == CHUNK:
                found.append(f"ek_m_copy16({to}, {where});")
            elif n == 4:
                found.append(f"ek_st_int8x4({to}, ek_ld_int8x4({where}));")
            else:
                found.append(f"ek_m_copy_part({to}, {where}, {n});")
        return found

    def _border(self, zero_point: int) -> str:
        c, (kh, kw), (dh, dw) = self.channels, self.kernel, self.dilations
        fill, copy = f"{self.PREFIX}_fill", f"{self.PREFIX}_copy"
        head = (
            f"    for (int32_t ky = 0; ky < {kh}; ky++) {{\n"
            f"        const int32_t row = iy + ky * {dh};\n"
        )
        outside = f"row < 0 || row >= {self.height}"
        if dw == 1:
            return head + (
                f"        const int32_t before = ek_min(ek_max(-ix, 0), {kw});\n"
                f"        const int32_t end = ek_max(ek_min({self.width} - ix, {kw}), before);\n"
                f"        if ({outside}) {{\n"
                f"            {fill}(to, {zero_point}, {kw * c});\n"
                f"        }} else {{\n"
                f"            {fill}(to, {zero_point}, before * {c});\n"
                f"            {copy}(to + before * {c}, "
                f"x + (row * {self.width} + ix + before) * {c}, (end - before) * {c});\n"
                f"            {fill}(to + end * {c}, {zero_point}, ({kw} - end) * {c});\n"
                f"        }}\n        to += {kw * c};\n    }}\n"
            )
        return head + (
            f"        for (int32_t kx = 0; kx < {kw}; kx++) {{\n"
            f"            const int32_t column = ix + kx * {dw};\n"
            f"            if ({outside} || column < 0 || column >= {self.width}) {{\n"
            f"                {fill}(to, {zero_point}, {c});\n"
            f"            }} else {{\n"
            f"                {copy}(to, x + (row * {self.width} + column) * {c}, {c});\n"
            f"            }}\n            to += {c};\n        }}\n    }}\n"
        )
