"""The host's side of semihosting for the virtual board: a console, and nothing of a file system.

Reference: "Semihosting for AArch32 and AArch64" (Arm); RISC-V has the same operations. QEMU has a
host of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from edgekit.devices.emulators.machine import Machine

_OPEN, _WRITE, _READ = 1, 5, 6
_HANDLE = 1
#: bkpt 0xAB; and the ebreak between two shifts that do nothing: (bytes before it, all of it).
_THUMB = (0, struct.pack("<H", 0xBEAB), 2)
_RISCV = (4, struct.pack("<III", 0x01F0_1013, 0x0010_0073, 0x4070_5013), 4)


class Console:
    """What a program reads and writes by semihosting.

    Attributes:
        received: bytes that the program has not read yet.
        sent: bytes that it has written.
        waits: it wants to read where there is nothing; the call is made again when it goes on.
    """

    def __init__(self) -> None:
        self.received, self.sent = bytearray(), bytearray()
        self.waits = False

    def on(self, machine: Machine) -> Callable[[], bool]:
        """For `Machine.on_breakpoint`: performs a call; False where it is none that is known."""

        def call() -> bool:
            before, code, size = _THUMB if machine.core.thumb else _RISCV
            at = machine.register("pc") & ~machine.core.thumb
            if machine.read(at - before, len(code)) != code:
                return False
            operation, argument = (machine.register(n) for n in machine.core.arguments[:2])
            result = self._perform(machine, operation, argument)
            if result is None:
                return False
            if self.waits:
                machine.pause()
            else:
                machine.set_register(machine.core.arguments[0], result)
                machine.set_register("pc", at + size | machine.core.thumb)
            return True

        return call

    def _perform(self, machine: Machine, operation: int, argument: int) -> int | None:
        if operation not in (_OPEN, _WRITE, _READ):
            return None
        first, second, third = struct.unpack("<III", machine.read(argument, 12))
        if operation == _OPEN:  # name, mode, length
            return _HANDLE if machine.read(first, third) == b":tt" else 0xFFFF_FFFF
        if operation == _READ:
            self.waits = not self.received
            part = bytes(self.received[:third])
            del self.received[:third]
            machine.write(second, part)
            return third - len(part)
        self.sent += machine.read(second, third)
        return 0  # handle, bytes, length; the result of these two is what was left over
