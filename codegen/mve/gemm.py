"""Products of int8 rows with int8 weights: two pixels by four channels, or one pixel by eight.

VMLADAVA multiplies 16 pairs of bytes and adds the products to a core register of even number, of
which there are eight, so that eight results are summed at a time. A row is read in chunks of 16
bytes; weights are packed in the order of use, rows padded with zeros to whole chunks.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from codegen.int8 import Requant
from codegen.mve import requant
from codegen.mve.routine import EVEN, MveRoutine

CHUNK = 16
#: Chunks that are unrolled at most.
UNROLL = 5
#: Arguments of a routine beyond the four in registers, in order.
_ROWS = ("x_step", "y_stride", "zp", "low", "high", "loops", "xs", "wbytes", "pairs", "channels")
_VECTOR = ("zp", "low", "high", "loops", "channels")


def chunks_of(k: int) -> int:
    """Chunks of a row of `k` bytes."""
    return -(-k // CHUNK)


def unrolled(chunks: int) -> int:
    """How many chunks a round of the loop takes: a divisor, so that there is no rest."""
    return max(u for u in range(1, UNROLL + 1) if chunks % u == 0)


def pack_weights(weights: np.ndarray, channels: int) -> np.ndarray:
    """int8 [O, K] to [O / channels][K / 16][channels][16], padded with zeros, flat."""
    o, k = weights.shape
    whole = np.zeros((-(-o // channels) * channels, chunks_of(k) * CHUNK), np.int8)
    whole[:o, :k] = weights
    tiled = whole.reshape(-1, channels, chunks_of(k), CHUNK).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiled).ravel()


@cache
def rows(unroll: int, looped: bool, form: str, clamped: bool, partial: bool) -> MveRoutine:
    """Pairs of pixels by groups of four channels.

    x: rows that lie `xs` bytes apart; y: `y_stride` bytes from pixel to pixel; `x_step` is 2 * xs
    less the bytes of a padded row, `wbytes` the bytes of a group's weights. `partial`: the last
    group may have fewer than four channels.
    """
    r = MveRoutine(
        "mve_rows", "const int8_t *x", "int8_t *y", "const int8_t *w", "const int8_t *q",
        *(f"int32_t {name}" for name in _ROWS),
    )  # fmt: skip
    how = Requant(form, 0, -128, 126 if clamped else 127)
    # What the end of a tile reads at once, in the order of its registers.
    ends = [("x_step", "r0"), ("y_stride", "r2"), ("zp", "r4"), ("w", "r5"), ("one", "r6")]
    ends += [("low", "r8"), ("high", "r10")] if clamped else []
    ends += [("loops", "r11")] if looped else []
    slots = [name for name, _ in ends] + ["x", "x1", "y", "q"]
    at = {name: f"[sp, #{4 * i}]" for i, name in enumerate(slots)}
    first = r.enter(len(slots))
    at = {name: f"[sp, #{first + 4 * i}]" for i, name in enumerate(_ROWS)} | at
    for i, name in enumerate(_ROWS):
        if name in slots:
            r(f"ldr r4, [sp, #{first + 4 * i}]", f"str r4, {at[name]}")
    r(f"str r0, {at['x']}", f"ldr r4, {at['xs']}", "add r4, r0, r4", f"str r4, {at['x1']}")
    r(f"str r1, {at['y']}", f"str r2, {at['w']}", f"str r3, {at['q']}")
    r("mov r4, #1", f"str r4, {at['one']}")
    with r.until("groups", "r0", "#0", "gt"):
        r(f"ldr r3, {at['q']}")
        r("vldrw.32 q5, [r3], #16", "vldrw.32 q6, [r3], #16", "vldrb.s32 q7, [r3], #4")
        r(f"str r3, {at['q']}")
        if partial:
            r(f"ldr r0, {at['channels']}", "vctp.32 r0")
        for register, name in (
            ("r1", "x"),
            ("r3", "x1"),
            ("r7", "y"),
            ("r9", "pairs"),
            ("r5", "w"),
        ):
            r(f"ldr {register}, {at[name]}")
        if looped:
            r(f"ldr r11, {at['loops']}")
        with r.loop("pairs", "r9"):
            _tile(r, unroll, looped)
            r("vmov q0[2], q0[0], r0, r4", "vmov q0[3], q0[1], r2, r6")
            r("vmov q1[2], q1[0], r8, r12", "vmov q1[3], q1[1], r10, lr")
            r(f"ldm sp, {{{', '.join(register for _, register in ends)}}}")
            r("add r1, r1, r0", "add r3, r3, r0", "add r0, r7, r2")
            bias = "" if looped else "q5"
            vectors = [("q0", bias, "q6", "q7"), ("q1", bias, "q6", "q7")]
            requant.emit(r, how, vectors, "r4", "r6", {"q2": "r8", "q3": "r10"})
            if partial:
                r("vpstt", "vstrbt.32 q0, [r7]", "vstrbt.32 q1, [r0]")
            else:
                r("vstrb.32 q0, [r7]", "vstrb.32 q1, [r0]")
            r("add r7, r0, r2")
        r(f"ldr r0, {at['w']}", f"ldr r1, {at['wbytes']}", "add r0, r0, r1", f"str r0, {at['w']}")
        r(f"ldr r0, {at['y']}", "add r0, #4", f"str r0, {at['y']}")
        r(f"ldr r0, {at['channels']}", "sub r0, #4", f"str r0, {at['channels']}")
    r.leave(len(slots))
    return r


def _tile(r: MveRoutine, unroll: int, looped: bool) -> None:
    """Two rows by four channels into r0, r2, r4, r6 and r8, r10, r12, lr."""
    if looped:
        # The biases of q5 start both sums.
        r("vmov r0, r4, q5[2], q5[0]", "vmov r2, r6, q5[3], q5[1]")
        r("vmov r8, r12, q5[2], q5[0]", "vmov r10, lr, q5[3], q5[1]")
        with r.loop("chunks", "r11"):
            for _ in range(unroll):
                _chunk(r, "vmladava")
        return
    for i in range(unroll):
        _chunk(r, "vmladava" if i else "vmladav")


def _chunk(r: MveRoutine, multiply: str) -> None:
    r("vldrb.8 q0, [r1], #16", "vldrb.8 q1, [r3], #16")
    for channel in range(4):
        w = f"q{2 + channel % 2}"
        r(f"vldrb.8 {w}, [r5], #16")
        r(f"{multiply}.s8 {EVEN[channel]}, q0, {w}", f"{multiply}.s8 {EVEN[4 + channel]}, q1, {w}")


@cache
def vector(unroll: int, looped: bool, form: str, clamped: bool, partial: bool) -> MveRoutine:
    """One row by groups of eight channels."""
    r = MveRoutine(
        "mve_vector", "const int8_t *x", "int8_t *y", "const int8_t *w", "const int8_t *q",
        *(f"int32_t {name}" for name in _VECTOR),
    )  # fmt: skip
    how = Requant(form, 0, -128, 126 if clamped else 127)
    first = r.enter(1)
    at = {name: f"[sp, #{first + 4 * i}]" for i, name in enumerate(_VECTOR)}
    # x in the slot, r1 reads it; r3 the operands, r5 the weights, r7 the results, r9 the channels.
    r("str r0, [sp]", "mov r5, r2", "mov r7, r1", f"ldr r9, {at['channels']}")
    with r.until("groups", "r9", "#0", "gt"):
        r("ldr r1, [sp]")
        if looped:
            r(f"ldr r11, {at['loops']}")
            r("vldrw.32 q0, [r3]", "vldrw.32 q1, [r3, #36]")
            r("vmov r0, r4, q0[2], q0[0]", "vmov r2, r6, q0[3], q0[1]")
            r("vmov r8, r12, q1[2], q1[0]", "vmov r10, lr, q1[3], q1[1]")
            with r.loop("chunks", "r11"):
                for _ in range(unroll):
                    _vector_chunk(r, "vmladava")
        else:
            for i in range(unroll):
                _vector_chunk(r, "vmladava" if i else "vmladav")
        r("vmov q0[2], q0[0], r0, r4", "vmov q0[3], q0[1], r2, r6")
        r("vmov q1[2], q1[0], r8, r12", "vmov q1[3], q1[1], r10, lr")
        if not looped:
            r("vldrw.32 q6, [r3]", "vldrw.32 q7, [r3, #36]")
        r("vldrw.32 q2, [r3, #16]", "vldrw.32 q3, [r3, #52]")
        r("vldrb.s32 q4, [r3, #32]", "vldrb.s32 q5, [r3, #68]", "add r3, #72")
        r(f"ldr r4, {at['zp']}", "mov r6, #1")
        if clamped:
            r(f"ldr r8, {at['low']}", f"ldr r10, {at['high']}")
        bias = ("", "") if looped else ("q6", "q7")
        requant.emit(
            r,
            how,
            [("q0", bias[0], "q2", "q4"), ("q1", bias[1], "q3", "q5")],
            "r4",
            "r6",
            {"q6": "r8", "q7": "r10"},
        )
        if partial:
            r("vctp.32 r9", "vpst", "vstrbt.32 q0, [r7]", "sub r0, r9, #4", "usat r0, #8, r0")
            r("vctp.32 r0", "vpst", "vstrbt.32 q1, [r7, #4]", "add r7, #8")
        else:
            r("vstrb.32 q0, [r7]", "vstrb.32 q1, [r7, #4]", "add r7, #8")
        r("sub r9, #8")
    r.leave(1)
    return r


def _vector_chunk(r: MveRoutine, multiply: str) -> None:
    r("vldrb.8 q0, [r1], #16")
    for channel in range(8):
        w = f"q{1 + channel % 2}"
        r(f"vldrb.8 {w}, [r5], #16", f"{multiply}.s8 {EVEN[channel]}, q0, {w}")
