"""MCUmgr's Simple Management Protocol: an image for MCUboot, over UDP or a serial port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.devices.clients import mcuboot
from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.links.ports import find_port, open_port
from edgekit.devices.links.serial_link import SerialLink, open_serial
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board

if TYPE_CHECKING:
    from edgekit.devices.clients.smp import SmpServer

#: "confirm" keeps the program; "test" lets MCUboot return to the old one at the next reset.
MODES = ("confirm", "test")


class SmpRoute(Route):
    """The program becomes MCUboot's image: uploaded, selected, and started by a reset.

    SMP cannot read flash. What the device computes stands in for that: the SHA-256 of the slot
    when the upload ends, and MCUboot's own check before it starts the image.
    """

    name = "smp"
    proven = "a server written after Zephyr's specification, with MCUboot's checks; no board"
    verified = "equal by the SHA-256 that the device computes"
    broken = "the image is incomplete and is not started"
    step = 4096

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:
            header = settings.number("header_size", mcuboot.Slot.header)
            self._slot = mcuboot.Slot(
                settings.number("slot_size", board.flash.size + header),
                header,
                settings.number("align", mcuboot.Slot.align),
                settings.text("version", mcuboot.Slot.version),
                settings.text("key", ""),
            )
            self._number = settings.number("image", 0)
            self._confirm = settings.one_of("mode", MODES) == "confirm"
        self._server: SmpServer | None = None

    def _port(self) -> tuple[str, bool]:
        """Where the server is, and whether that is an address of UDP."""
        from edgekit.devices.clients.smp import udp_address

        port = self.access.port
        if port is not None and udp_address(port) is not None:
            return port, True
        return find_port(self.board, port), False

    def _connected(self) -> SmpServer:
        if self._server is None:
            raise RuntimeError("not connected")
        return self._server

    def connect(self) -> None:
        from edgekit.devices.clients.smp import SmpServer

        port, udp = self._port()
        if not udp:  # says why it cannot be opened, which smpclient does not
            open_port(self.board, port, baud=self.board.uart.baud).close()
        self._server = SmpServer(port, self.board.uart.baud, self.board.name)
        self._server.connect()
        self._server.images(first=True)

    def arrange(self, image: FlashImage) -> FlashImage:
        payload = mcuboot.payload_of(image, self.board.flash.start)
        self._image = mcuboot.wrap(payload, self._slot)
        self._hash = mcuboot.image_hash(self._image)
        self._connected().begin_upload(self._image, self._number)
        return image

    def erase(self, address: int, size: int) -> None:
        """The upload erases."""

    def write(self, address: int, data: bytes) -> None:
        at = self._slot.header + address - self.board.flash.start + len(data)
        self._connected().upload_to(min(at, len(self._image)))

    def read(self, address: int, size: int) -> bytes:
        raise NotImplementedError("SMP cannot read flash")

    def verify(self, image: FlashImage, tell: Callable[[int], None]) -> FlashImage:
        """Let the device check its flash; returns nothing where it has no such check.

        Raises:
            EdgekitError: E605 where its SHA-256 differs, or where no slot has the image's hash.
        """
        server = self._connected()
        matched = server.finish_upload(len(self._image))
        if matched is False:
            raise self._differs(f"the device computes another SHA-256 of {len(self._image)} B")
        images = server.images()
        found = [i for i in images if i.hash == self._hash]
        listed = [bytes(i.hash).hex()[:16] for i in images if i.hash]
        if not found and listed:
            raise self._differs(
                f"no slot has the image {self._hash.hex()[:16]} but {', '.join(listed)}"
            )
        if found and not any(i.active for i in found) and any(i.slot for i in found):
            server.select(self._hash, self._confirm)
        if matched is None:
            return FlashImage((), image.functions)
        tell(image.bytes)
        return image

    def _differs(self, how: str) -> EdgekitError:
        return EdgekitError(
            "E605",
            f"flash verification failed on board '{self.board.name}': {how}",
            help="flash again; if it stays, the flash is worn or the slot too small",
        )

    def reset(self) -> None:
        self._connected().reset()

    def stream(self, elf: Path | None = None) -> SerialLink:
        """The program's UART: `--serial`, or the port of the server where that is one."""
        if self.access.serial:
            return open_serial(self.board, self.access.serial)
        port, udp = self._port()
        return open_serial(self.board, None if udp else port)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


ROUTE = SmpRoute
