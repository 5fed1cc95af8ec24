"""Routines of depthwise convolutions: columns of four rows, and the sums over them.

`spread` writes a word for every pixel and channel: the channel's bytes of four rows of the input.
`sums` gathers the words that a result needs into a vector and multiplies it with the channel's
taps, packed the same way. Where the four rows hold the taps of the next row of results too, that
one's product takes the same vector and the taps moved up.
"""

from __future__ import annotations

from functools import cache

from codegen.int8 import Requant
from codegen.kernel import Cost
from codegen.mve import requant
from codegen.mve.routine import EVEN, MveRoutine
from codegen.thumb.routine import Routine

_SPREAD = ("step0", "step1", "step2", "step3", "columns", "chunks", "channels")
_SUMS = ("x_step", "y_next", "y_step", "zp", "low", "high", "pixels", "channels")


@cache
def spread(partial: bool) -> MveRoutine:
    """Columns of 16 * chunks channels from four rows.

    Args of the routine: where words go; the rows, each with what leads from behind a pixel's chunks
    to the next pixel. `partial`: the last chunk has fewer than 16 channels.
    """
    sources = [f"const int8_t *s{i}" for i in range(4)]
    r = MveRoutine("mve_spread", "int8_t *to", *sources, *(f"int32_t {name}" for name in _SPREAD))
    first = Routine.enter(r)
    # r0 to; r1 to r4 the rows; r5 to r8 their steps; r9 columns; r10, r11 chunks; r12 channels.
    r(f"ldr r4, [sp, #{first}]")
    for i, register in enumerate(("r5", "r6", "r7", "r8", "r9", "r10")):
        r(f"ldr {register}, [sp, #{first + 4 + 4 * i}]")
    with r.loop("columns", "r9"):
        r("mov r11, r10")
        if partial:
            r(f"ldr r12, [sp, #{first + 4 * len(_SPREAD)}]")
        with r.loop("chunks", "r11"):
            if partial:
                r("vctp.8 r12", "sub r12, #16", "vpstttt")
            suffix = "t" if partial else ""
            r(*(f"vldrb{suffix}.8 q{i}, [r{1 + i}], #16" for i in range(4)))
            whole = "{q0, q1, q2, q3}"
            r(*(f"vst4{i}.8 {whole}, [r0]" for i in range(3)), f"vst43.8 {whole}, [r0]!")
        r(*(f"add r{1 + i}, r{1 + i}, r{5 + i}" for i in range(4)))
    Routine.leave(r)
    return r


def spread_cost(partial: bool, columns: int, chunks: int) -> Cost:
    """One call, its arguments included."""
    return spread(partial).cost(columns=columns, chunks=chunks) + Cost(28, 28)


