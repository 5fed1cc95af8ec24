"""A microcontroller as a debug probe sees it: a core that executes, its debug registers, flash.

Unicorn runs what is in memory, flash algorithms of pyOCD and OpenOCD among it; the flash
controllers erase pages and otherwise only clear bits, and only while they are told to. References:
Armv7-M Architecture Reference Manual C1.6 (debug registers), nRF52832 Product Specification (NVMC),
ST RM0402 section 3 (flash of the STM32F412).
"""

from __future__ import annotations

import struct
from typing import Any

import unicorn
from unicorn import arm_const

_REGISTERS = [
    *(arm_const.UC_ARM_REG_R0 + i for i in range(13)),
    arm_const.UC_ARM_REG_SP,
    arm_const.UC_ARM_REG_LR,
    arm_const.UC_ARM_REG_PC,
    arm_const.UC_ARM_REG_XPSR,
]
_XPSR, _PC, _SP = 16, 15, 13
_PPB, _PPB_SIZE = 0xE000_0000, 0x10_0000
_DHCSR, _DCRSR, _DCRDR, _DEMCR = 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC
_AIRCR, _DFSR = 0xE000ED0C, 0xE000ED30
_DEBUGEN, _HALT, _STEP = 1, 2, 4
_BKPT = 7
#: Instructions that the core gets while the probe looks once.
_SLICE = 20_000


class BusFault(Exception):
    """The debugger has accessed what is no memory."""


