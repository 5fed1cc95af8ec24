"""Linux as a board: this machine's disk, and this machine behind OpenSSH's server."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from devices.peers import Proof
from devices.peers.cut import Cutter, cut_after
from devices.peers.sshd import sshd_path, start_sshd

from edgekit.devices.firmware.build import build_firmware
from edgekit.devices.routes import Access, local
from targets import Board, board

_APP = Path(__file__).parent.parent / "app" / "fake_app.c"
#: Where a byte rots: in the middle of any program of ours.
BYTE = 4321


def program(on: Board) -> Path:
    """A program of this machine: both boards are one."""
    return build_firmware([_APP], on).elf


def running(path: Path) -> list[int]:
    """Processes that were started from `path`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "exe") == str(path):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def gone(path: Path) -> bool:
    """Whether it soon has no process any more."""
    end = time.monotonic() + 5
    while running(path) and time.monotonic() < end:
        time.sleep(0.02)
    return not running(path)


@dataclass
class Machine:
    """See `devices.peers.Peer`."""

    board: Board
    access: Access
    path: Path
    mended: Callable[[], None] = lambda: None

    def content(self, address: int, size: int) -> bytes:
        return self.path.read_bytes()[address : address + size]

    def mend(self) -> None:
        self.mended()


@contextlib.contextmanager
def _local(folder: Path, variant: str) -> Iterator[Machine]:
    """The disk loses a bit of what is written, before it is read back."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, EDGEKIT_STATE_DIR=str(folder)))
        on = board("linux-local")
        path = local.program_path(on)
        with contextlib.ExitStack() as rotting:
            if variant == "corrupted":
                rotting.enter_context(mock.patch.object(os, "fsync", lambda _: _rot(path.parent)))
            yield Machine(on, Access(route="local"), path, rotting.pop_all().close)


def _rot(folder: Path) -> None:
    for path in folder.glob("*.part"):
        data = bytearray(path.read_bytes())
        data[BYTE] ^= 4
        path.write_bytes(data)


@contextlib.contextmanager
def _ssh(folder: Path, variant: str) -> Iterator[Machine]:
    """The remote disk loses a bit, or every upload is cut in its middle."""
    like = board("linux-local").target.name
    on = board("linux-x86_64" if like == "linux-x86_64" else "raspberry-pi-4")
    on = replace(on, settings={"ssh": {"folder": str(folder / "programs")}})
    rotten = BYTE if variant == "corrupted" else None
    cuts = [10**9, BYTE] * 3 if variant == "cut" else []
    with (
        start_sshd(folder / "sshd", rotten_byte=rotten) as server,
        cut_after(("127.0.0.1", server.port), cuts) as proxy,
        mock.patch.dict(os.environ, EDGEKIT_SSH_COMMAND=server.command),
    ):
        user = server.destination.partition("@")[0]
        access = Access(route="ssh", port=f"{user}@127.0.0.1:{proxy.port}")
        heal = _healer(folder, proxy)
        yield Machine(on, access, folder / "programs" / on.name, heal)


def _healer(folder: Path, proxy: Cutter) -> Callable[[], None]:
    def heal() -> None:
        proxy.cuts.clear()
        shutil.rmtree(folder / "sshd" / "bin", ignore_errors=True)

    return heal


PROOFS = (
    # Nothing can be cut on the way to this machine's disk; tests/devices/routes/test_local.py
    # fills it up.
    Proof("local", _local, program=program, variants=("whole", "corrupted")),
    Proof("ssh", _ssh, program=program, commands=("ssh", "ssh-keygen", sshd_path() or "sshd")),
)
