"""Virtual boards with registers of their own: counters that fail, caches that can be looked at."""

from __future__ import annotations

from typing import Any

from edgekit.devices.emulators.virtual import VirtualBoard
from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.routes.virtual import VirtualLink
from edgekit.devices.session import Session
from targets import Board

PRIVATE_BUS = 0xE000_0000
CYCCNT = 0xE000_1004
SYST_CSR, SYST_RVR, SYST_CVR = 0xE000_E010, 0xE000_E014, 0xE000_E018
CCR, CLIDR, CCSIDR = 0xE000_ED14, 0xE000_ED78, 0xE000_ED80
ICIALLU, DCCISW = 0xE000_EF50, 0xE000_EF74


class OddBoard(VirtualBoard):
    """A Cortex-M whose private bus is first asked for what `reads` and `writes` know."""

    def read_register(self, address: int) -> int | None:
        """None: as on the ordinary board."""
        return None

    def write_register(self, address: int, value: int) -> bool:
        """False: as on the ordinary board."""
        return False

    def _read_private(self, engine: Any, offset: int, size: int, user: Any) -> int:
        found = self.read_register(PRIVATE_BUS + offset)
        return super()._read_private(engine, offset, size, user) if found is None else found

    def _write_private(self, engine: Any, offset: int, size: int, value: int, user: Any) -> None:
        if not self.write_register(PRIVATE_BUS + offset, value):
            super()._write_private(engine, offset, size, value, user)

    def session(self) -> Session:
        return Session(self.board, OddLink(self))


class OddLink(VirtualLink):
    """The link to a board that is there already."""

    def __init__(self, machine: VirtualBoard) -> None:
        self.machine, self._send = machine, machine.send


class DeadDwt(OddBoard):
    """CYCCNT reads well and stands still."""

    def read_register(self, address: int) -> int | None:
        return 5 if address == CYCCNT else None


class BackwardDwt(OddBoard):
    def read_register(self, address: int) -> int | None:
        return -self.machine.cycles_now() & 0xFFFF_FFFF if address == CYCCNT else None


class NarrowDwt(OddBoard):
    """CYCCNT has 16 bits, and keeps 16 of what is written."""

    keeps = True

    def __init__(self, board: Board, image: FlashImage) -> None:
        self.start = 0
        super().__init__(board, image)

    def read_register(self, address: int) -> int | None:
        if address != CYCCNT:
            return None
        return (self.machine.cycles_now() - self.start) & 0xFFFF

    def write_register(self, address: int, value: int) -> bool:
        if address == CYCCNT and self.keeps:
            self.start = self.machine.cycles_now() - value
        return address == CYCCNT


class SecretlyNarrowDwt(NarrowDwt):
    """CYCCNT has 16 bits and cannot be written: nothing tells before it wraps."""

    keeps = False


class LonelySysTick(OddBoard):
    """SysTick counts, sets COUNTFLAG, and its interrupts never arrive."""

    def __init__(self, board: Board, image: FlashImage) -> None:
        self.reload, self.start, self.seen = 0, 0, 0
        super().__init__(board, image)

    def read_register(self, address: int) -> int | None:
        period = self.reload + 1
        ticks = self.machine.cycles_now() - self.start
        if address == SYST_CVR:
            return -ticks % period
        if address == SYST_CSR:
            wrapped, self.seen = ticks // period > self.seen, ticks // period
            return 7 | wrapped << 16
        return None

    def write_register(self, address: int, value: int) -> bool:
        if address == SYST_RVR:
            self.reload = value
        if address == SYST_CVR:
            self.start, self.seen = self.machine.cycles_now(), 0
        return SYST_CSR <= address <= SYST_CVR


class Caches(OddBoard):
    """Caches of level 1: of each kind as CLIDR says, 4 ways of 64 sets of 32 bytes."""

    level, enabled = 3, 3 << 16
    ways, sets = 4, 64

    def __init__(self, board: Board, image: FlashImage) -> None:
        self.lines: list[int] = []
        self.code = 0
        super().__init__(board, image)

    def read_register(self, address: int) -> int | None:
        size = (self.sets - 1) << 13 | (self.ways - 1) << 3 | 1
        return {CLIDR: self.level, CCR: self.enabled, CCSIDR: size}.get(address)

    def write_register(self, address: int, value: int) -> bool:
        if address == DCCISW:
            self.lines.append(value)
        self.code += address == ICIALLU
        return address in (DCCISW, ICIALLU)
