"""The program dfu-util, which flashes USB devices in DFU mode: run, and its output understood."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edgekit.devices.links.ports import permission_advice
from edgekit.errors import EdgekitError
from targets import Board

_FOUND = re.compile(
    r'Found DFU: \[([0-9a-f]{4}:[0-9a-f]{4})\].*path="([^"]*)", alt=(\d+), '
    r'name="(.*)", serial="([^"]*)"'
)
_PROGRESS = re.compile(r"(Erase|Download|Upload)\s.*?\s(\d+) bytes")
_REFUSED = re.compile(
    r"err(VENDOR|TARGET|WRITE|ERASE|CHECK_ERASED|PROG|VERIFY|ADDRESS|FILE)\b"
    r"|not (writeable|erasable)|[Rr]ead.?protect|can not be|not correctly executed"
)
_DENIED = re.compile(r"LIBUSB_ERROR_ACCESS|[Aa]ccess denied|insufficient permissions")
#: What it says on standard error, but for its advice about files of other makers.
_SAID = re.compile(r"dfu-util: (?!.*suffix)")
#: Seconds without any output after which it is taken for dead; a large sector takes some to erase.
SILENCE = 60.0


@dataclass(frozen=True)
class Device:
    """One alternate setting of a USB device in DFU mode; `name` may describe its memory."""

    usb: str
    path: str
    alt: int
    name: str
    serial: str


def memory_layout(name: str) -> dict[int, list[int]]:
    """Start address to sizes of sectors in bytes, from a DfuSe name (ST's UM0424, 10.3.2).

    ``@Internal Flash  /0x08000000/04*016Kg,01*064Kg`` has five sectors; empty where the name is of
    no such form.
    """
    found = {}
    scale = {"B": 1, " ": 1, "K": 1 << 10, "M": 1 << 20}
    parts = re.findall(r"/0x([0-9A-Fa-f]+)/([^/]+)", name) if name.startswith("@") else []
    for start, sectors in parts:
        groups = re.findall(r"(\d+)\*(\d+)([BKM ])[a-g]", sectors)
        found[int(start, 16)] = [
            int(size) * scale[unit] for count, size, unit in groups for _ in range(int(count))
        ]
    return found


class DfuUtil:
    """Runs the program for one board; all raise EdgekitError E631, E635, E636 and E604."""

    def __init__(self, board: Board, usb: str) -> None:
        self._board, self._usb = board, usb
        self._command = shutil.which("dfu-util") or ""
        if not self._command:
            raise EdgekitError(
                "E636",
                "route 'dfu' needs the program dfu-util",
                help="apt install dfu-util, brew install dfu-util, or put dfu-util.exe on the PATH",
            )

    def devices(self) -> list[Device]:
        """What is there in DFU mode with the board's USB identifier."""
        lines = self.run("-l", doing="listing devices")
        found = [match for line in lines if (match := _FOUND.search(line))]
        devices = [Device(m[1], m[2], int(m[3]), m[4], m[5]) for m in found]
        matching = [d for d in devices if d.usb == self._usb]
        if not matching and any(_DENIED.search(line) for line in lines):
            raise self._denied(lines)
        return matching

    def run(
        self, *arguments: str, doing: str, during: Callable[[int], None] = lambda _bytes: None
    ) -> list[str]:
        """Run it to its end; returns the lines that are no progress.

        Args:
            doing: for the error.
            during: told the bytes that its progress bar shows.
        """
        with subprocess.Popen(
            [self._command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                lines = self._read(process, during)
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            raise self._failed(doing, lines)
        return lines

    @staticmethod
    def _read(process: subprocess.Popen[bytes], during: Callable[[int], None]) -> list[str]:
        assert process.stdout is not None
        lines, rest = [], ""
        while True:
            watch = threading.Timer(SILENCE, process.kill)
            watch.start()
            try:
                data = os.read(process.stdout.fileno(), 4096)
            finally:
                watch.cancel()
            *whole, rest = re.split(r"[\r\n]+|(?<= bytes)", rest + data.decode(errors="replace"))
            for line in [*whole, rest] if not data else whole:
                progress = _PROGRESS.match(line)
                if progress and progress[1] != "Erase":
                    during(int(progress[2]))
                elif line.strip() and not progress:
                    lines.append(line.strip())
            if not data:
                return lines

    def _failed(self, doing: str, lines: list[str]) -> EdgekitError:
        if any(_DENIED.search(line) for line in lines):
            return self._denied(lines)
        refused = [line for line in lines if _REFUSED.search(line)]
        if refused:
            return EdgekitError(
                "E635",
                f"the bootloader of board '{self._board.name}' refused {doing}",
                details=refused[-2:],
                help="is its flash protected (RDP, WRP)? docs/FLASHING.md, dfu",
            )
        return EdgekitError(
            "E604",
            f"the USB connection to board '{self._board.name}' broke, {doing}",
            details=[line for line in lines if _SAID.match(line)] or lines[-2:],
            help="check the cable, start the bootloader again and run the same command",
        )

    def _denied(self, lines: list[str]) -> EdgekitError:
        said = next(line for line in lines if _DENIED.search(line))
        return EdgekitError(
            "E631",
            f"the USB device {self._usb} of board '{self._board.name}' may not be used: {said}",
            details=permission_advice((self._usb,)),
            help="do one of these, then plug the board in again",
        )
