"""Every instruction of templates: its C form against the assembled one on the virtual M4."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest
from built import M4

from codegen.kernel import Cost
from codegen.thumb.as_c import FUNCTIONS, UnknownInstruction, operands, register_list, statement
from codegen.thumb.routine import Routine
from edgekit.devices.emulators.bench import Bench, Out, link_functions
from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import find_compiler, host_library

# Each maps r4, r5, r6 to r7.
FORMS = [
    *(f"{m} r7, r4, r5, r6" for m in FUNCTIONS if "{2}" in FUNCTIONS[m]),
    *(f"{m} r7, r4, r5" for m in FUNCTIONS
      if "{1}" in FUNCTIONS[m] and "{2}" not in FUNCTIONS[m]
      and m not in ("lsl", "lsr", "asr", "ror", "sdiv")),
    *(f"{m} r7, r4" for m in FUNCTIONS if "{1}" not in FUNCTIONS[m]),
    *(f"{m} r7, r4, #{n}" for m in ("lsl", "lsr", "asr", "ror") for n in (1, 7, 31)),
    *(f"sxtb16 r7, r4, ror #{n}" for n in (8, 16, 24)),
    *(f"sxtab16 r7, r4, r5, ror #{n}" for n in (8, 16)),
    *(f"{m} r7, #{n}, r4, {s}" for m in ("ssat", "usat") for n in (8, 16)
      for s in ("asr #3", "lsl #2", "asr #31")),
    *(f"{m} r7, #{n}, r4" for m in ("ssat16", "usat16") for n in (5, 8)),
    *(f"{m} r7, r4, r5, {s}" for m in ("add", "sub", "rsb", "and", "orr", "eor", "bic")
      for s in ("lsl #3", "asr #7", "lsr #16", "ror #8")),
    "pkhbt r7, r4, r5, lsl #16", "pkhbt r7, r4, r5", "pkhtb r7, r4, r5, asr #16",
    "pkhtb r7, r4, r5, asr #8", "mvn r7, r4, asr #2", "mov r7, r4", "add r7, r4, #4000",
    "sub r7, r4, #255", "rsb r7, r4, #0", "and r7, r4, #0xff00ff00", "lsl r7, r4, #0",
]  # fmt: skip


def loop(lines: list[str]) -> Routine:
    """r0 reads three words a round, r1 takes r7, r2 counts."""
    routine = Routine("form", "const int32_t *in", "int32_t *out", "int32_t count")
    routine("push {r4-r8, lr}")
    with routine.loop("n", "r2"):
        routine("ldmia r0!, {r4-r6}", *lines, "str r7, [r1], #4")
    routine("pop {r4-r8, pc}")
    return routine


SEQUENCES = {
    "memory": ["push {r4-r6}", "sub sp, #8", "strd r4, r5, [sp]", "ldr r7, [sp, #4]", "add sp, #8",
               "ldr r8, [sp, #8]", "pop {r4-r6}", "eor r7, r7, r8"],
    "bytes": ["ldrb r7, [r0, #-1]", "ldrsb r8, [r0, #-2]", "add r7, r7, r8, lsl #8",
              "ldrsh r8, [r0, #-6]", "eor r7, r7, r8", "ldrh r8, [r0, #-8]!", "add r7, r7, r8",
              "adds r0, #8", "ldr r8, [r0, #-7]", "eor r7, r7, r8"],
    "index": ["and r8, r4, #3", "sub r0, #12", "ldrb r7, [r0, r8]", "and r8, r5, #1",
              "ldr r8, [r0, r8, lsl #2]", "eor r7, r7, r8", "add r0, #12"],
    "store": ["strb r4, [r1]", "strb r5, [r1, #1]", "strh r6, [r1, #2]", "ldr r7, [r1]"],
    "frame": ["push {r4-r6}", "ldm sp, {r7, r8}", "pop {r4-r6}", "sub r7, r7, r8, lsl #1",
              "eor r7, r7, r4"],
    "branch": ["mov r7, r4", "cmp r4, r5", "bgt 90f", "mov r7, r5", "90:", "tst r6, #1", "bne 91f",
               "mvn r7, r7", "91:", "cmp r6, #77", "ble 92f", "adds r7, #1", "92:"],
    "table": ["and r8, r4, #3", "mov r7, r5",
              "tbh [pc, r8, lsl #1]; 94: .short (95f - 94b) / 2, (96f - 94b) / 2, (97f - 94b) / 2, "
              "(98f - 94b) / 2",
              "95:", "adds r7, #1", "96:", "adds r7, #2", "97:", "adds r7, #4", "98:",
              "adds r7, #8"],
    "shift": ["and r8, r5, #31", "lsl r7, r4, r8", "asr r8, r4, r8", "eor r7, r7, r8"],
    "long": ["smull r7, r8, r4, r5", "smlal r7, r8, r5, r6", "eor r7, r7, r8",
             "umull r5, r8, r4, r6", "eor r7, r7, r8"],
    "saturate": ["asrs r7, r4, #4", "cmp r7, #0", "bge 93f",
                 "rsb r7, r7, #0", "93:", "lsrs r7, r7, #1"],
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Routine], Path]:
    folder = tmp_path_factory.mktemp("forms")
    routines = {form: loop([form]) for form in FORMS}
    routines |= {name: loop(lines) for name, lines in SEQUENCES.items()}
    text = '#include "ek_thumb.h"\n' + "\n".join(
        {r.name: r.text() for r in routines.values()}.values()
    )
    for i, routine in enumerate(routines.values()):
        text += (
            f"void run{i}(const int32_t *in, int32_t *out, int32_t count);\n"
            f"void run{i}(const int32_t *in, int32_t *out, int32_t count)\n"
            f"{{\n    {routine.name}(in, out, count);\n}}\n"
        )
    source = folder / "forms.c"
    source.write_text(text)
    return routines, source


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_forms(built: tuple[dict[str, Routine], Path], compiler: str) -> None:
    if compiler == "gcc" and not shutil.which(M4.target.gcc_command):
        pytest.skip("arm-none-eabi-gcc is not installed")
    routines, source = built
    include = [firmware_folder() / "include"]
    library = ctypes.CDLL(str(host_library([source], include=include)))
    cc = find_compiler(compiler, M4.target)
    names = [f"run{i}" for i in range(len(routines))]
    bench = Bench(link_functions(cc.objects([source], include=include), M4, names, compiler), M4)
    chance = np.random.default_rng(0)
    count = 64
    data = chance.integers(-(2**31), 2**31, (count, 3)).astype(np.int32)
    data[:16] >>= chance.integers(0, 31, (16, 3)).astype(np.int32)
    data[16:20] = [[2**31 - 1] * 3, [-(2**31)] * 3, [0] * 3, [-1, 1, -1]]
    for name, form in zip(names, routines, strict=True):
        on_host = np.zeros(count, np.int32)
        getattr(library, name)(
            ctypes.c_void_p(data.ctypes.data), ctypes.c_void_p(on_host.ctypes.data), count
        )
        done = bench.call(name, [data.tobytes(), Out(4 * count), count])
        on_m4 = np.frombuffer(done.outputs[0], np.int32)
        np.testing.assert_array_equal(on_host, on_m4, err_msg=form)


def test_cost_is_what_runs(built: tuple[dict[str, Routine], Path]) -> None:
    routines, source = built
    cc = find_compiler("zig", M4.target)
    include = [firmware_folder() / "include"]
    bench = Bench(link_functions(cc.objects([source], include=include), M4, ["run0"], "zig"), M4)
    counts = [bench.call("run0", [bytes(12 * n), Out(4 * n), n]).instructions for n in (1, 2, 11)]
    cost = [routines[FORMS[0]].cost(n=n) for n in (1, 2, 11)]
    assert np.diff(counts).tolist() == np.diff([c.instructions for c in cost]).tolist()
    assert 2 * Cost(3, 4) + Cost(1, 1) == Cost(7, 9)


def test_operands() -> None:
    assert operands("r0!, {r4-r7, lr}") == ["r0!", "{r4-r7, lr}"]
    assert operands("r0, [r1, r2, lsl #2]") == ["r0", "[r1, r2, lsl #2]"]
    assert register_list("{r0, r4-r6, lr}") == ["r0", "r4", "r5", "r6", "lr"]
    with pytest.raises(UnknownInstruction):
        statement("wfi")
    with pytest.raises(UnknownInstruction):
        statement("ldr r0, [sp], #4")
