"""OpenSSH's server on a free port of this machine, with keys, configuration and users of its own.

It runs as the user who runs the tests and lets only that user in, with one key.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
KexAlgorithms curve25519-sha256
{more}
"""
_CLIENT = """\
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  HostKeyAlias board
"""
#: Stands in for `cat` where a program is uploaded (no arguments): one bit of it is lost.
_ROTTEN_CAT = """\
#!{python}
import sys
data = sys.stdin.buffer.read() if len(sys.argv) == 1 else open(sys.argv[-1], "rb").read()
if len(sys.argv) == 1 and len(data) > {byte}:
    data = data[:{byte}] + bytes([data[{byte}] ^ 4]) + data[{byte} + 1:]
sys.stdout.buffer.write(data)
"""


@dataclass(frozen=True)
class Sshd:
    """A running server; `command` is the client with what it needs to get in."""

    folder: Path
    port: int
    command: str

    @property
    def destination(self) -> str:
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"


def sshd_path() -> str | None:
    return shutil.which("sshd") or shutil.which("/usr/sbin/sshd")


def _key(path: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, timeout=30
    )
    return path.with_suffix(".pub").read_text()


@contextlib.contextmanager
def start_sshd(folder: Path, *, rotten_byte: int | None = None, force: str = "") -> Iterator[Sshd]:
    """Start it in an empty folder.

    Args:
        rotten_byte: the byte of every uploaded program that loses a bit on this machine's disk.
        force: a script to run instead of what the client asks for ($SSH_ORIGINAL_COMMAND).
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # root's sshd insists on it
    public = _key(folder / "host")
    _key(folder / "user")
    (folder / "known_hosts").write_text(f"board {public}")
    (folder / "client").write_text(_CLIENT.format(folder=folder))
    if rotten_byte is not None:
        cat = folder / "bin" / "cat"
        cat.parent.mkdir()
        cat.write_text(_ROTTEN_CAT.format(python=sys.executable, byte=rotten_byte))
        cat.chmod(0o755)
        force = f'export PATH={cat.parent}:$PATH; eval "$SSH_ORIGINAL_COMMAND"'
    more = f"ForceCommand {force}" if force else ""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "server").write_text(_SERVER.format(folder=folder, port=port, more=more))
    path = sshd_path()
    assert path is not None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([path, "-D", "-e", "-f", folder / "server"], stderr=log)
    try:
        _wait(process, port, folder / "log")
        yield Sshd(folder, port, f"ssh -F {folder / 'client'}")
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"sshd did not start: {log.read_text()}")
