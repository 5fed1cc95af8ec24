"""The cycle counter of the ESP32-C3, three registers of its own, on a RISC-V that has none.

Unicorn stops at them as at any illegal instruction; they are executed here and it goes on
(ESP32-C3 Technical Reference Manual, 1.4.1: mpcer selects events, bit 0 of mpcmr enables).
"""

from __future__ import annotations

from edgekit.devices.emulators.machine import Machine
from edgekit.errors import EdgekitError

MPCER, MPCMR, MPCCR = 0x7E0, 0x7E1, 0x7E2
_SYSTEM, _CYCLES, _ENABLE = 0x73, 1, 1
_NAMES = [f"x{i}" for i in range(32)]


def with_mpccr(machine: Machine) -> dict[int, int]:
    """Let `machine` have the registers; returns what was written to them."""
    honest, written = machine.run, {MPCER: 0, MPCMR: 0}

    def execute(word: int) -> None:
        csr, source, kind, target = word >> 20, word >> 15 & 31, word >> 12 & 7, word >> 7 & 31
        counts = written[MPCER] & _CYCLES and written[MPCMR] & _ENABLE
        value = machine.counts.cycles & 0xFFFF_FFFF if csr == MPCCR and counts else 0
        if kind == 1:  # csrrw
            written[csr] = machine.register(_NAMES[source])
        if target:
            machine.set_register(_NAMES[target], value)

    def run(start: int, until: int = 0xFFFF_FFFE, limit: int | None = None) -> bool:
        while True:
            try:
                return honest(start, until, limit)
            except EdgekitError:
                start = machine.register("pc")  # after the instruction
                word = int.from_bytes(machine.read(start - 4, 4), "little")
                if word & 0x7F != _SYSTEM or word >> 20 not in (MPCER, MPCMR, MPCCR):
                    raise
                execute(word)

    machine.run = run  # type: ignore[method-assign]
    return written
