"""The cycle model on short pieces of assembly, by the manual's tables."""

from __future__ import annotations

import pytest
from elftools.elf.elffile import ELFFile

from edgekit.devices.cycles import BlockCost, CycleModel, count_instructions
from edgekit.toolchain import find_compiler
from targets import target

CASES = {
    "add r0, r1, r2": (1, 1, 0),
    "ldr r0, [r1]": (1, 2, 0),
    "ldr r0, [r1]; ldr r2, [r1, #4]; ldrsb r3, [r1, #8]": (3, 4, 0),
    "ldr r0, [r1]; ldr r2, [r0]": (2, 4, 0),  # waits for the address
    "str r0, [r1]; str r2, [r1, #4]": (2, 2, 0),
    "ldrd r0, r1, [r2]": (1, 3, 0),
    "strd r0, r1, [r2]": (1, 3, 0),
    "ldm r0!, {r1, r2, r3}": (1, 4, 0),
    "stm r0!, {r1-r4}": (1, 5, 0),
    "push {r4, r5, lr}": (1, 4, 0),
    "pop {r4, r5, pc}": (1, 4, 2),
    "mul r0, r1, r2; smlad r0, r1, r2, r0; smlald r0, r1, r2, r3; smmulr r0, r1, r2": (4, 4, 0),
    "udiv r0, r1, r2": (1, 6, 0),
    "cmp r0, r1; bne .": (2, 2, 2),
    "bx lr": (1, 1, 2),
    "tbb [pc, r0]": (1, 1, 2),
    "ite eq; moveq r0, r1; movne r0, r2": (3, 3, 0),
    "it eq; ldreq r0, [r1]": (2, 3, 0),
    "it lt; strlt r0, [r1]": (2, 2, 0),
    "mls r0, r1, r2, r3; bls .": (2, 2, 2),
    "sbcs r0, r1, r2; movs r3, #1; bics r0, r1": (3, 3, 0),
    "vadd.f32 s0, s1, s2": (1, 1, 0),
    "vadd.f32 s0, s1, s2; vadd.f32 s3, s0, s4": (2, 3, 0),  # uses the result at once
    "vfma.f32 s0, s1, s2": (1, 3, 0),
    "vdiv.f32 s0, s1, s2": (1, 14, 0),
    "vsqrt.f32 s0, s1": (1, 14, 0),
    "vldr s0, [r0]": (1, 2, 0),
    "vldmia r0!, {s0-s3}": (1, 5, 0),
    "vpush {d8, d9}": (1, 5, 0),
    "dsb; isb": (2, 6, 0),
    "ssat r0, #8, r1; sxtb16 r2, r3; pkhbt r0, r1, r2; qadd r0, r1, r2": (4, 4, 0),
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Machine code of every case, assembled in one file, a section each."""
    lines = [".syntax unified", ".fpu fpv4-sp-d16", ".thumb"]
    for index, text in enumerate(CASES):
        lines += [f'.section .case{index}, "ax"', *text.split("; ")]
    source = tmp_path_factory.mktemp("asm") / "cases.S"
    source.write_text("\n".join(lines) + "\n")
    with find_compiler("zig", target("cortex-m4")).compile(source).open("rb") as file:
        elf = ELFFile(file)
        return {
            text: elf.get_section_by_name(f".case{index}").data()
            for index, text in enumerate(CASES)
        }


@pytest.mark.parametrize("text", list(CASES))
def test_costs(code: dict[str, bytes], text: str) -> None:
    assert CycleModel("cortex-m4").block(code[text]) == BlockCost(*CASES[text])
    assert count_instructions(code[text]) == CASES[text][0]
    flat = CycleModel("instructions").block(code[text])
    assert flat == BlockCost(CASES[text][0], CASES[text][0], 0)


def test_no_such_model() -> None:
    assert CycleModel("cortex-m4").block(b"") == BlockCost(0, 0, 0)
    with pytest.raises(ValueError, match="known: cortex-m0, "):
        CycleModel("z80")
