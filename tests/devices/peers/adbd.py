"""A phone's end of the Android Debug Bridge over TCP, for the real `adb` command.

After AOSP's protocol.txt, SYNC.TXT and shell_protocol.h. Commands run on this machine, in mksh with
toybox, which are Android's; paths are this machine's.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from unittest import mock

from devices.peers import Proof
from devices.peers.linux import BYTE, program
from devices.peers.listener import Listener

from edgekit.devices.routes import Access
from targets import Board, board, target

_VERSION, _MAX = 0x01000001, 256 * 1024
_TOKEN, _PUBLIC_KEY = 1, 3
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)


def _word(name: str) -> int:
    return int.from_bytes(name.encode(), "little")


#: Android's commands that the route may use.
_TOYBOX = ("cat", "chmod", "env", "mkdir", "mv", "sha256sum", "sync", "uname")
_UNAME = '#!{shell}\n[ "$1" = -m ] && echo aarch64 || echo Linux\n'
_PRELOADED = Path(__file__).parent / "programs" / "exec_arm64.c"
COMMANDS = ("adb", "mksh", "toybox")
CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = map(_word, ("CNXN", "AUTH", "OPEN", "OKAY", "CLSE", "WRTE"))


class Adbd:
    """Listens on `port` of this machine until `close`.

    Args:
        folder: for its commands.
        features: of shell_v2, cmd, stat_v2, ...
        arm64: it runs programs for AArch64, in qemu-aarch64.
        trusts: False is a phone whose owner has not yet allowed this computer.
        rotten_byte: of every file that is pushed, the byte that loses a bit.
        cut_after: bytes of a push after which the connection breaks, each time.
        cut_output_after: the same for what a command writes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        features: str = "shell_v2,cmd,stat_v2",
        arm64: bool = False,
        trusts: bool = True,
        rotten_byte: int | None = None,
        cut_after: int | None = None,
        cut_output_after: int | None = None,
    ) -> None:
        self.features, self.trusts = features, trusts
        self.environment = _environment(folder, arm64)
        self.rotten_byte, self.cut_after = rotten_byte, cut_after
        self.cut_output_after = cut_output_after
        self._connections: list[socket.socket] = []
        self.pushes = 0
        self._listener = Listener(self._talk)
        self.serial = f"127.0.0.1:{self._listener.port}"

    def _talk(self, connection: socket.socket) -> None:
        self._connections.append(connection)
        _Connection(self, connection).serve()

    def drop(self) -> None:
        """Break the connection."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Nothing rots or breaks any more."""
        self.rotten_byte = self.cut_after = self.cut_output_after = None

    def close(self) -> None:
        self._listener.close()
        self.drop()


def _environment(folder: Path, arm64: bool) -> dict[str, str]:
    """The variables of the phone's shell; its commands are links in `folder`."""
    commands = folder / "bin"
    commands.mkdir(parents=True)
    for name in _TOYBOX:
        (commands / name).symlink_to(shutil.which("toybox") or "")
    shell = commands / "sh"
    shell.symlink_to(shutil.which("mksh") or "")
    found = {**os.environ, "PATH": str(commands)}
    if arm64:
        (commands / "uname").unlink()
        (commands / "uname").write_text(_UNAME.format(shell=shell))
        (commands / "uname").chmod(0o755)
        preloaded = folder / "exec_arm64.so"
        compiled = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(preloaded), str(_PRELOADED)]
        subprocess.run(compiled, check=True, timeout=60)
        found |= {"LD_PRELOAD": str(preloaded), "QEMU_AARCH64": shutil.which("qemu-aarch64") or ""}
    return found


