"""The taps of one output pixel, copied to scratch in the order of the weights."""

from __future__ import annotations

from typing import ClassVar

from codegen.mve import gather

#: Runs of more bytes are copied in a loop.
UNROLLED = 128


class Window(gather.Window):
    """A window whose taps are copied with NEON: not one byte more than there are."""

    FAMILY: ClassVar[str] = "neon"
    PREFIX: ClassVar[str] = "ek_n"

    @property
    def instructions(self) -> int:
        """About how many all pixels take, loops over them included."""
        runs = self.kernel[0] * (self.kernel[1] if self.dilations[1] != 1 else 1)
        inner = sum(self._inside(0)) * sum(self._inside(1))
        outer = self.out[0] * self.out[1] - inner
        copied = 4 * -(-self.run // 16)
        return inner * (runs * copied + 20) + outer * (runs * (copied + 30) + 20)

    def _copies(self, at: int, source: int) -> list[str]:
        n = self.run
        if n > UNROLLED:
            return [f"ek_n_copy(to + {at}, from + {source}, {n});"]
        if n < 4:
            return [f"to[{at + i}] = from[{source + i}];" for i in range(n)]
        width = next(w for w in (16, 8, 4) if n >= w)
        copy = f"ek_n_copy{width}({{to}}, {{source}});"
        if width == 4:
            copy = "ek_st_int8x4({to}, ek_ld_int8x4({source}));"
        # The last one overlaps the one before where the run has a rest.
        starts = [*range(0, n - width, width), n - width]
        return [copy.format(to=f"to + {at + i}", source=f"from + {source + i}") for i in starts]
