"""An STM32F405's ROM bootloader as AN3155 describes it, on a TCP port or a pseudo-terminal.

Like a UART it knows nothing of connections: a command that was cut off goes on with the first byte
of the next one. tests/devices/routes/test_stm32_uart.py drives it with stm32flash too, a client
that is not ours.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import struct
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

from devices.peers import Peer, Proof, peer_board
from devices.peers.proxy import Proxy

from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.routes import Access
from edgekit.devices.routes.virtual import VirtualLink
from targets import Board

ACK, NACK = b"\x79", b"\x1f"
FLASH, RAM = 0x0800_0000, 0x2000_0000
#: KiB of the sectors of an STM32F405 (reference manual RM0090, table 5).
SECTORS = [16] * 4 + [64] + [128] * 7
DEVICE_ID = 0x413


class Bootloader:
    """The machine.

    Args:
        extended: whether erase is 0x44 (sector numbers of 16 bits) or 0x43 (8 bits).
        worn: offset of a byte of flash that sticks at a value beside the first one written.
        protected: readout protection: only GET, GET ID and the like are answered.
        board: the program in flash runs on this emulated board, on the same wire.
        boot0: this pin at power-up: low starts the program.
    """

    def __init__(
        self,
        *,
        device_id: int = DEVICE_ID,
        extended: bool = True,
        worn: int | None = None,
        protected: bool = False,
        board: Board | None = None,
        boot0: bool = True,
    ) -> None:
        self.board, self.boot0, self.held = board, boot0, False
        self.start = board.flash.start if board else FLASH
        self.device_id, self.extended = device_id, extended
        self.worn, self.protected = worn, protected
        self.flash = bytearray(b"\0" * (sum(SECTORS) << 10))  # an old program, not erased
        self.ram = bytearray(0x20000)
        self.went: int | None = None
        self._stuck: int | None = None
        self.commands: list[int] = []
        self.wrong: list[str] = []
        self._incoming: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._send = self._drop
        threading.Thread(target=self._run, daemon=True).start()

    # ---- the wire

    @staticmethod
    def _drop(_data: bytes) -> None:
        """Nobody listens."""

    def listen(self) -> int:
        """Serve on a TCP port, one connection after the other; returns its number."""
        self._listener = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = self._listener.accept()
                    near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._send = near.sendall
                    with contextlib.suppress(OSError), near:
                        while data := near.recv(4096):
                            self._take(data)
                    self._send = self._drop

        threading.Thread(target=accept, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def terminal(self) -> str:
        """Serve on a pseudo-terminal; returns its device."""
        self._main, self._device = os.openpty()
        tty.setraw(self._device)
        main = self._main

        def pump() -> None:
            with contextlib.suppress(OSError):
                while data := os.read(main, 4096):
                    self._take(data)

        self._send = lambda data: self._write_all(main, data)
        threading.Thread(target=pump, daemon=True).start()
        return os.ttyname(self._device)

    @staticmethod
    def _write_all(file: int, data: bytes) -> None:
        while data:
            data = data[os.write(file, data) :]

    def close(self) -> None:
        self._incoming.put(None)
        if hasattr(self, "_listener"):
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        if hasattr(self, "_device"):
            os.close(self._device)
            os.close(self._main)

    def pins(self, boot0: bool, nrst_low: bool) -> None:
        """BOOT0 and NRST; the former counts when the latter is let go."""
        released = self.held and not nrst_low
        self.held = nrst_low
        if released:
            self.boot0 = boot0
            self._incoming.put(-1)

    def power_cycle(self) -> None:
        """Flash stays; the state of the protocol goes."""
        self._incoming.put(-1)

    def _take(self, data: bytes) -> None:
        if self.held:
            return
        for byte in data:
            self._incoming.put(byte)

    # ---- the protocol

    def _read(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            byte = self._incoming.get()
            if byte is None:
                raise EOFError
            if byte < 0:
                raise ResetError
            found.append(byte)
        return bytes(found)

    def _write(self, *parts: bytes) -> None:
        with contextlib.suppress(OSError):
            self._send(b"".join(parts))

    def _run(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                with contextlib.suppress(ResetError):
                    while not self.boot0:
                        self._program()
                    while self._read(1) != b"\x7f":  # the length of 0x7F gives the baud rate
                        pass
                    self._write(ACK)
                    while True:
                        self._command()

    def _command(self) -> None:
        code, inverse = self._read(1)[0], self._read(1)[0]
        known = {0: self._get, 1: self._version, 2: self._id, 0x11: self._memory_read}
        known |= {0x21: self._go, 0x31: self._memory_write}
        known |= {0x44: self._extended_erase} if self.extended else {0x43: self._erase}
        if code ^ inverse != 0xFF or code not in known:
            return self._write(NACK)
        self.commands.append(code)
        if self.protected and code not in (0, 1, 2):
            return self._write(NACK)
        return known[code]()

    def _get(self) -> None:
        erase = 0x44 if self.extended else 0x43
        codes = bytes([0x31, 0, 1, 2, 0x11, 0x21, 0x31, erase, 0x63, 0x73, 0x82, 0x92])
        self._write(ACK, bytes([len(codes) - 1]), codes, ACK)

    def _version(self) -> None:
        self._write(ACK, b"\x31\0\0", ACK)

    def _id(self) -> None:
        self._write(ACK, b"\x01", struct.pack(">H", self.device_id), ACK)

    def _address(self) -> int | None:
        """The address, or None where its checksum is wrong; the answer is the caller's."""
        self._write(ACK)
        *parts, check = self._read(5)
        if parts[0] ^ parts[1] ^ parts[2] ^ parts[3] != check:
            return None
        return int.from_bytes(bytes(parts), "big")

    def _memory(self, address: int | None, size: int) -> tuple[bytearray, int] | None:
        for start, memory in ((self.start, self.flash), (RAM, self.ram)):
            if address is not None and start <= address <= start + len(memory) - size:
                return memory, address - start
        return None

    def _memory_read(self) -> None:
        address = self._address()
        if self._memory(address, 1) is None:
            return self._write(NACK)
        self._write(ACK)
        count, check = self._read(2)
        place = self._memory(address, count + 1)
        if count ^ check != 0xFF or place is None:
            return self._write(NACK)
        memory, at = place
        return self._write(ACK, bytes(memory[at : at + count + 1]))

    def _memory_write(self) -> None:
        address = self._address()
        if self._memory(address, 1) is None:
            return self._write(NACK)
        self._write(ACK)
        count = self._read(1)[0]
        data, check = self._read(count + 1), self._read(1)[0]
        place = self._memory(address, count + 1)
        if place is None or _xor(data) ^ count != check:
            return self._write(NACK)
        memory, at = place
        if (count + 1) % 4 or at % 4:
            self.wrong.append(f"{count + 1} B at {address:#x}: not words")
        if memory is self.flash and any(memory[at + i] != 0xFF for i in range(count + 1)):
            # AN3155 leaves open what happens; flash cannot set bits, so the result is wrong.
            self.wrong.append(f"{count + 1} B at {address:#x}: not erased")
            data = bytes(a & b for a, b in zip(memory[at:], data, strict=False))
        memory[at : at + count + 1] = data
        if memory is self.flash and self.worn is not None and at <= self.worn <= at + count:
            self._stuck = memory[self.worn] ^ 1 if self._stuck is None else self._stuck
            memory[self.worn] = self._stuck
        return self._write(ACK)

    def _extended_erase(self) -> None:
        self._write(ACK)
        head = self._read(2)
        count = int.from_bytes(head, "big")
        if count >= 0xFFFD:
            if self._read(1)[0] != _xor(head) or count != 0xFFFF:
                return self._write(NACK)
            return self._wipe(range(len(SECTORS)))
        body, check = self._read(2 * (count + 1)), self._read(1)[0]
        if _xor(head + body) != check:
            return self._write(NACK)
        return self._wipe(struct.unpack(f">{count + 1}H", body))

    def _erase(self) -> None:
        self._write(ACK)
        count = self._read(1)[0]
        if count == 0xFF:
            return self._wipe(range(len(SECTORS))) if self._read(1) == b"\0" else self._write(NACK)
        body, check = self._read(count + 1), self._read(1)[0]
        if _xor(body) ^ count != check:
            return self._write(NACK)
        return self._wipe(tuple(body))

    def _wipe(self, sectors: range | tuple[int, ...]) -> None:
        if any(sector >= len(SECTORS) for sector in sectors):
            return self._write(NACK)
        for sector in sectors:
            start, size = sum(SECTORS[:sector]) << 10, SECTORS[sector] << 10
            self.flash[start : start + size] = b"\xff" * size
        return self._write(ACK)

    def _go(self) -> None:
        address = self._address()
        if self._memory(address, 1) is None:
            return self._write(NACK)
        self.went = address
        self._write(ACK)
        if self.board is not None:
            self._program()
        raise ResetError  # the program runs now; the bootloader is back after a reset

    def _program(self) -> None:
        """Until a reset; without a board or a program it hears nothing."""
        if self.board is None or not any(self.flash[:8]):
            self._read(1)
            return
        link = VirtualLink(self.board, FlashImage(((self.start, bytes(self.flash)),)))
        while True:
            link.write(self._read(1))
            if self._incoming.empty():
                self._write(link.read(0.5))


