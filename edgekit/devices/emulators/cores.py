"""The cores that unicorn can be: how each is set up, and what its registers are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import capstone
import unicorn
from unicorn import arm_const, riscv_const

from edgekit.devices.emulators.instructions import kind_of


@dataclass(frozen=True)
class Core:
    """One core of unicorn's.

    Attributes:
        port: the folder of firmware/ports whose start-up code it runs.
        engine, disassembler: (architecture, mode) of unicorn and capstone.
        model: unicorn's number of the CPU.
        registers: prefix of the constants' names in `constants`.
        arguments: registers of the procedure call standard; the first holds the result.
        link: the register with the return address.
        thumb: whether bit 0 of a code address says "Thumb".
        word_aligned: whether every access must be aligned to its size.
        exceptions: what the numbers of UC_HOOK_INTR mean.
    """

    port: str
    engine: tuple[int, int]
    disassembler: tuple[int, int]
    model: int
    constants: Any
    registers: str
    arguments: tuple[str, ...]
    link: str
    thumb: bool
    word_aligned: bool
    exceptions: Mapping[int, str]

    def register(self, name: str) -> int:
        """Unicorn's number of a register by its name in assembly."""
        return int(getattr(self.constants, self.registers + name.upper()))


_ARM_EXCEPTIONS = {  # QEMU's EXCP_* numbers
    1: "undefined instruction",
    2: "supervisor call",
    3: "prefetch abort",
    4: "data abort (unaligned or protected memory)",
    7: "breakpoint",
    8: "exception return without an exception",
    17: "no coprocessor (the FPU is off)",
    18: "invalid state (a branch to an ARM-mode address)",
}
_RISCV_EXCEPTIONS = {  # mcause
    0: "instruction address misaligned",
    1: "instruction access fault",
    2: "illegal instruction",
    3: "breakpoint",
    4: "load address misaligned",
    5: "load access fault",
    6: "store address misaligned",
    7: "store access fault",
    11: "environment call",
}


def _cortex_m(model: int, word_aligned: bool = False) -> Core:
    return Core(
        port="cortex_m",
        engine=(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS),
        disassembler=(
            capstone.CS_ARCH_ARM,
            capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS | capstone.CS_MODE_V8,
        ),
        model=model,
        constants=arm_const,
        registers="UC_ARM_REG_",
        arguments=("r0", "r1", "r2", "r3"),
        link="lr",
        thumb=True,
        word_aligned=word_aligned,
        exceptions=_ARM_EXCEPTIONS,
    )


CORES = {
    "cortex-m0": _cortex_m(arm_const.UC_CPU_ARM_CORTEX_M0, word_aligned=True),
    "cortex-m3": _cortex_m(arm_const.UC_CPU_ARM_CORTEX_M3),
    "cortex-m4": _cortex_m(arm_const.UC_CPU_ARM_CORTEX_M4),
    "cortex-m7": _cortex_m(arm_const.UC_CPU_ARM_CORTEX_M7),
    "cortex-m33": _cortex_m(arm_const.UC_CPU_ARM_CORTEX_M33),
    "riscv32": Core(
        port="riscv",
        engine=(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32),
        disassembler=(
            capstone.CS_ARCH_RISCV,
            capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC,
        ),
        model=riscv_const.UC_CPU_RISCV32_SIFIVE_E31,
        constants=riscv_const,
        registers="UC_RISCV_REG_",
        arguments=tuple(f"a{i}" for i in range(8)),
        link="ra",
        thumb=False,
        word_aligned=True,
        exceptions=_RISCV_EXCEPTIONS,
    ),
}


def aligned_only(code: bytes, core: Core) -> str:
    """The mnemonic of the first instruction where it faults on an unaligned address, or "".

    On Armv6-M and on RISC-V cores without such support every access does. On Armv7-M LDRD, STRD,
    LDM, STM and the floating-point loads and stores always do (reference manual, A3.2.1); LDR, STR
    and their halfword forms do not.
    """
    disassembler = capstone.Cs(*core.disassembler)
    disassembler.detail = True
    for instruction in disassembler.disasm(code, 0, count=1):
        name = str(instruction.mnemonic)
        if core.word_aligned or name.startswith("v"):
            return name
        if kind_of(instruction) in ("load many", "store many"):
            return name
    return ""
