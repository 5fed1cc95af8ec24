"""The device program behind a serial port: a cable, USB CDC, or a URL that pyserial knows."""

from __future__ import annotations

import time

from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.links.ports import TICK, find_port, open_port
from edgekit.errors import EdgekitError
from targets import Board

#: Bytes of one `read`.
_MOST = 4096


class SerialLink:
    """See `edgekit.devices.links.link.Link`.

    Args:
        port: a device (``/dev/ttyACM0``, ``COM3``) or a URL (``socket://HOST:PORT``,
            ``rfc2217://HOST:PORT``).
        image: what was flashed, for the names of functions in a report of a fault.

    Raises:
        EdgekitError: E631, E632 and E604 where the port cannot be opened, and E604 in every method
            where it is gone.
    """

    def __init__(self, board: Board, port: str, image: FlashImage | None = None) -> None:
        self.board, self.port, self._image = board, port, image
        #: pyserial's object.
        self.device = self._serial = open_port(board, port, baud=board.uart.baud, timeout=TICK)

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except OSError as error:
            raise self._gone(error) from error

    def read(self, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        try:
            while True:
                data = bytes(self._serial.read(1))
                while data and len(data) < _MOST and (more := self._serial.in_waiting):
                    data += self._serial.read(more)
                if data or time.monotonic() >= end:
                    return data
        except OSError as error:
            raise self._gone(error) from error

    def _gone(self, error: OSError) -> EdgekitError:
        return EdgekitError(
            "E604",
            f"serial port '{self.port}' of board '{self.board.name}' is gone: {error}",
            help="check the cable and run the same command again",
        )

    def where(self, address: int) -> str:
        return self._image.where(address) if self._image else f"{address:#010x}"

    def close(self) -> None:
        self._serial.close()


def open_serial(
    board: Board, port: str | None, image: FlashImage | None = None, option: str = "--serial"
) -> SerialLink:
    """The device program's serial port, found by the board's USB identifiers where none is named.

    Args:
        port: a device, a URL or a USB serial number; None to look for it.
        option: the option of the command line that names it.

    Raises:
        EdgekitError: E630 not exactly one port matches, and what `SerialLink` raises.
    """
    return SerialLink(board, find_port(board, port, option), image)