class ResetError(Exception):
    """The machine starts anew."""


def _xor(data: bytes) -> int:
    result = 0
    for byte in data:
        result ^= byte
    return result


def stm32_board(**settings: str | int) -> Board:
    """A board like the STM32F4 Discovery with its UART bootloader as only route."""
    chosen: dict[str, str | int] = {
        "device_id": DEVICE_ID,
        "sectors": "4*16K, 64K, 7*128K",
        **settings,
    }
    return peer_board("stm32-uart", FLASH, 1 << 20, settings=chosen)


class _Proven:
    """The bootloader behind a cable."""

    def __init__(self, boot: Bootloader, cable: Proxy) -> None:
        self.boot, self.cable = boot, cable
        self.board = stm32_board()
        self.access = Access(port=f"socket://127.0.0.1:{cable.port}")

    def content(self, address: int, size: int) -> bytes:
        assert self.boot.went == FLASH and not self.boot.wrong
        return bytes(self.boot.flash[address - FLASH :][:size])

    def mend(self) -> None:
        assert self.boot.went is None, "an incomplete program was started"
        self.boot.worn = None
        self.cable.mend()


@contextlib.contextmanager
def _start(_folder: Path, variant: str) -> Iterator[Peer]:
    boot = Bootloader(worn=0x123 if variant == "corrupted" else None)
    with (
        contextlib.closing(boot),
        Proxy(boot.listen(), cut=1500 if variant == "cut" else None) as cable,
    ):
        yield _Proven(boot, cable)


PROOFS = (Proof("stm32-uart", _start),)
