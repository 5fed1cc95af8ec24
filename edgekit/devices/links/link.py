"""Bytes to and from the device program on a board: what every transport offers."""

from __future__ import annotations

from typing import Protocol


class Link(Protocol):
    """A board's UART, or what stands for it, seen from the host."""

    def write(self, data: bytes) -> None:
        """Send bytes to the board; raises EdgekitError E604 where the connection is gone."""

    def read(self, seconds: float) -> bytes:
        """What the board has sent; waits up to `seconds` for the first byte, else empty.

        May return early and empty where it is certain that nothing will come. Raises EdgekitError
        E604 where the connection is gone.
        """

    def where(self, address: int) -> str:
        """A code address as text, by function name where the link knows symbols."""

    def close(self) -> None:
        """Power the board down or close the port."""