class Chip:
    """Memories, core and debug registers; subclasses have the flash controller.

    Attributes:
        stuck: address of a flash byte whose lowest bit always reads as one.
    """

    FLASH, SIZE = 0, 0x8_0000
    RAM, RAM_SIZE = 0x2000_0000, 0x1_0000
    #: Memory that is there besides: (start, size).
    OTHERS: tuple[tuple[int, int], ...] = ()
    CONTROLLER, CONTROLLER_SIZE = 0, 0x1000

    def __init__(self, stuck: int | None = None) -> None:
        self.stuck = stuck
        self._rewritten = False
        self.flash = bytearray(b"\x5a" * self.SIZE)
        self.erased = self.programmed = self.resets = 0
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        engine.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
        self.engine: Any = engine
        for start, size in ((self.FLASH, self.SIZE), (self.RAM, self.RAM_SIZE), *self.OTHERS):
            engine.mem_map(start, size)
        self._show(self.FLASH, self.SIZE)
        engine.mmio_map(
            self.CONTROLLER, self.CONTROLLER_SIZE,
            lambda _e, offset, _s, _u: self.controller_read(offset), None,
            lambda _e, offset, _s, value, _u: self.controller_write(offset, value), None,
        )  # fmt: skip
        engine.mmio_map(
            _PPB, _PPB_SIZE,
            lambda _e, offset, _s, _u: self.private.get(_PPB + (offset & ~3), 0), None,
            lambda _e, offset, _s, value, _u: self._private_write(_PPB + offset, value), None,
        )  # fmt: skip
        engine.hook_add(
            unicorn.UC_HOOK_MEM_WRITE, self._stored, begin=self.FLASH,
            end=self.FLASH + self.SIZE - 1,
        )  # fmt: skip
        engine.hook_add(unicorn.UC_HOOK_INTR, self._interrupt)
        self._stores: list[tuple[int, bytes]] = []
        self.registers = [0] * 128
        self.halted = False
        self.locked_up = False
        self._control = self._transfer = self._catch = 0
        self.private = _identification()
        self.reset()

    # ---- flash

    def controller_read(self, offset: int) -> int:
        raise NotImplementedError

    def controller_write(self, offset: int, value: int) -> None:
        raise NotImplementedError

    def programs(self) -> bool:
        """Whether a store to flash programs it now."""
        raise NotImplementedError

    def erase(self, address: int, size: int) -> None:
        """Erase a page of flash."""
        at = address - self.FLASH
        self.flash[at : at + size] = b"\xff" * size
        self.erased += 1
        self._show(address, size)

    def _show(self, address: int, size: int) -> None:
        """Let the core see what is in flash."""
        at = address - self.FLASH
        data = bytearray(self.flash[at : at + size])
        if self.stuck is not None and address <= self.stuck < address + size:
            data[self.stuck - address] |= 1
        self.engine.mem_write(address, bytes(data))
        self._rewritten = True

    def _stored(
        self, _engine: Any, _kind: int, address: int, size: int, value: int, _user: Any
    ) -> None:
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        if self.programs():
            self._program(address, data)
        self._stores.append((address, size))

    def _program(self, address: int, data: bytes) -> None:
        for i, byte in enumerate(data, address - self.FLASH):
            self.flash[i] &= byte
        self.programmed += len(data)

    # ---- running

    def _interrupt(self, _engine: Any, number: int, _user: Any) -> None:
        self._stopped = number
        self.engine.emu_stop()

    def advance(self, instructions: int = _SLICE) -> None:
        """Let the core execute, where it is not halted, until a breakpoint or so many."""
        if self.halted or self.locked_up:
            return
        for name, value in zip(_REGISTERS, self.registers, strict=False):
            self.engine.reg_write(name, value)
        self._stopped: int | None = None
        if self._rewritten:  # unicorn keeps the translation of what was there before
            self.engine.ctl_flush_tb()
            self._rewritten = False
        try:
            self.engine.emu_start(self.registers[_PC] | 1, 0xFFFF_FFFE, count=instructions)
        except unicorn.UcError:
            self.locked_up = True
        self.registers[: len(_REGISTERS)] = [self.engine.reg_read(r) for r in _REGISTERS]
        # Stores to flash were carried out as if it were RAM: what it really holds comes back.
        for address, size in self._stores:
            self._show(address, size)
        self._stores.clear()
        if self._stopped == _BKPT and self._control & _DEBUGEN:
            self.halted = True
            self.private[_DFSR] = 2
        elif self._stopped is not None:
            self.locked_up = True

    def reset(self) -> None:
        """Start from the vector table; halted where the debugger catches resets."""
        self.resets += 1
        self.registers = [0] * 128
        self.registers[_SP], start = struct.unpack("<II", self.engine.mem_read(self.FLASH, 8))
        self.registers[_PC] = start & ~1
        self.registers[_XPSR] = 0x0100_0000
        self.locked_up = False
        self.halted = bool(self._catch & 1 and self._control & _DEBUGEN)
        self.private[_DFSR] = 8 if self.halted else 0

    def _private_write(self, address: int, value: int) -> None:
        if address == _AIRCR:
            if value & 4 and value >> 16 == 0x05FA:
                self.reset()
        elif address in (_DFSR,):
            self.private[address] = self.private.get(address, 0) & ~value
        elif address < 0xE000ED00 or address > 0xE000ED03:
            self.private[address] = value

    # ---- the debugger's side of the bus

    def read(self, address: int, size: int = 4) -> int:
        """A load by the debugger; the core goes on meanwhile."""
        if address == _DHCSR:
            self.advance()
            return self._control & 0xF | 1 << 16 | self.halted << 17 | self.locked_up << 19
        if address == _DCRDR:
            return self._transfer
        if address == _DEMCR:
            return self._catch
        if address >= _PPB:
            return self.private.get(address, 0)
        self.advance()
        try:
            return int.from_bytes(self.engine.mem_read(address, size), "little")
        except unicorn.UcError:
            raise BusFault(f"{address:#x}") from None

    def write(self, address: int, value: int, size: int = 4) -> None:
        """A store by the debugger."""
        if address == _DHCSR:
            self._control_write(value)
        elif address == _DCRSR:
            self._register_transfer(value)
        elif address == _DCRDR:
            self._transfer = value
        elif address == _DEMCR:
            self._catch = value
        elif address >= _PPB:
            self._private_write(address, value)
        elif self.CONTROLLER <= address < self.CONTROLLER + self.CONTROLLER_SIZE:
            self.controller_write(address - self.CONTROLLER, value)
        elif self.FLASH <= address < self.FLASH + self.SIZE:
            if self.programs():
                self._program(address, value.to_bytes(size, "little"))
                self._show(address, size)
        else:
            self._rewritten = True
            try:
                self.engine.mem_write(address, value.to_bytes(size, "little"))
            except unicorn.UcError:
                raise BusFault(f"{address:#x}") from None

    def _control_write(self, value: int) -> None:
        if value >> 16 != 0xA05F:
            return
        was = self.halted
        self._control = value & 0xF
        if not value & _DEBUGEN:
            self.halted = False
        elif value & _HALT:
            self.halted, self.locked_up = True, False
        elif was:
            self.halted = False
            if value & _STEP:
                self.advance(1)
                self.halted = True
                self.private[_DFSR] = 1

    def _register_transfer(self, value: int) -> None:
        """Core registers by their numbers in DCRSR; 17 is the main stack pointer."""
        number = value & 0x7F
        number = _SP if number == 17 else number
        if value & 1 << 16:
            self.registers[number] = self._transfer
        else:
            self._transfer = self.registers[number]


