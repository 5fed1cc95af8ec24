"""A debug port and its access ports (ADIv5.2), and pyOCD's ``remote:`` protocol in front of them.

pyOCD speaks SWD to its probes in units of DP and AP accesses; over a socket those are lines of
JSON. So everything of pyOCD but the USB framing of a probe runs, and its own flash algorithms are
executed by the chip's core.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgekit.devices.routes import Access

from . import Peer, Proof, image, peer_board
from .chip import BusFault, Chip, Nrf52, Stm32f4
from .listener import Listener

_READ_BUFFER_BANK = 0x10
#: pyOCD knows that an AHB-AP of this identification wraps its address every 4 KB.
_AHB_AP, _WRAP = 0x2477_0011, 0x1000
_CTRL_AP = 0x0288_0000
_FAULT = 12


class Dap:
    """Serial wire DP, an AHB-AP at 0 and Nordic's CTRL-AP at 1."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self._select = self._control = self._address = 0
        self._word = 0x2300_0052

    def read_dp(self, register: int) -> int:
        powered = self._control & 0x5000_0000
        return {0: 0x2BA0_1477, 4: self._control | powered << 1}.get(register & 0xC, 0)

    def write_dp(self, register: int, value: int) -> None:
        if register & 0xC == 8:
            self._select = value
        elif register & 0xC == 4 and not self._select & 0xF:
            self._control = value & 0x5000_0F00

    def _place(self, register: int) -> tuple[int, int]:
        return self._select >> 24, self._select & 0xF0 | register & 0xC

    @property
    def _size(self) -> int:
        return 1 << (self._word & 7)

    def _next(self) -> None:
        if self._word & 0x30:  # the address wraps, as it does in silicon
            within = self._address + self._size & _WRAP - 1
            self._address = self._address & -_WRAP | within

    def read_ap(self, register: int) -> int:
        port, at = self._place(register)
        if port == 1:
            return {0xFC: _CTRL_AP, 0x0C: 1}.get(at, 0)
        if port:
            return 0
        if at == 0x0C:
            value = self.chip.read(self._address & -self._size, self._size)
            value <<= 8 * (self._address & 4 - self._size & 3)
            self._next()
            return value
        if at & 0xF0 == _READ_BUFFER_BANK:
            return self.chip.read(self._address & ~0xF | at & 0xC)
        fixed = {0x00: self._word, 0x04: self._address, 0xF8: 0xE00F_F003, 0xFC: _AHB_AP}
        return fixed.get(at, 0)

    def write_ap(self, register: int, value: int) -> None:
        port, at = self._place(register)
        if port:
            return
        if at == 0x00:
            self._word = value & 0x7F00_0017 | 0x40  # no packed transfers
        elif at == 0x04:
            self._address = value
        elif at == 0x0C:
            lane = value >> 8 * (self._address & 4 - self._size & 3)
            self.chip.write(
                self._address & -self._size, lane & (1 << 8 * self._size) - 1, self._size
            )
            self._next()
        elif at & 0xF0 == _READ_BUFFER_BANK:
            self.chip.write(self._address & ~0xF | at & 0xC, value)


class RemoteProbe:
    """A probe for ``pyocd -u remote:127.0.0.1:PORT``; serves one client after another.

    Attributes:
        cut: on each connection, break off after so many requests.
        fault: the number of a request (over all connections) that the target does not acknowledge.
    """

    _PROPERTIES: dict[str, Any] = {  # noqa: RUF012 - never written
        "vendor_name": "edgekit",
        "product_name": "SWD double",
        "supported_wire_protocols": ["DEFAULT", "SWD"],
        "wire_protocol": "SWD",
        "capabilities": [],
        "unique_id": "double",
        "associated_board_info": None,
    }

    def __init__(self, chip: Chip, cut: int | None = None, fault: int | None = None) -> None:
        self.chip, self.cut, self.fault = chip, cut, fault
        self.requests = 0
        self._dap = Dap(chip)
        self._listener = Listener(self._talk)
        self.port = self._listener.port

    def close(self) -> None:
        self._listener.close()

    def _talk(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            for count, line in enumerate(lines):
                if self.cut is not None and count >= self.cut:
                    # As a dead link ends: with a reset, not in good order.
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                connection.sendall(json.dumps(self._answer(json.loads(line))).encode() + b"\n")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests += 1
        answer: dict[str, Any] = {"id": request["id"], "status": 0}
        if self.requests == self.fault:
            return answer | {"status": _FAULT, "error": "no acknowledgement"}
        try:
            result = self._perform(request["request"], request.get("arguments", []))
        except BusFault as error:
            return answer | {"status": _FAULT, "error": str(error)}
        return answer if result is None else answer | {"result": result}

    def _perform(self, name: str, arguments: list[Any]) -> Any:
        dap = self._dap
        handlers: dict[str, Callable[..., Any]] = {
            "readprop": self._PROPERTIES.get,
            "read_dp": dap.read_dp,
            "write_dp": dap.write_dp,
            "read_ap": dap.read_ap,
            "write_ap": dap.write_ap,
            "read_ap_multiple": lambda at, count: [dap.read_ap(at) for _ in range(count)],
            "write_ap_multiple": lambda at, values: [dap.write_ap(at, v) for v in values] and None,
            "reset": self.chip.reset,
            "is_reset_asserted": lambda: False,
            "has_swo": lambda: False,
        }
        handler = handlers.get(name)
        return handler(*arguments) if handler else None


class _Probed:
    """A chip behind a remote probe."""

    def __init__(self, probe: RemoteProbe, target: str) -> None:
        self.probe, self.chip = probe, probe.chip
        self.board = peer_board(
            "pyocd", self.chip.FLASH, self.chip.SIZE, settings={"target": target}
        )
        self.access = Access(port=f"remote:127.0.0.1:{probe.port}")
        self._starts = self.chip.resets

    def content(self, address: int, size: int) -> bytes:
        assert not self.chip.halted, "the program was not started"
        return bytes(self.chip.flash[address - self.chip.FLASH :][:size])

    def mend(self) -> None:
        self.chip.stuck = None
        self.probe.cut = None


def _start(chip: type[Chip], target: str, cut: int) -> Callable[[Path, str], Any]:
    @contextlib.contextmanager
    def start(_folder: Path, variant: str) -> Iterator[Peer]:
        stuck = None
        if variant == "corrupted":
            drawn = image(chip.FLASH)[0][1]
            stuck = chip.FLASH + next(i for i in range(99, 999) if not drawn[i] & 1)
        probe = RemoteProbe(chip(stuck), cut=cut if variant == "cut" else None)
        with contextlib.closing(probe):
            yield _Probed(probe, target)

    return start


PROOFS = (
    Proof("pyocd", _start(Nrf52, "nrf52832", 480), name="pyocd-nrf52"),
    Proof("pyocd", _start(Stm32f4, "stm32f412xg", 480), name="pyocd-stm32f4"),
)
