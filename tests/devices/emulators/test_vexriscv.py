"""VexRiscv's costs, against what its Verilog takes for the same pieces of assembly."""

from __future__ import annotations

from pathlib import Path

import pytest
from assembled import machine_code

from edgekit.devices.emulators.bench import Bench, link_functions
from edgekit.devices.emulators.caches import VEXRISCV
from edgekit.devices.emulators.cycles import BlockCost, CycleModel
from edgekit.toolchain import find_compiler
from targets import board

#: (instructions, cycles, more where the branch is taken, accesses): sixteen in a row in a loop of
#: 64 turns, between two reads of mcycle, in the Verilog simulation of VexRiscv_Full.
CASES = {
    "nop; add t1, t1, t3; lui t1, 5": (3, 3, 0, ()),
    "slli t1, t2, 1; slli t3, t2, 1": (2, 2, 0, ()),
    "slli t1, t2, 1; add t3, t1, t1": (2, 3, 0, ()),
    "slt t1, t1, t2; add t1, t1, t1": (2, 2, 0, ()),
    "lw t1, 0(s0); lw t2, 4(s0)": (2, 2, 0, (0, 1)),
    "lw t1, 0(s0); add t2, t1, t1": (2, 4, 0, (0,)),
    "lw t1, 0(s0); nop; add t2, t1, t1": (3, 4, 0, (0,)),
    "lw t1, 0(s0); nop; nop; add t2, t1, t1": (4, 4, 0, (0,)),
    "lb t1, 0(s0); sw t1, 4(s0)": (2, 4, 0, (0, 3)),
    "lw t6, 0(s0); lw t1, 0(t6)": (2, 4, 0, (0, 3)),
    "sw t1, 0(s0); sb t1, 4(s0); nop": (3, 3, 0, (0, 1)),
    "mul t1, t2, t3; mulh t1, t2, t3": (2, 2, 0, ()),
    "mul t1, t2, t3; mul t4, t2, t3; add t5, t1, t4": (3, 5, 0, ()),
    "div t1, t2, t3": (1, 34, 0, ()),
    "remu t1, t2, t3; add t4, t1, t1": (2, 36, 0, ()),
    "csrr t1, mcycle": (1, 3, 0, ()),
    "1: nop; bnez t1, 1b": (2, 5, -2, ()),  # predicted: taken is 3 in all
    "bnez t1, 1f; 1:": (1, 1, 3, ()),
    "j 1f; 1:": (1, 1, 1, ()),
    "ret": (1, 1, 3, ()),
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return machine_code("npu64", list(CASES), tmp_path_factory.mktemp("asm"))


@pytest.mark.parametrize("text", list(CASES))
def test_costs(code: dict[str, bytes], text: str) -> None:
    assert CycleModel("vexriscv").block(code[text]) == BlockCost(*CASES[text])


def test_fences_empty_the_caches() -> None:
    model = CycleModel("vexriscv")
    found = [model.block(w.to_bytes(4, "little")).flushes for w in (0x500F, 0x100F, 0x0FF0000F)]
    assert found == [2, 1, 0]


_LOOP = """
.globl f
.balign 32
f:
 mv t2, a1
1: {body}
 addi a0, a0, {step}
 addi t2, t2, -1
 bnez t2, 1b
 ret
"""


def _cycles(body: str, step: int, folder: Path, calls: int = 1) -> int:
    """Of the last of some calls of a loop of 64 turns with `body`, over 4 KiB of RAM."""
    on = board("virtual-npu64")
    source = folder / "loop.S"
    source.write_text(_LOOP.format(body=body, step=step))
    bench = Bench(link_functions(find_compiler("zig", on.target).objects([source]), on, ["f"]), on)
    for _ in range(calls):
        spent = bench.call("f", [on.ram.start, 64])
    return spent.cycles


def test_a_line_of_data_is_filled_once(tmp_path: Path) -> None:
    """64 reads: of one word, of 64 lines, and of the same lines again."""
    hits = _cycles("lw t1, 0(a0)", 0, tmp_path, calls=2)
    misses = _cycles("lw t1, 0(a0)", 32, tmp_path)
    again = _cycles("lw t1, 0(a0)", 32, tmp_path, calls=2)
    fill = VEXRISCV.latency + 8 + VEXRISCV.refill
    assert again == hits
    assert misses - hits == 65 * fill  # the first call fills the loop's line of code too


def test_writes_go_to_memory_one_after_the_other(tmp_path: Path) -> None:
    """A write takes the latency of the memory; a few may be on their way."""
    quick = _cycles("nop", 0, tmp_path, calls=2)
    slow = _cycles("sw t1, 0(a0)", 0, tmp_path, calls=2)
    turn = 5  # instructions of the loop and its predicted branch
    assert slow - quick == pytest.approx(64 * (VEXRISCV.latency - turn), rel=0.15)
