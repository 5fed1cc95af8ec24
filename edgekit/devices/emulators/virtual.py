"""The virtual board: pip packages only, exact instructions, estimated cycles.

A `Machine` with the board's flash and RAM, a CMSDK UART, the accelerator where the board has one,
and the counters that profiling firmware uses: DWT's cycle counter and the CMSDK timer count the
estimated cycles. There are no interrupts and no SysTick. Writes to flash fault, as does everything
that is not mapped.
"""

from __future__ import annotations

import ctypes
import struct
import time
from pathlib import Path
from typing import Any

from edgekit.devices.emulators.accelerator import AcceleratorModel
from edgekit.devices.emulators.machine import Counts, Machine, map_native_mmio, native
from edgekit.devices.emulators.semihosting import Console
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.errors import EdgekitError
from targets import Board

_ERASED, _POWER_UP = b"\xff", b"\xaa"
_BLANK, _PAGE = 0xFFFF_FFFF, 0x1000
_BUFFER = 1 << 16
_SLICE = 2_000_000
_PRIVATE_BUS, _PRIVATE_SIZE = 0xE000_0000, 0x10_0000
_DEMCR, _DWT_CTRL, _CYCCNT = 0xE000_EDFC, 0xE000_1000, 0xE000_1004
_TRCENA, _CYCCNTENA, _NOCYCCNT = 1 << 24, 1, 1 << 25
_CPACR = 0xE000_ED88
_TIMER_CTRL, _TIMER_VALUE = 0, 4


class _Uart(ctypes.Structure):
    """Mirrors uart_t of native/virtual.c."""

    _fields_ = [
        ("received", ctypes.POINTER(ctypes.c_uint8)),
        ("sent", ctypes.POINTER(ctypes.c_uint8)),
        ("size", ctypes.c_uint32),
        ("received_head", ctypes.c_uint32),
        ("received_tail", ctypes.c_uint32),
        ("sent_count", ctypes.c_uint32),
        ("empty_polls", ctypes.c_uint32),
        ("idle", ctypes.c_uint32),
        ("request", ctypes.c_void_p),
    ]