@cache
def sums(
    words: int, shift: int, carry: bool, form: str, clamped: bool, partial: bool
) -> MveRoutine:
    """Results of a row, or of two that share their columns, pixel by pixel.

    x: the first pixel's words; w: by channel its taps in `words` words, in as many vectors as that
    takes; q: the operands of requantization; `at`: byte offsets of the words from a pixel's first.
    `shift`: bits by which the second row's taps are moved, 0 where there is one row only; `carry`:
    from a word to the next one too.
    `partial`: the channels are no multiple of four.
    """
    r = MveRoutine(
        "mve_sums", "const int8_t *x", "const int8_t *w", "const int8_t *q", "int8_t *y",
        "const int32_t *at", *(f"int32_t {name}" for name in _SUMS),
    )  # fmt: skip
    how = Requant(form, 0, -128, 126 if clamped else 127)
    vectors = -(-words // 4)
    ends = [("zp", "r2"), ("one", "r4")] + ([("low", "r6"), ("high", "r8")] if clamped else [])
    ends += [("y_next", "r10")] if shift else []
    slots = [name for name, _ in ends] + ["w", "q"]
    first = r.enter(len(slots))
    at = {name: f"[sp, #{first + 4 + 4 * i}]" for i, name in enumerate(_SUMS)}
    for name in ("zp", "low", "high", "y_next"):
        if name in slots:
            r(f"ldr r4, {at[name]}", f"str r4, [sp, #{4 * slots.index(name)}]")
    at |= {name: f"[sp, #{4 * i}]" for i, name in enumerate(slots)}
    r("mov r4, #1", f"str r4, {at['one']}", f"str r1, {at['w']}", f"str r2, {at['q']}")
    # r1 the words, r3 the taps, r5 the operands, r7 the results, r9 zero, r11 channels.
    r("mov r7, r3", "mov r1, r0", f"ldr r0, [sp, #{first}]", "mov r9, #0")
    if vectors == 1:
        r("vldrw.32 q4, [r0]", "mov r2, #4")
        r("vadd.i32 q5, q4, r2", "vadd.i32 q6, q5, r2", "vadd.i32 q7, q6, r2")
    else:
        r(*(f"vldrw.32 q{4 + i}, [r0, #{16 * i}]" for i in range(vectors)))
    with r.until("pixels", "r0", "#0", "gt"):
        r(f"ldr r3, {at['w']}", f"ldr r5, {at['q']}", f"ldr r11, {at['channels']}")
        with r.until("quads", "r11", "#0", "gt"):
            for channel in range(4):
                _channel(r, channel, vectors, shift, carry)
            _results(r, how, shift, partial, [register for _, register in ends])
            if vectors == 1:
                r("add r1, #16")
            r("sub r11, #4")
        r(f"ldr r0, {at['x_step']}", "add r1, r1, r0")
        r(f"ldr r0, {at['y_step']}", "add r7, r7, r0")
        r(f"ldr r0, {at['pixels']}", "sub r0, #1", f"str r0, {at['pixels']}")
    r.leave(len(slots))
    return r


def _channel(r: MveRoutine, channel: int, vectors: int, shift: int, carry: bool) -> None:
    """The sums of one channel, the second row's too."""
    for i in range(vectors):
        multiply = "vmladava" if i else "vmladav"
        offsets = f"q{4 + (channel if vectors == 1 else i)}"
        r(f"vldrw.u32 q0, [r1, {offsets}]", "vldrb.8 q1, [r3], #16")
        r(f"{multiply}.s8 {EVEN[channel]}, q0, q1")
        if shift:
            # What leaves the uppermost word is zero, as r9 then stays.
            r(f"vshlc q1, r9, #{shift}" if carry else f"vshl.i32 q1, q1, #{shift}")
            r(f"{multiply}.s8 {EVEN[4 + channel]}, q0, q1")
    if vectors > 1:
        r("add r1, #4")


def _results(r: MveRoutine, how: Requant, shift: int, partial: bool, ends: list[str]) -> None:
    r("vmov q2[2], q2[0], r0, r4", "vmov q2[3], q2[1], r2, r6")
    found = ["q2"]
    if shift:
        r("vmov q3[2], q3[0], r8, r12", "vmov q3[3], q3[1], r10, lr")
        found = ["q2", "q3"]
    r(f"ldm sp, {{{', '.join(ends)}}}")
    if shift:
        r("add r0, r7, r10")
    loads = ("vldrw.32 q0, [r5], #16", "vldrw.32 q1, [r5], #16", "vldrb.s32 q0, [r5], #4")
    vectors = [(v, "q0", "q1", "q0") for v in found]
    requant.emit(r, how, vectors, "r2", "r4", {"q0": "r6", "q1": "r8"}, loads)
    suffix = "t" if partial else ""
    if partial:
        r("vctp.32 r11", "vpstt" if shift else "vpst")
    # The first row last: where the second one is none, both have the same address.
    if shift:
        r(f"vstrb{suffix}.32 q3, [r0]")
    r(f"vstrb{suffix}.32 q2, [r7], #4")