class _Connection:
    """One transport: messages of 24 bytes and their data, for any number of streams."""

    def __init__(self, phone: Adbd, connection: socket.socket) -> None:
        self.phone, self._socket = phone, connection
        self._lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}

    def serve(self) -> None:
        try:
            while head := self._exactly(24):
                command, a, b, size, _sum, magic = struct.unpack("<6I", head)
                assert magic == command ^ 0xFFFFFFFF
                self._take(command, a, b, self._exactly(size))
        except (OSError, EOFError):
            pass
        for stream in list(self._streams.values()):
            stream.end()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def send(self, command: int, a: int, b: int, data: bytes = b"") -> None:
        head = struct.pack("<6I", command, a, b, len(data), sum(data), command ^ 0xFFFFFFFF)
        with self._lock:
            self._socket.sendall(head + data)

    def _take(self, command: int, a: int, b: int, data: bytes) -> None:
        if command == CNXN and self.phone.trusts:
            about = f"device::ro.product.name=double;features={self.phone.features}"
            self.send(CNXN, _VERSION, _MAX, about.encode())
        elif command == CNXN or (command == AUTH and a != _PUBLIC_KEY):
            self.send(AUTH, _TOKEN, 0, bytes(20))
        elif command == OPEN:
            mine = len(self._streams) + 1
            self._streams[mine] = _Stream(self, mine, a, data.rstrip(b"\0").decode())
        elif command == WRTE:
            self._streams[b].arrived.put(data)
            self.send(OKAY, b, a)
        elif command == OKAY:
            self._streams[b].ready.release()
        elif command == CLSE and b in self._streams:
            self._streams[b].end()

    def cut(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        raise EOFError


class _Stream:
    """One service; it has a thread of its own."""

    def __init__(self, connection: _Connection, mine: int, other: int, service: str) -> None:
        self._connection, self._mine, self._other = connection, mine, other
        self.arrived: queue.Queue[bytes] = queue.Queue()
        self.ready = threading.Semaphore(1)
        self._rest, self._ended = b"", False
        self._on_end: Callable[[], None] = lambda: None
        kind, _, what = service.partition(":")
        serve: Callable[[], None] | None = None
        if kind == "sync":
            serve = self._sync
        elif kind.split(",")[:2] == ["shell", "v2"] and "raw" in kind.split(","):
            serve = lambda: self._shell(what)  # noqa: E731
        if serve is None:
            connection.send(CLSE, 0, other)
            return
        connection.send(OKAY, mine, other)
        threading.Thread(target=self._run, args=(serve,), daemon=True).start()

    def _run(self, serve: Callable[[], None]) -> None:
        with contextlib.suppress(EOFError, OSError):
            serve()
        with contextlib.suppress(OSError):
            self._connection.send(CLSE, self._mine, self._other)

    def end(self) -> None:
        """The other end is gone."""
        self._ended = True
        self.arrived.put(b"")
        self.ready.release()
        self._on_end()

    def _write(self, data: bytes) -> None:
        for at in range(0, len(data), _MAX):
            self.ready.acquire()
            if self._ended:
                raise EOFError
            self._connection.send(WRTE, self._mine, self._other, data[at : at + _MAX])

    def _read(self, size: int) -> bytes:
        while len(self._rest) < size:
            part = self.arrived.get()
            if not part:
                raise EOFError
            self._rest += part
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def _shell(self, command: str) -> None:
        """shell_protocol.h: packets of a kind, a length, and data."""
        process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            bufsize=0, env=self._connection.phone.environment, start_new_session=True,
        )  # fmt: skip
        # So does adbd, where the connection breaks.
        self._on_end = lambda: process.send_signal(signal.SIGHUP)
        assert process.stdin and process.stdout and process.stderr
        pumps = [
            threading.Thread(target=self._pump, args=(_STDOUT, process.stdout.fileno())),
            threading.Thread(target=self._pump, args=(_STDERR, process.stderr.fileno())),
        ]
        threading.Thread(target=self._feed, args=(process.stdin,), daemon=True).start()
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        status = process.wait()
        self._on_end = lambda: None
        process.stdout.close()
        process.stderr.close()
        self._write(struct.pack("<BIB", _EXIT, 1, status if status >= 0 else 128 - status))

    def _pump(self, kind: int, source: int) -> None:
        phone, count = self._connection.phone, 0
        with contextlib.suppress(EOFError, OSError):
            while data := os.read(source, 1024):
                self._write(struct.pack("<BI", kind, len(data)) + data)
                count += len(data)
                if phone.cut_output_after is not None and count > phone.cut_output_after:
                    self._connection.cut()

    def _feed(self, sink: IO[bytes]) -> None:
        with contextlib.suppress(EOFError, OSError), sink:
            while True:
                kind, size = struct.unpack("<BI", self._read(5))
                data = self._read(size)
                if kind == _CLOSE_STDIN:
                    break
                if kind == _STDIN:
                    sink.write(data)

    def _sync(self) -> None:
        """SYNC.TXT: requests with a path, until QUIT."""
        while True:
            kind, size = self._read(4).decode(), int.from_bytes(self._read(4), "little")
            if kind == "QUIT":
                return
            path = self._read(size).decode()
            if kind == "STAT":
                found = _stat(path)
                fields = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
                self._write(b"STAT" + struct.pack("<3I", *fields))
            elif kind in ("STA2", "LST2"):
                self._write(kind.encode() + _stat_v2(_stat(path)))
            elif kind == "SEND":
                self._take_file(Path(path.rpartition(",")[0]))
            else:
                raise AssertionError(f"not expected of adb: {kind}")

    def _take_file(self, path: Path) -> None:
        phone, data = self._connection.phone, bytearray()
        phone.pushes += 1
        for part in self._parts():
            data += part
            if phone.cut_after is not None and len(data) > phone.cut_after:
                self._connection.cut()
        if phone.rotten_byte is not None:
            data[phone.rotten_byte] ^= 4
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_symlink():  # which leads to /dev/full
                path.unlink(missing_ok=True)
            path.write_bytes(data)
        except OSError as error:
            said = f"couldn't create file: {error.strerror}".encode()
            self._write(b"FAIL" + struct.pack("<I", len(said)) + said)
        else:
            self._write(b"OKAY" + bytes(4))

    def _parts(self) -> Iterator[bytes]:
        while True:
            kind, size = self._read(4), int.from_bytes(self._read(4), "little")
            if kind == b"DONE":  # the size is the time of its last change
                return
            assert kind == b"DATA"
            yield self._read(size)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _stat_v2(found: os.stat_result | None) -> bytes:
    fields = "<IQQIIIIQqqq"
    if found is None:
        return struct.pack(fields, 2, *[0] * 10)  # ENOENT
    numbers = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_size)
    times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
    return struct.pack(fields, 0, found.st_dev, found.st_ino, *numbers, *times)


