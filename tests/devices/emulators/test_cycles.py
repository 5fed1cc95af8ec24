"""The cycle model on short pieces of assembly, by the manual's tables."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from assembled import machine_code

from edgekit.devices.emulators.bench import Bench, link_functions
from edgekit.devices.emulators.cycles import BlockCost, CycleModel, count_instructions
from edgekit.toolchain import find_compiler
from targets import board

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


#: (instructions, cycles, more where the branch is taken) by Arm's tables for each core, and for the
#: Cortex-M7 by the latencies and units of LLVM's scheduling model (docs/CYCLES.md).
OTHERS = {
    "cortex-m0": {
        "ldr r0, [r1]; ldr r2, [r1, #4]": (2, 4, 0),
        "str r0, [r1]": (1, 2, 0),
        "muls r0, r1, r0": (1, 1, 0),
        "push {r4, r5, lr}": (1, 4, 0),
        "pop {r4, r5, pc}": (1, 5, 2),  # 4 + N
        "bl .": (1, 2, 2),
        "bx lr": (1, 1, 2),
    },
    "cortex-m0plus": {
        "ldm r0!, {r1, r2, r3}": (1, 4, 0),
        "pop {r4, r5, pc}": (1, 5, 1),  # 3 + N
        "bl .": (1, 2, 1),
    },
    "cortex-m3": {
        "ldr r0, [r1]; ldr r2, [r1, #4]; ldrsb r3, [r1, #8]": (3, 4, 0),
        "mul r0, r1, r2; mla r0, r1, r2, r0; mls r0, r1, r2, r0": (3, 5, 0),
        "smull r0, r1, r2, r3; smlal r0, r1, r2, r3": (2, 9, 0),
        "udiv r0, r1, r2": (1, 6, 0),
    },
    "cortex-m7": {
        "add r0, r1, r2; add r3, r4, r5; add r6, r7, r8; add r9, r7, r8": (4, 2, 0),
        "add r0, r1, r2; add r3, r0, r5": (2, 2, 0),
        "ldr r0, [r1]; ldr r2, [r3]": (2, 1, 0),  # two load units
        "ldr r0, [r1]; add r2, r0, r3": (2, 2, 0),
        "ldrsb r0, [r1]; add r2, r0, r3": (2, 3, 0),  # extended a stage later
        "ldr r0, [r1]; ldr r2, [r0]": (2, 3, 0),  # addresses are needed a stage earlier
        "str r0, [r1]; str r2, [r3]": (2, 2, 0),  # one store unit
        "mul r0, r1, r2; mul r3, r4, r5": (2, 2, 0),  # one multiplier
        "mul r0, r1, r2; add r3, r0, r4": (2, 3, 0),
        "smlad r0, r1, r2, r0; smlad r0, r3, r4, r0; smlad r0, r5, r6, r0": (3, 3, 0),
        "ldr r5, [r6], #4; smlad r0, r1, r2, r0": (2, 1, 0),
        "sxtb16 r0, r1; sxtb16 r2, r3": (2, 2, 0),  # only first of a pair
        "ldm r0!, {r1-r4}": (1, 2, 0),
        "vfma.f32 s0, s1, s2; vfma.f32 s0, s3, s4": (2, 4, 0),
    },
    "cortex-m33": {
        "adds r0, r1, r2; adds r3, r4, r5": (2, 1, 0),  # a pair of 16-bit instructions
        "add.w r0, r1, r2; add.w r3, r4, r5": (2, 2, 0),
        "adds r0, r1, r2; adds r3, r0, r5": (2, 2, 0),
        "ldr r0, [r1]; adds r2, r3, r4": (2, 1, 0),
        "ldr r0, [r1]; adds r2, r0, r4": (2, 3, 0),  # loaded in the third stage
        "smlad r0, r1, r2, r0; smlad r0, r3, r4, r0": (2, 2, 0),
        "ldm r0!, {r1, r2, r3}": (1, 4, 0),
        "bx lr": (1, 1, 1),
    },
}
#: What public measurements say of one turn of ``subs; bne`` (sources in docs/CYCLES.md).
LOOPS = {"cortex-m0": 4, "cortex-m0plus": 3, "cortex-m3": 4, "cortex-m7": 1}


THUMB = (".syntax unified", ".thumb")


@pytest.mark.parametrize("core", list(OTHERS))
def test_costs_of_other_cores(core: str, tmp_path: Path) -> None:
    model, code = CycleModel(core), machine_code(core, list(OTHERS[core]), tmp_path, THUMB)
    found = {text: model.block(code[text]) for text in code}
    assert found == {text: BlockCost(*cost) for text, cost in OTHERS[core].items()}


@pytest.mark.parametrize("core", list(LOOPS))
def test_a_loop_that_others_have_measured(core: str, tmp_path: Path) -> None:
    text = "subs r0, #1; bne .case0"
    cost = CycleModel(core).block(machine_code(core, [text], tmp_path, THUMB)[text])
    assert cost.cycles + cost.refill == LOOPS[core]


def test_wait_states_of_flash(tmp_path: Path) -> None:
    """A line of flash is waited for once: 4 of the 8 loads' words, and where the loop leads."""
    source = tmp_path / "wait.S"
    source.write_text(
        '.syntax unified\n.thumb\n.section .text.f, "ax"\n.global f\n.thumb_func\n.p2align 5\n'
        "f: movs r2, #8\n b 1f\n.p2align 5\n nop\n nop\n nop\n"
        "1: ldr r3, [r0], #4\n nop.w\n subs r2, #1\n bne 1b\n bx lr\n"
    )
    on = board("virtual-cortex-m4")
    elf = link_functions(find_compiler("zig", on.target).objects([source]), on, ["f"])
    spent = {}
    for states, place in product((0, 3), ("flash", "ram")):
        bench = Bench(elf, on)
        bench.machine.charge_wait_states(on.flash, states, 16)
        start = on.flash.start + 0x1000 if place == "flash" else on.ram.start
        spent[states, place] = bench.call("f", [start]).cycles
    assert spent[0, "flash"] == spent[0, "ram"]
    # The first jump leaves its line; seven times the loop goes back from its second line to the
    # first. Eight words of data are two lines.
    assert spent[3, "ram"] - spent[0, "ram"] == 3 * (1 + 7)
    assert spent[3, "flash"] - spent[3, "ram"] == 3 * 2


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    head = (*THUMB, ".fpu fpv4-sp-d16")
    return machine_code("cortex-m4", list(CASES), tmp_path_factory.mktemp("asm"), head)


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
