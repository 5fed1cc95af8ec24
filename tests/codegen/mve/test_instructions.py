"""Every vector instruction of routines: its C form against QEMU's Cortex-M55."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from built import M55
from tools import need

from codegen.mve.routine import MveRoutine
from codegen.thumb.as_c import UnknownInstruction
from edgekit.devices.firmware.build import build_firmware, firmware_folder
from edgekit.devices.session import connect
from edgekit.toolchain import host_library

# Each finds three vectors in q0 to q2 and words in r4 to r6, and leaves a vector in q3 and a word
# in r7. Shifts come from q2, whose lowest bytes are -31 to 31; r3 and r8 point to 64 bytes to read
# and to write.
FORMS = [
    *(f"{m} q3, q0, q1" for m in ("vadd.i32", "vsub.i32", "vadd.i16", "vmul.i32", "vqrdmulh.s32",
      "vmulh.u32", "vmax.s32", "vmin.s32", "vmax.s16", "vmin.s16", "veor")),
    *(f"{m} q3, q0, r4" for m in ("vadd.i32", "vqrdmulh.s32")),
    *(f"{m} q3, q0" for m in ("vabs.s32", "vmovlb.s16", "vmovlt.s16", "vmovnb.i32", "vmovnt.i32",
      "vqmovnb.s32", "vqmovnb.s16")),
    *(f"vshr.s32 q3, q0, #{n}" for n in (1, 31)),
    *(f"vshl.i32 q3, q0, #{n}" for n in (8, 24)),
    *(f"vdup.{n} q3, r4" for n in (16, 32)),
    "vqdmlah.s32 q3, q0, r4", "vmlas.s32 q3, q0, r4", "vrshl.s32 q3, q0, q2",
    "sxtb r7, r6; vrshl.s32 q3, r7", "vmladav.s8 r4, q0, q1; mov r7, r4",
    "vmladava.s8 r4, q0, q1; mov r7, r4", "vshlc q3, r7, #8", "vshlc q3, r7, #24",
    "vmov q3[2], q3[0], r4, r5", "vmov q3[3], q3[1], r5, r6",
    "vmov r4, r5, q0[2], q0[0]; sub r7, r4, r5, lsl #1",
    "vmov r4, r5, q0[3], q0[1]; sub r7, r4, r5, lsl #1",
    *(f"vldr{kind} q3, [r3, #8]" for kind in ("b.8", "b.s16", "b.s32", "w.32")),
    "vldrb.8 q3, [r3], #16; vldrb.s32 q2, [r3], #5; vadd.i32 q3, q3, q2",
    "and r4, r4, #60; vdup.32 q2, r4; vldrw.u32 q3, [r3, q2]",
    *(f"vstr{kind} q0, [r8]; vldrw.32 q3, [r8]" for kind in ("b.8", "b.16", "b.32")),
    "vstrb.32 q0, [r8], #4; vstrb.32 q1, [r8], #4; vldrw.32 q3, [r8, #-8]",
    "vst40.8 {q0, q1, q2, q3}, [r8]; vst41.8 {q0, q1, q2, q3}, [r8]; "
    "vst42.8 {q0, q1, q2, q3}, [r8]; vst43.8 {q0, q1, q2, q3}, [r8]!; "
    "sub r8, r8, #64; vldrw.32 q0, [r8, #16]; vldrw.32 q3, [r8, #48]; vadd.i32 q3, q3, q0",
    *(f"and r4, r4, #31; vctp.{n} r4; vpst; vldrbt.{kind} q3, [r3]"
      for n, kind in ((8, 8), (16, "s16"), (32, "s32"))),
    *(f"and r4, r4, #31; vctp.{n} r4; vpst; vstrbt.{kind} q0, [r8]; vldrw.32 q3, [r8]"
      for n, kind in ((8, 8), (16, 16), (32, 32))),
    "ldm sp, {r4, r7}; add r7, r7, r4",
    "and lr, r4, #7; add lr, lr, #1; dls lr, lr; 90:; add r7, r7, #3; le lr, 90b",
]  # fmt: skip
ROWS = 24
ROW_WORDS, OUT_WORDS = 3 * 4 + 4 + 16, 5


def routine(form: str) -> MveRoutine:
    """Row by row: r1 the input, r2 the result, r0 the rows left, kept in the frame meanwhile."""
    r = MveRoutine("form", "int32_t rows", "const int32_t *in", "int32_t *out", "int32_t *room")
    r.enter(6)
    r("str r3, [sp, #16]", "mov r9, r1", "mov r10, r2", "str r0, [sp, #20]")
    with r.until("rows", "r11", "#0", "gt"):
        r(
            "mov r1, r9",
            "vldrw.32 q0, [r1], #16",
            "vldrw.32 q1, [r1], #16",
            "vldrw.32 q2, [r1], #16",
        )
        r(
            "ldmia r1!, {r4-r7}",
            "mov r3, r1",
            "ldr r2, [sp, #16]",
            "str r4, [sp]",
            "str r5, [sp, #4]",
        )
        r("vdup.32 q3, r7", "mov r1, r2", "vstrb.8 q3, [r1]", "vstrb.8 q3, [r1, #16]")
        # Narrow stores take r0 to r7 as their address.
        r(*(line.strip().replace("r8", "r2") for line in form.split(";")))
        r("mov r1, r10", "vstrb.8 q3, [r1]", "str r7, [r1, #16]")
        r(f"add r10, r10, #{4 * OUT_WORDS}", f"add r9, r9, #{4 * ROW_WORDS}")
        r("ldr r11, [sp, #20]", "sub r11, r11, #1", "str r11, [sp, #20]")
    r.leave(6)
    return r


APP = """
#include "ek_app.h"
#include "ek_profile.h"
static int32_t in[{in_words}] __attribute__((aligned(16)));
static int32_t out[{out_words}];
static int32_t room[16] __attribute__((aligned(16)));
int32_t ek_app_open(ek_app_info_t *info)
{{
    const ek_app_info_t mine = {{"aot", {{0}}, 1, 1, 0, 0}};
    *info = mine;
    return 0;
}}
uint8_t *ek_app_input(uint32_t index, uint32_t *bytes)
{{
    *bytes = sizeof in;
    return index == 0 ? (uint8_t *)in : 0;
}}
const uint8_t *ek_app_output(uint32_t index, uint32_t *bytes)
{{
    *bytes = sizeof out;
    return index == 0 ? (const uint8_t *)out : 0;
}}
int32_t ek_app_reset(void) {{ return 0; }}
int32_t ek_app_invoke(void)
{{
    EK_EDGE(0u);
{calls}
    return 0;
}}
"""


def source_of(routines: list[MveRoutine]) -> str:
    each = ROWS * OUT_WORDS
    calls = "\n".join(
        f"    {r.name}({ROWS}, in, out + {i * each}, room);" for i, r in enumerate(routines)
    )
    return (
        '#include "ek_mve.h"\n'
        + "\n".join({r.name: r.text() for r in routines}.values())
        + APP.format(in_words=ROWS * ROW_WORDS, out_words=len(routines) * each, calls=calls)
    )


def rows() -> np.ndarray:
    """int32 [ROWS, ROW_WORDS]: small numbers, extremes, and everything between."""
    chance = np.random.default_rng(0)
    data = chance.integers(-(2**31), 2**31, (ROWS, ROW_WORDS)).astype(np.int32)
    data[:8] >>= chance.integers(0, 31, (8, ROW_WORDS)).astype(np.int32)
    data[8:12, :12] = [[2**31 - 1] * 12, [-(2**31)] * 12, [0] * 12, [-1, 1] * 6]
    data[8:12, 12:16] = [[2**31 - 1] * 4, [-(2**31)] * 4, [0, 1, -1, 0], [1] * 4]
    data[:, 8:12] = data[:, 8:12] & ~0xFF | (chance.integers(-31, 32, (ROWS, 4)) & 0xFF)
    data[:, 14] = data[:, 14] & ~0xFF | (chance.integers(-31, 32, ROWS) & 0xFF)
    return data


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_forms(compiler: str, tmp_path: Path) -> None:
    need("qemu-system-arm", *([M55.target.gcc_command] if compiler == "gcc" else []))
    routines = [routine(form) for form in FORMS]
    source = tmp_path / "forms.c"
    source.write_text(source_of(routines))
    data = rows()
    library = ctypes.CDLL(str(host_library([source], include=[firmware_folder() / "include"])))
    size = ctypes.c_uint32()
    library.ek_app_input.restype = library.ek_app_output.restype = ctypes.c_void_p
    ctypes.memmove(library.ek_app_input(0, ctypes.byref(size)), data.tobytes(), data.nbytes)
    library.ek_app_invoke()
    at = library.ek_app_output(0, ctypes.byref(size))
    on_host = np.frombuffer(ctypes.string_at(at, size.value), np.int32)
    firmware = build_firmware([source], M55, compiler=compiler, profile=False)
    with connect(M55, elf=firmware.elf) as session:
        on_m55 = np.frombuffer(session.run([data.tobytes()])[0], np.int32)
    shape = (len(FORMS), ROWS, OUT_WORDS)
    for form, host, m55 in zip(FORMS, on_host.reshape(shape), on_m55.reshape(shape), strict=True):
        np.testing.assert_array_equal(host, m55, err_msg=form)


def test_unknown_moves() -> None:
    with pytest.raises(UnknownInstruction):
        MveRoutine("r").statement("vmov q0, q1")
