"""The real dfu-util before an emulated USB device, which programs/dfu_device.py is."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from devices.peers import Peer, Proof, peer_board
from tools import need

from edgekit.devices.routes import Access
from targets import Board

START = 0x0800_0000
SYSTEM_PYTHON = "/usr/bin/python3"
PRELOAD = "libumockdev-preload.so.0"
SERVER = Path(__file__).parent / "programs" / "dfu_device.py"


@functools.cache
def _has_umockdev() -> bool:
    code = "import gi; gi.require_version('UMockdev', '1.0'); from gi.repository import UMockdev"
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


class UsbDevice:
    """The bootloader on an emulated USB, for programs that this process starts while it is open."""

    def __init__(self, folder: Path, **faults: int) -> None:
        self.folder = folder
        (folder / "flash.bin").write_bytes(b"\0" * (1 << 20))  # an old program, not erased
        self.faults(**faults)
        self._before = {key: os.environ.get(key) for key in ("LD_PRELOAD", "UMOCKDEV_DIR")}
        self._server = subprocess.Popen(
            [SYSTEM_PYTHON, str(SERVER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        root = self._server.stdout.readline().strip()
        assert root, "umockdev's device did not start"
        os.environ |= {"LD_PRELOAD": PRELOAD, "UMOCKDEV_DIR": root}

    def faults(self, **faults: int) -> None:
        """See `Bootloader.faults` of the server; none is a whole device."""
        (self.folder / "faults.json").write_text(json.dumps(faults))

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "state.json").read_text()))

    def flash(self, address: int, size: int) -> bytes:
        with (self.folder / "flash.bin").open("rb") as file:
            file.seek(address - START)
            return file.read(size)

    def close(self) -> None:
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        self._server.communicate(timeout=10)  # it ends when its standard input does


@contextlib.contextmanager
def usb_device(folder: Path, **faults: int) -> Iterator[UsbDevice]:
    """Skips the test where umockdev is missing; fails it where CI promised it."""
    need("dfu-util")
    if not _has_umockdev():
        why = f"{SYSTEM_PYTHON} has no gir1.2-umockdev-1.0 and python3-gi"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{why}, but CI=true")
        pytest.skip(why)
    with contextlib.closing(UsbDevice(folder, **faults)) as device:
        yield device


def dfu_board(**settings: str | int) -> Board:
    """A board like the STM32F4 Discovery with its USB bootloader as only route."""
    return peer_board("dfu", START, 1 << 20, settings=settings or None)


class _Proven:
    def __init__(self, device: UsbDevice) -> None:
        self.device = device
        self.board, self.access = dfu_board(), Access()

    def content(self, address: int, size: int) -> bytes:
        state = self.device.state()
        assert state["went"] == START and not state["wrong"]
        return self.device.flash(address, size)

    def mend(self) -> None:
        assert self.device.state()["went"] is None, "an incomplete program was started"
        self.device.faults()


@contextlib.contextmanager
def _start(folder: Path, variant: str) -> Iterator[Peer]:
    faults = {"whole": {}, "corrupted": {"worn": 0x123}, "cut": {"cut": 12}}[variant]
    with usb_device(folder, **faults) as device:
        yield _Proven(device)


PROOFS = (Proof("dfu", _start),)
