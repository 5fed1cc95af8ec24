"""The protocol of STM32 bootloaders on a UART, from the host's side (ST application note AN3155).

Every command is a byte and its complement; what follows carries a checksum (exclusive or); the
device answers each part with ACK or NACK. What it reads back has no checksum.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from functools import reduce
from operator import xor
from typing import Any

from edgekit.errors import EdgekitError

ACK, NACK, SYNC = 0x79, 0x1F, 0x7F
GET, GET_ID, READ, GO, WRITE, ERASE, EXTENDED_ERASE = 0x00, 0x02, 0x11, 0x21, 0x31, 0x43, 0x44
NAMES = {
    GET: "get",
    GET_ID: "get id",
    READ: "read memory",
    GO: "go",
    WRITE: "write memory",
    ERASE: "erase",
    EXTENDED_ERASE: "extended erase",
}
#: Most bytes of one read or write.
BLOCK = 256
_SHORT, _PER_SECTOR, _WHOLE_CHIP = 1.0, 8.0, 120.0  # seconds; AN2606 lists the slowest parts
#: Seconds after which no answer is coming, to a byte and to a burst of them.
QUIET, QUIET_BURST = 0.3, 0.06
#: A part that the line has damaged is sent again so often.
_ATTEMPTS = 3


class Refused(Exception):
    """The device answered NACK.

    Attributes:
        command: the command's code.
        part: "command", "address", "data" or "sectors".
    """

    def __init__(self, command: int, part: str) -> None:
        super().__init__(f"'{NAMES[command]}' was refused at its {part}")
        self.command, self.part = command, part


class Client:
    """A conversation over an open port of pyserial; `name` is the port's, for errors.

    Its timeout is how finely time is told here: some hundredths of a second.

    Every method raises EdgekitError E604 where the port is gone, the device does not answer in
    time or answers with bytes that the protocol does not have, and `Refused` on NACK.
    """

    def __init__(self, port: Any, name: str) -> None:
        self._port, self._name = port, name
        self.commands: tuple[int, ...] = ()

    # ---- bytes

    def _send(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise self._broken(str(error)) from error

    def _receive(self, count: int, seconds: float) -> bytes:
        """Up to `count` bytes; fewer where time is over.

        The port's own timeout stays as it was opened: pyserial takes every change of it to the
        driver, and over RFC 2217 to the other computer.
        """
        found, end = b"", time.monotonic() + seconds
        try:
            while True:
                found += self._port.read(count - len(found))
                if len(found) == count or time.monotonic() >= end:
                    return found
        except OSError as error:
            raise self._broken(str(error)) from error

    def _exactly(self, count: int, doing: str) -> bytes:
        found = self._receive(count, _SHORT + count / 500)
        if len(found) < count:
            raise self._broken(f"{doing}: {len(found)} of {count} B came")
        return found

    def _broken(self, why: str) -> EdgekitError:
        return EdgekitError(
            "E604",
            f"the connection to the STM32 bootloader on '{self._name}' broke: {why}",
            help="check the cable, put the chip into its bootloader, run the same command again",
        )

    def _acknowledged(self, command: int, part: str, seconds: float | None = None) -> None:
        seconds = _SHORT if seconds is None else seconds
        answer = self._receive(1, seconds)
        if not answer:
            raise self._broken(f"no answer to '{NAMES[command]}' ({part}) within {seconds:g} s")
        if answer[0] == NACK:
            raise Refused(command, part)
        if answer[0] != ACK:
            raise self._broken(f"answer {answer[0]:#04x} to '{NAMES[command]}' ({part})")

    def _command(self, code: int) -> None:
        self._send(bytes([code, code ^ 0xFF]))
        self._acknowledged(code, "command")

    # ---- finding the start of a command

    def greet(self) -> bool:
        """Bring both sides to the start of a command and `get`; whether anything answers.

        Every bootloader has that command, protected or not: one that refuses it was not where we
        took it to be, because an answer came late.
        """
        for left in range(_ATTEMPTS - 1, -1, -1):
            if not self.synchronise():
                return False
            try:
                self.get()
                return True
            except Refused as refused:
                if not left:
                    raise self._broken(str(refused)) from refused
            except EdgekitError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def synchronise(self) -> bool:
        """Make the device wait for a command; whether it answers at all.

        A fresh bootloader takes 0x7F to measure the baud rate and acknowledges it. One that is
        in the middle of a command that broke off takes it as data, until that is complete and, its
        checksum being wrong, refused.
        """
        for pause, count in ((QUIET, 1), (QUIET, 1), *((QUIET_BURST, 64),) * 9):
            self._send(bytes([SYNC]) * count)
            if self._receive(1, pause):
                if count == 1:
                    self._drain()
                    return True
                self._drain()
                return self._settle()
        return False

    def _settle(self) -> bool:
        """After a burst: a byte may be pending that was taken for a command."""
        for _ in range(4):
            self._send(bytes([SYNC]))
            if self._receive(1, QUIET):
                self._drain()
                return True
        return False

    def _drain(self) -> None:
        while self._receive(4096, QUIET_BURST):
            pass

    # ---- commands

    def get(self) -> tuple[int, ...]:
        """Codes of the commands that this bootloader has; kept as `commands`."""
        self._command(GET)
        count = self._exactly(1, "get")[0]
        answer = self._exactly(count + 1, "get")
        self._acknowledged(GET, "end")
        self.commands = tuple(answer[1:])
        return self.commands

    def get_id(self) -> int:
        """The chip's identifier (AN2606 lists them)."""
        self._command(GET_ID)
        count = self._exactly(1, "get id")[0]
        answer = self._exactly(count + 1, "get id")
        self._acknowledged(GET_ID, "end")
        return int.from_bytes(answer, "big")

    def _address(self, code: int, address: int) -> None:
        data = struct.pack(">I", address)
        self._send(data + bytes([reduce(xor, data)]))
        self._acknowledged(code, "address")

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes of memory, at most `BLOCK`."""

        def once() -> bytes:
            self._command(READ)
            self._address(READ, address)
            self._send(bytes([size - 1, (size - 1) ^ 0xFF]))
            self._acknowledged(READ, "data")
            return self._exactly(size, NAMES[READ])

        return self._repeated(once)

    def write(self, address: int, data: bytes) -> None:
        """Program at most `BLOCK` bytes, a multiple of 4."""
        body = bytes([len(data) - 1]) + data

        def once() -> bytes:
            self._command(WRITE)
            self._address(WRITE, address)
            self._send(body + bytes([reduce(xor, body)]))
            self._acknowledged(WRITE, "data", 2 * _SHORT)
            return b""

        self._repeated(once)

    def _repeated(self, once: Any) -> bytes:
        """A NACK may come from a damaged byte: only the third one in a row is the device's word."""
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                result: bytes = once()
                return result
            except Refused:
                if not left:
                    raise
                time.sleep(0.01)
                self._drain()
        raise AssertionError("unreachable")

    def erase(self, sectors: Sequence[int]) -> None:
        """Erase sectors by number, with the command that this bootloader has."""
        wide = EXTENDED_ERASE in self.commands
        code, form = (EXTENDED_ERASE, ">H") if wide else (ERASE, ">B")
        body = b"".join(struct.pack(form, n) for n in (len(sectors) - 1, *sectors))
        self._command(code)
        self._send(body + bytes([reduce(xor, body)]))
        self._acknowledged(code, "sectors", _PER_SECTOR * len(sectors))

    def erase_all(self) -> None:
        """Erase the whole flash."""
        wide = EXTENDED_ERASE in self.commands
        code = EXTENDED_ERASE if wide else ERASE
        self._command(code)
        self._send(b"\xff\xff\x00" if wide else b"\xff\x00")
        self._acknowledged(code, "sectors", _WHOLE_CHIP)

    def go(self, address: int) -> None:
        """Start the program whose vector table is at `address`."""
        self._command(GO)
        self._address(GO, address)
