"""esp32-mock-bootloader (PyPI), an ESP32 ROM bootloader with stub, from other hands.

Run in this process, so that a test can look at its flash and damage it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from devices.peers import Peer, Proof, Start, peer_board
from devices.peers.proxy import Proxy
from esp32_mock_bootloader.server import BootloaderConnection, FlashImage, handle_client

from edgekit.devices.routes import Access
from targets import Board

#: Where the ESP32-C3 sees its flash.
START = 0x4200_0000
OFFSET = 0x1_0000


class WornFlash(FlashImage):
    """Flash in which one byte is bad.

    Args:
        worn: its offset.
        late: it goes bad after the check sum that the bootloader itself computes.
    """

    def __init__(self, worn: int | None = None, late: bool = False) -> None:
        super().__init__()
        self.worn, self.late = worn, late

    def read(self, offset: int, length: int) -> bytes:
        found = bytearray(super().read(offset, length))
        if self.worn is not None and offset <= self.worn < offset + length:
            found[self.worn - offset] ^= 1
        return bytes(found)

    def md5_stub_response(self, payload: bytes, *, stub: bool = False) -> bytes:
        if self.worn is None or self.late:
            return super().md5_stub_response(payload, stub=stub)
        self.data[self.worn] ^= 1
        try:
            return super().md5_stub_response(payload, stub=stub)
        finally:
            self.data[self.worn] ^= 1


class Patient(BootloaderConnection):
    """The mock gives a host 50 ms to acknowledge a packet, which a loaded machine does not keep."""

    def set_timeout(self, timeout: float) -> None:
        super().set_timeout(10.0)


class Esp32:
    """The chip on a TCP port, one connection after the other."""

    def __init__(self, chip: str = "esp32c3", flash: FlashImage | None = None) -> None:
        self.chip, self.flash = chip, flash or FlashImage()
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = Patient(sock=near)
                handle_client(link, self._stop, self.chip, flash=self.flash)

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def esp32_board(**settings: str | int) -> Board:
    """A board like the ESP32-C3-DevKit."""
    chosen: dict[str, str | int] = {"chip": "esp32c3", "offset": OFFSET, **settings}
    return peer_board("esptool", START, 1 << 20, settings=chosen)


class _Proven:
    def __init__(self, chip: Esp32, flash: WornFlash, cable: Proxy) -> None:
        self.chip, self.flash, self.cable = chip, flash, cable
        self.board = esp32_board()
        self.access = Access(port=f"socket://127.0.0.1:{cable.port}")

    def content(self, address: int, size: int) -> bytes:
        return bytes(self.flash.data[address - START + OFFSET :][:size])

    def mend(self) -> None:
        self.flash.worn = None
        self.cable.mend()


def _starter(late: bool, cut: int) -> Start:
    @contextlib.contextmanager
    def start(_folder: Path, variant: str) -> Iterator[Peer]:
        flash = WornFlash(OFFSET + 0x123 if variant == "corrupted" else None, late)
        chip = Esp32(flash=flash)
        with (
            contextlib.closing(chip),
            Proxy(chip.port, cut=cut if variant == "cut" else None) as cable,
        ):
            yield _Proven(chip, flash, cable)

    return start


PROOFS = (
    Proof("esptool", _starter(late=False, cut=9000), "esptool"),
    Proof("esptool", _starter(late=True, cut=12500), "esptool-late"),
)
