"""A real board's memories, UART and clock registers around unicorn's core, for its real firmware.

Registers keep what is written to them. What hardware does by itself, such as an oscillator that
reports to be ready, is in `HARDWARE`, from the chips' reference manuals.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

from edgekit.devices.emulators.machine import Machine
from edgekit.devices.firmware.image import load_elf
from targets import Board, Region, Step

from .esp32_csrs import with_mpccr
from .uart_doubles import DOUBLES, UartDouble

_PRIVATE = range(0xE000_0000, 0xE010_0000)
_CYCCNT = 0xE000_1004
_PAGE = 0x1000
Derived = Callable[["Registers", int], int]


class Registers:
    """32-bit registers by address; `derived` have bits that follow from others."""

    def __init__(self, chip: str) -> None:
        self.values: dict[int, int] = {}
        self.written: list[tuple[int, int]] = []
        self.derived: dict[int, Derived] = {}
        for prefix, derived, reset in HARDWARE:
            if chip.upper().startswith(prefix):
                self.derived |= derived
                self.values |= reset

    def read(self, address: int) -> int:
        value = self.values.get(address, 0)
        return self.derived[address](self, value) if address in self.derived else value

    def write(self, address: int, value: int) -> None:
        self.values[address] = value
        self.written.append((address, value))


def take(registers: Registers, steps: Sequence[Step]) -> list[Step]:
    """Take steps as firmware/ports/ek_board.c does; returns those that waited in vain."""
    vain = []
    for step in steps:
        value = registers.read(step.address)
        if step.op == "wait":
            vain += [step] if value & step.mask != step.value else []
        else:
            bits = 0 if step.op == "clear" else step.value
            registers.write(step.address, value & ~step.mask | bits)
    return vain


def ready(**pairs: int) -> Derived:
    """Bit ``r`` follows bit ``b`` for each ``b_N=r``: oscillators and PLLs that have started."""

    def derive(_registers: Registers, value: int) -> int:
        for name, bit in pairs.items():
            on = value >> int(name[1:]) & 1
            value = value & ~(1 << bit) | on << bit
        return value

    return derive


def switch(width: int, to: int) -> Derived:
    """The clock that is used is the one that was asked for in the lowest bits."""
    mask = (1 << width) - 1
    return lambda _registers, value: value & ~(mask << to) | (value & mask) << to


def follows(source: int, pairs: dict[int, int]) -> Derived:
    """Bits that follow bits of another register."""

    def derive(registers: Registers, value: int) -> int:
        for bit, at in pairs.items():
            value |= (registers.values.get(source, 0) >> bit & 1) << at
        return value

    return derive


def starts(control: int, mask: int, value: int, bit: int) -> Derived:
    """`bit` is set while the bits of `mask` in another register are `value`."""
    return lambda registers, v: v | (registers.read(control) & mask == value) << bit


def one_hot(control: int, mask: int) -> Derived:
    """RP2040 2.15.3.2: the source that is selected, one bit each."""
    return lambda registers, _v: 1 << (registers.read(control) & mask)


def locks(base: int) -> Derived:
    """RP2040 2.18.4: LOCK comes with power for PLL and VCO and a feedback divider in its range."""

    def derive(registers: Registers, value: int) -> int:
        powered = registers.read(base + 4) & 0x21 == 0
        return value | (powered and 16 <= registers.read(base + 8) <= 320) << 31

    return derive


# (chip's name begins with, derived bits, reset values that matter)
HARDWARE: list[tuple[str, dict[int, Derived], dict[int, int]]] = [
    *(
        (
            family,
            {0x4002_3800: ready(b0=1, b16=17, b24=25), 0x4002_3808: switch(2, 2)},
            {0x4002_3800: 0x83, 0x4002_3804: 0x2400_3010},
        )
        for family in ("STM32F2", "STM32F4", "STM32F7")
    ),
    ("STM32F7", {0x4000_7004: follows(0x4000_7000, {16: 16, 17: 17})}, {}),
    (
        "STM32F1",
        {0x4002_1000: ready(b0=1, b16=17, b24=25), 0x4002_1004: switch(2, 2)},
        {0x4002_1000: 0x83},
    ),
    (
        "STM32L4",
        {0x4002_1000: ready(b0=1, b8=10, b24=25), 0x4002_1008: switch(2, 2)},
        {0x4002_1000: 0x63, 0x4002_2000: 0x600},
    ),
    (
        "STM32G0",
        {0x4002_1000: ready(b8=10, b24=25), 0x4002_1008: switch(3, 3)},
        {0x4002_1000: 0x500, 0x4002_2000: 0x600},
    ),
    (
        "STM32H7",
        {
            0x5802_4400: ready(b0=2, b24=25),
            0x5802_4410: switch(3, 3),
            0x5802_4804: follows(0x5802_480C, {1: 13}),
            0x5802_4818: ready(b15=13),
        },
        {0x5200_2000: 0x37, 0x5802_4400: 0x25, 0x5802_4818: 0x4000, 0x5802_480C: 6},
    ),
    *(
        (
            chip,
            {
                xosc + 4: starts(xosc, 0xFFF000, 0xFAB000, 31),
                clocks + 0x38: one_hot(clocks + 0x30, 3),
                clocks + 0x44: one_hot(clocks + 0x3C, 1),
                resets + 8: lambda registers, _v, at=resets: ~registers.read(at) & 0xFFFF_FFFF,
                **{at: locks(at) for at in plls},
            },
            {resets: 0x1FFF_FFFF, **{at + 4: 0x2D for at in plls}},
        )
        for chip, xosc, clocks, resets, plls in (
            ("RP2040", 0x4002_4000, 0x4000_8000, 0x4000_C000, (0x4002_8000, 0x4002_C000)),
            ("RP2350", 0x4004_8000, 0x4001_0000, 0x4002_0000, (0x4005_0000,)),
        )
    ),
    ("NRF52", {0x4000_0100: follows(0x4000_0000, {0: 0})}, {}),
    ("NRF53", {0x5000_5100: follows(0x5000_5000, {0: 0})}, {}),
    (
        "MIMXRT",
        {
            0x400D_8000: lambda _r, v: v | (v >> 12 & 3 == 2) << 31,
            0x4008_0000: lambda _r, v: v | 1 << 31,
        },
        {0x400D_8000: 0x11042},
    ),
    ("AMAP42", {0x4002_1008: lambda registers, _v: registers.read(0x4002_1004)}, {}),
    (
        "STM32U5",
        {
            0x4602_0C00: ready(b0=2, b8=10, b24=25),
            0x4602_0C1C: switch(2, 2),
            0x4602_080C: ready(b17=15, b18=14),
        },
        {0x4602_0C00: 0x35},
    ),
]


class ChipDouble:
    """A board with `elf` in its flash, reset and ready to `run`.

    `peripherals` are further pages of registers that keep what is written to them.
    """

    def __init__(self, board: Board, elf: Path, peripherals: Sequence[int] = ()) -> None:
        self.board, self.image = board, load_elf(elf)
        self.image.check_fits(board)
        aliases = [
            Region(f"{r.name}_DATA", "flash", r.data_start, r.size)
            for r in board.regions
            if r.data_start >= 0
        ]
        self.machine = Machine(board.target, [*board.regions, *aliases], self.image.functions)
        if "mpccr" in board.counters:
            with_mpccr(self.machine)
        self.registers = Registers(board.chip)
        self.uart: UartDouble = DOUBLES[board.uart.kind](
            board.uart.clock_hz or board.clock_hz, self._idle
        )
        for name, value in (
            ("load", self.machine.read),
            ("store", self.machine.write),
            ("in_ram", lambda a: any(r.holds(a) for r in board.regions if r.kind == "ram")),
        ):
            setattr(self.uart, name, value)
        self._ticks, self._waits = 0, False
        used = [s.address for s in (*board.setup, *board.cold)]
        pages = {a & -_PAGE for a in (*used, board.uart.base, *peripherals)}
        if self.machine.core.port == "cortex_m":
            self._map(_PRIVATE.start, len(_PRIVATE))
        for page in sorted(p for p in pages if p not in _PRIVATE):
            self._map(page, _PAGE)
        for region in board.regions:
            if region.kind == "ram":  # memory does not power up as zeros
                self.machine.write(region.start, b"\xaa" * region.size)
        for address, data in self.image.segments:
            self.machine.write(address, data)
            for region in board.regions:
                if region.data_start >= 0 and region.holds(address):
                    self.machine.write(address - region.start + region.data_start, data)

    def start(self, vectors: int | None = None) -> None:
        """Take stack pointer and start from a vector table; RISC-V starts at the address."""
        at = self.board.flash.start if vectors is None else vectors
        self.pc = at
        if self.machine.core.port == "cortex_m":
            self.machine.set_register("sp", int.from_bytes(self.machine.read(at, 4), "little"))
            self.pc = int.from_bytes(self.machine.read(at + 4, 4), "little")
            assert self.pc & 1 and self.board.flash.holds(self.pc & ~1)

    def _idle(self) -> None:
        self._waits = True
        ctypes.c_uint32.from_address(self.machine.stop_request).value = 1

    def _map(self, base: int, size: int) -> None:
        uart = range(self.board.uart.base, self.board.uart.base + _PAGE)

        def read(_engine: object, offset: int, _size: int, _user: object) -> int:
            address = base + offset
            if address == _CYCCNT:
                self._ticks += 1
                return self._ticks
            if address in uart:
                return self.uart.read(address - uart.start)
            return self.registers.read(address)

        def write(_engine: object, offset: int, _size: int, value: int, _user: object) -> None:
            address = base + offset
            if address in uart:
                self.uart.write(address - uart.start, value)
            else:
                self.registers.write(address, value)

        guarded = self.machine.guarded
        self.machine.engine.mmio_map(base, size, guarded(read), None, guarded(write), None)

    def run(self, limit: int = 5_000_000) -> bool:
        """Run until the program waits for its UART; False where `limit` instructions passed."""
        self._waits = False
        self.uart.polls = 0
        while not self._waits and limit > 0:
            before = self.machine.counts.instructions
            self.machine.run(self.pc, limit=min(limit, 100_000))
            self.pc = self.machine.register("pc")
            limit -= self.machine.counts.instructions - before
        return self._waits