def _identification() -> dict[int, int]:
    """A CoreSight ROM table with SCS, DWT and FPB, and the identification registers of each."""
    rom, found = 0xE00F_F000, {}
    parts = ((0xE000_E000, 0x00C), (0xE000_1000, 0x002), (0xE000_2000, 0x003))
    for i, (address, _) in enumerate(parts):
        found[rom + 4 * i] = (address - rom) & 0xFFFF_F000 | 3
    for base, kind, part in ((rom, 1, 0x4C4), *((a, 14, p) for a, p in parts)):
        for i, value in enumerate((part & 255, part >> 8 | 0xB0, 0x0B, 0)):
            found[base + 0xFE0 + 4 * i] = value
        found[base + 0xFD0] = 4
        for i, value in enumerate((0x0D, kind << 4, 0x05, 0xB1)):
            found[base + 0xFF0 + 4 * i] = value
    # CPUID of a Cortex-M4, its FPU, six hardware breakpoints, four watchpoints.
    return found | {
        0xE000_ED00: 0x410F_C241,
        0xE000_EF40: 0x1011_0021,
        0xE000_EF44: 0x1100_0011,
        0xE000_2000: 0x261,
        0xE000_1000: 0x4000_0000,
    }


class Nrf52(Chip):
    """An nRF52832: pages of 4 KB, NVMC.CONFIG says what stores do."""

    OTHERS = ((0x1000_0000, 0x2000), (0x4000_0000, 0x1_E000), (0x4001_F000, 0xE_1000))
    CONTROLLER = 0x4001_E000
    PAGE = 4096

    def __init__(self, stuck: int | None = None) -> None:
        self._config = 0
        super().__init__(stuck)
        write = self.engine.mem_write
        write(0x1000_0000, b"\xff" * 0x2000)  # FICR and UICR
        write(0x1000_0010, struct.pack("<II", self.PAGE, self.SIZE // self.PAGE))
        # INFO: part, variant "AAB0", package, RAM and flash in KB.
        write(0x1000_0100, struct.pack("<5I", 0x52832, 0x41414230, 0x2000, 64, 512))

    def controller_read(self, offset: int) -> int:
        return {0x400: 1, 0x408: 1, 0x504: self._config}.get(offset, 0)

    def controller_write(self, offset: int, value: int) -> None:
        if offset == 0x504:
            self._config = value & 3
        elif offset == 0x508 and self._config == 2 and value < self.SIZE:
            self.erase(value & -self.PAGE, self.PAGE)
        elif offset == 0x50C and self._config == 2:
            for page in range(0, self.SIZE, self.PAGE):
                self.erase(page, self.PAGE)

    def programs(self) -> bool:
        return self._config == 1

    def reset(self) -> None:
        self._config = 0
        super().reset()


class Stm32f4(Chip):
    """An STM32F412: 1 MB in sectors of 16, 64 and 128 KB, unlocked by two keys."""

    FLASH, SIZE = 0x0800_0000, 0x10_0000
    RAM_SIZE = 0x2_0000
    OTHERS = ((0x4000_0000, 0x2_3000), (0x4002_4000, 0xD_C000), (0x1FFF_0000, 0x1_0000))
    CONTROLLER = 0x4002_3000
    _KEY, _STATUS, _CONTROL = 0xC04, 0xC0C, 0xC10
    _PROGRAM, _SECTOR, _MASS, _START, _LOCK = 1, 2, 4, 1 << 16, 1 << 31
    _KEYS = (0x4567_0123, 0xCDEF_89AB)
    _SECTORS = (*[0x4000] * 4, 0x1_0000, *[0x2_0000] * 7)

    def __init__(self, stuck: int | None = None) -> None:
        self._flags, self._last_key = self._LOCK, 0
        super().__init__(stuck)
        self.private[0xE004_2000] = 0x3000_6441  # DBGMCU_IDCODE
        self.engine.mem_write(0x1FFF_7A22, struct.pack("<H", 1024))

    def controller_read(self, offset: int) -> int:
        return self._flags if offset == self._CONTROL else 0

    def controller_write(self, offset: int, value: int) -> None:
        if offset == self._KEY:
            if (self._last_key, value) == self._KEYS:
                self._flags &= ~self._LOCK
            self._last_key = value
        elif offset == self._CONTROL and not self._flags & self._LOCK:
            self._flags = value & ~self._START
            if value & self._START and value & self._SECTOR:
                number = value >> 3 & 0xF
                at = self.FLASH + sum(self._SECTORS[:number])
                self.erase(at, self._SECTORS[number])

    def programs(self) -> bool:
        return bool(self._flags & self._PROGRAM) and not self._flags & self._LOCK

    def reset(self) -> None:
        self._flags = self._LOCK
        super().reset()
