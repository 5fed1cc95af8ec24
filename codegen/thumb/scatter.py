"""Words of four channels to their place in an image."""

from __future__ import annotations

from functools import cache

from codegen.kernel import Cost
from codegen.thumb.routine import Routine


@cache
def scatter() -> Routine:
    """``(from, to, step, words)``: word i goes to byte i * step."""
    r = Routine("scatter", "const int32_t *from", "int8_t *to", "int32_t step", "int32_t words")
    r("push {r4-r7, lr}", "subs r3, r3, #4")
    with r.when("some", "hs"), r.until("fours", "r3", "#0", "ge"):
        r("ldmia r0!, {r4-r7}", "str r4, [r1]", "str r5, [r1, r2]")
        r("add r1, r1, r2, lsl #1", "str r6, [r1]", "str r7, [r1, r2]")
        r("add r1, r1, r2, lsl #1", "sub r3, r3, #4")
    r("adds r3, r3, #4")
    with r.when("rest", "ne"), r.loop("ones", "r3"):
        r("ldr r4, [r0], #4", "str r4, [r1]", "add r1, r1, r2")
    r("pop {r4-r7, pc}")
    return r


def cost(words: int) -> Cost:
    """Of one call."""
    return scatter().cost(
        some=int(words >= 4), fours=words // 4, rest=int(words % 4 > 0), ones=words % 4
    )
