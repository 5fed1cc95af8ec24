"""Copying blocks of eight words."""

from __future__ import annotations

from functools import cache

from codegen.thumb.routine import Routine

#: Bytes of a block.
BLOCK = 32


@cache
def copy() -> Routine:
    """``(to, from, step, blocks)``: `step` is `BLOCK`, or 0 where one block is repeated."""
    r = Routine("copy", "void *to", "const void *from", "int32_t step", "int32_t blocks")
    r("push {r4-r11, lr}")
    with r.loop("blocks", "r3"):
        r("ldmia r1, {r4-r11}", "add r1, r1, r2", "stmia r0!, {r4-r11}")
    r("pop {r4-r11, pc}")
    return r