class VirtualBoard:
    """A board of route "virtual" with an image in its flash, reset and ready to run.

    Args:
        board: the board; its UART must be of kind "cmsdk".
        image: what its flash holds: an ELF file or a `FlashImage`.
    """

    def __init__(self, board: Board, image: Path | FlashImage) -> None:
        self.board = board
        self.image = load_elf(image) if isinstance(image, Path) else image
        self.image.check_fits(board)
        self.machine = Machine(board.target, board.regions, self.image.functions)
        self.machine.charge_wait_states(
            board.flash, board.flash_wait_states, board.flash_line_bytes
        )
        self._map_uart()
        self._registers: dict[int, int] = {}
        self._cycle_base = 0
        #: What the program reads and writes by semihosting.
        self.console = Console()
        self.machine.on_breakpoint = self.console.on(self.machine)
        if self.machine.core.port == "cortex_m":
            self._map(_PRIVATE_BUS, _PRIVATE_SIZE, self._read_private, self._write_private)
        if board.timer is not None:
            self._map(board.timer.base, _PAGE, self._read_timer, self._write_timer)
        self.accelerator: AcceleratorModel | None = None
        if board.accelerator_base >= 0:
            self._add_accelerator(board)
        for region in board.regions:  # neither memory powers up as zeros
            fill = _ERASED if region.kind == "flash" else _POWER_UP
            self.machine.write(region.start, fill * region.size)
        for address, data in self.image.segments:
            self.machine.write(address, data)
            if "mcycle" in board.counters and board.flash.holds(address):
                self.machine.count_mcycle(address, data)
        self.reset()

    def _map(self, base: int, size: int, read: Any, write: Any) -> None:
        guarded = self.machine.guarded
        self.machine.engine.mmio_map(base, size, guarded(read), None, guarded(write), None)

    def _add_accelerator(self, board: Board) -> None:
        assert board.target.accelerator is not None
        found = AcceleratorModel(
            board.target.accelerator,
            self.machine,
            instant=not board.target.estimates_cycles,
        )

        def read(_engine: Any, offset: int, _size: int, _user: Any) -> int:
            return found.read(offset)

        def write(_engine: Any, offset: int, _size: int, value: int, _user: Any) -> None:
            found.write(offset, value)

        self._map(board.accelerator_base, _PAGE, read, write)
        self.accelerator = found

    def _map_uart(self) -> None:
        if self.board.uart.kind != "cmsdk":
            raise ValueError(f"the virtual board has no '{self.board.uart.kind}' UART")
        self._received = (ctypes.c_uint8 * _BUFFER)()
        self._sent = (ctypes.c_uint8 * _BUFFER)()
        byte_pointer = ctypes.POINTER(ctypes.c_uint8)
        self._uart = _Uart(
            received=ctypes.cast(self._received, byte_pointer),
            sent=ctypes.cast(self._sent, byte_pointer),
            size=_BUFFER,
            request=self.machine.stop_request,
        )
        library = native()
        map_native_mmio(
            self.machine,
            self.board.uart.base,
            library.ek_virtual_uart_read,
            library.ek_virtual_uart_write,
            self._uart,
        )

    def reset(self) -> None:
        """Start over: where the vector table says, or, without one, at the start of flash."""
        start = self.board.flash.start
        first, second = struct.unpack("<II", self.machine.read(start, 8))
        self._pc = start
        sound = first != _BLANK
        if self.machine.core.port == "cortex_m":
            self.machine.set_register("sp", first)
            self._pc = second
            sound = bool(second & 1) and self.board.flash.holds(second & ~1)
        if not sound:
            raise EdgekitError(
                "E606",
                f"the flash of '{self.board.name}' has no program: it begins with "
                f"{first:#010x} {second:#010x}",
                help="flash one first: edgekit flash",
            )
        self._registers = {_DWT_CTRL: 0, _DEMCR: 0, _CPACR: 0}
        self._timer_runs, self._timer_base = False, 0
        if self.accelerator is not None:
            self.accelerator.reset()
        if self.machine.cfu is not None:
            self.machine.cfu.enabled = 0  # start-up has to do that
        self.machine.new_flow()

    # ---- the private peripheral bus: debug registers

    def _counting(self) -> bool:
        enabled = self._registers[_DEMCR] & _TRCENA and self._registers[_DWT_CTRL] & _CYCCNTENA
        return bool(enabled) and "dwt" in self.board.counters

    def _read_private(self, _engine: Any, offset: int, _size: int, _user: Any) -> int:
        address = _PRIVATE_BUS + offset
        if address == _CYCCNT:
            now = self.machine.cycles_now() if self._counting() else 0
            return (now - self._cycle_base) & 0xFFFFFFFF if self._counting() else 0
        if address == _DWT_CTRL and "dwt" not in self.board.counters:
            return _NOCYCCNT
        return self._registers.get(address, 0)

    def _write_private(self, _engine: Any, offset: int, _size: int, value: int, _user: Any) -> None:
        address = _PRIVATE_BUS + offset
        if address == _CYCCNT:
            self._cycle_base = self.machine.cycles_now() - value
        elif address in self._registers:
            self._registers[address] = value

    # ---- the CMSDK timer, which counts down (Arm DDI 0479, section 4.4)

    def _read_timer(self, _engine: Any, offset: int, _size: int, _user: Any) -> int:
        if offset == _TIMER_VALUE and self._timer_runs:
            return (self._timer_base - self.machine.cycles_now()) & 0xFFFF_FFFF
        return 0

    def _write_timer(self, _engine: Any, offset: int, _size: int, value: int, _user: Any) -> None:
        if offset == _TIMER_CTRL:
            self._timer_runs = bool(value & 1)
        elif offset == _TIMER_VALUE:
            self._timer_base = self.machine.cycles_now() + value

    # ---- running and the UART

    @property
    def counts(self) -> Counts:
        """Executed instructions (exact) and cycles (estimated) since power-up."""
        return self.machine.counts

    def by_function(self) -> dict[str, Counts]:
        """The counts of each function."""
        return self.machine.by_function()

    def send(self, data: bytes) -> None:
        """Give the device's UART bytes to receive."""
        uart = self._uart
        if uart.received_tail - uart.received_head + len(data) > _BUFFER:
            raise EdgekitError("E607", f"'{self.board.name}' does not read its UART")
        for byte in data:
            self._received[uart.received_tail % _BUFFER] = byte
            uart.received_tail += 1

    def take(self) -> bytes:
        """Bytes that the device has sent since the last call."""
        data = bytes(self._sent[: self._uart.sent_count]) + self.console.sent
        self._uart.sent_count = 0
        self.console.sent.clear()
        return data

    def run(self, seconds: float = 10.0, limit: int | None = None) -> bool:
        """Run until the device waits for its UART, or for a byte by semihosting.

        Args:
            seconds: host time at most.
            limit: instructions at most.

        Returns:
            True where the device waits for input, False where time or the limit ran out.

        Raises:
            EdgekitError: E609 on a fault.
        """
        end = time.monotonic() + seconds
        left = limit
        self._uart.idle = 0
        self.console.waits = False
        while True:
            step = _SLICE if left is None else min(_SLICE, left)
            before = self.counts.instructions
            self.machine.run(self._pc, limit=step)
            self._pc = self.machine.register("pc")
            if self._uart.idle or self.console.waits:
                return True
            if self._uart.sent_count >= _BUFFER // 2:
                return False
            if left is not None:
                left -= self.counts.instructions - before
                if left <= 0:
                    return False
            if time.monotonic() > end:
                return False
