"""Activations to int16 pairs: which pairs a kind of weights wants, and the routines that make them.

A word of activations a0..a3 becomes two words, by kind:

* "scaled": H and L of `codegen.thumb.scaled`;
* "plain": (a0, a2) and (a1, a3).

`tile` pixels are interleaved: a group has the first words of all pixels, then their second ones.
"""

from __future__ import annotations

from codegen.thumb.routine import Routine

#: EOR with it makes odd bytes of a word unsigned.
FLIP = "#0x80008000"


def pair_lines(kind: str, word: str, first: str) -> list[str]:
    """Instructions that make the two words of `word`: in `first`, and in `word` itself."""
    if kind == "plain":
        return [f"sxtb16 {first}, {word}", f"sxtb16 {word}, {word}, ror #8"]
    return [
        f"eor {word}, {word}, {FLIP}",
        f"uxtb16 {first}, {word}, ror #8",
        f"rev16 {word}, {word}",
        f"mvn {word}, {word}",
    ]


def pair_of(kind: str, value: int) -> tuple[int, int]:
    """The two words, unsigned, of four activations of `value`."""
    high, low = value, value
    if kind == "scaled":
        high = value + 128
        low = ~(256 * value + high)
    return (high & 0xFFFF) * 0x10001, (low & 0xFFFF) * 0x10001


def pack_tile(kind: str, tile: int) -> Routine:
    """All pixels of a tile, `stride` bytes apart, `words` words of each.

    ``(const int8_t *x, int32_t *a, int32_t stride, int32_t words)``; loop "words". `tile` is 5, 4
    or 2.
    """
    inputs = ["const int8_t *x", "int32_t *a", "int32_t stride", "int32_t words"]
    r = Routine(f"pack_tile{tile}", *inputs)
    pixels = ["r4", "r5", "r6", "r7", "r8"][:tile]
    firsts = ["r8", "r9", "r10", "r11", "r12", "lr"][tile == 5 :][:tile]
    end = {5: "r4", 4: "r12", 2: "r3"}[tile]
    r("push {r4-r11, lr}", f"add {'r12' if tile == 4 else 'r3'}, r0, r3, lsl #2")
    if tile == 5:
        r("push {r3}")
    if tile > 2:
        r("add r3, r2, r2, lsl #1")
    with r.until("words", "r0", end):
        others = ["[r0, r2]", "[r0, r2, lsl #1]", "[r0, r3]", "[r0, r2, lsl #2]"][: tile - 1]
        r(*(f"ldr {x}, {place}" for x, place in zip(pixels[1:], others, strict=True)))
        r("ldr r4, [r0], #4")
        pairs = [pair_lines(kind, x, f) for x, f in zip(pixels, firsts, strict=True)]
        for step in zip(*pairs, strict=True):
            r(*step)
        if tile == 2:
            r("strd r8, r9, [r1]", "strd r4, r5, [r1, #8]", "adds r1, #16")
        else:
            r(f"stmia r1!, {{{', '.join(firsts)}}}", f"stmia r1!, {{{', '.join(pixels)}}}")
        if tile == 5:
            r("ldr r4, [sp]")
    r(*(["add sp, #4"] if tile == 5 else []), "pop {r4-r11, pc}")
    return r


def pack_run(kind: str, tile: int, unroll: int) -> Routine:
    """One pixel's run of words into its slots of `tile` interleaved pixels.

    ``(const int8_t *x, int32_t *a, int32_t words)``, `words` a multiple of `unroll`; loop "words".
    """
    r = Routine(f"pack_run{unroll}", "const int8_t *x", "int32_t *a", "int32_t words")
    group, second = 8 * tile, 4 * tile
    words = ["r3", "r4", "r5", "r6"][:unroll]
    if unroll > 1:
        r("push {r4-r6, lr}")
    with r.loop("words", "r2", unroll):
        if unroll > 1:
            r(f"ldmia r0!, {{{', '.join(words)}}}")
        else:
            r("ldr r3, [r0], #4")
        for i, w in enumerate(words):
            r(*pair_lines(kind, w, "r12"))
            r(f"str r12, [r1, #{i * group}]", f"str {w}, [r1, #{i * group + second}]")
        r(f"add r1, r1, #{unroll * group}")
    r("pop {r4-r6, pc}" if unroll > 1 else "bx lr")
    return r