class AdbServer:
    """adb's server on a port of its own, with keys and logs of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # No search for emulators on this machine.
        own = f"HOME={folder} TMPDIR={folder} ADB_LOCAL_TRANSPORT_MAX_PORT=0"
        self.command = f"env -u ANDROID_SERIAL {own} adb -P {port}"

    def say(self, *arguments: str) -> str:
        command = [*shlex.split(self.command), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout

    @contextlib.contextmanager
    def phone(self, folder: Path, *, connected: bool = True, **options: Any) -> Iterator[Adbd]:
        phone = Adbd(folder, **options)
        try:
            if connected:
                self.say("connect", phone.serial)
            yield phone
        finally:
            self.say("disconnect", phone.serial)
            phone.close()


@contextlib.contextmanager
def start_adb(folder: Path) -> Iterator[AdbServer]:
    """adb starts it by itself; this ends it."""
    server = AdbServer(folder)
    server.say("start-server")
    try:
        yield server
    finally:
        server.say("kill-server")


@dataclass
class _Proven:
    """See `devices.peers.Peer`."""

    board: Board
    access: Access
    path: Path
    mend: Callable[[], None]

    def content(self, address: int, size: int) -> bytes:
        return self.path.read_bytes()[address : address + size]


@contextlib.contextmanager
def _start(folder: Path, variant: str) -> Iterator[_Proven]:
    """A pushed file loses a bit, or every push breaks off in its middle."""
    on = phone_board(folder / "programs")
    options: dict[str, Any] = {
        "corrupted": {"rotten_byte": BYTE}, "cut": {"cut_after": BYTE}, "whole": {},
    }[variant]  # fmt: skip
    with (
        start_adb(folder) as server,
        server.phone(folder / "phone", **options) as phone,
        mock.patch.dict(os.environ, EDGEKIT_ADB_COMMAND=server.command),
    ):
        access = Access(route="adb", port=phone.serial)
        yield _Proven(on, access, folder / "programs" / on.name, phone.mend)


def phone_board(folder: Path) -> Board:
    """A phone that runs programs of this machine, and keeps them in `folder`."""
    own = target(board("linux-local").target.name)
    settings = {"adb": {"folder": str(folder)}}
    return replace(board("android-arm64"), target=own, settings=settings)


PROOFS = (Proof("adb", _start, program=program, commands=COMMANDS),)
