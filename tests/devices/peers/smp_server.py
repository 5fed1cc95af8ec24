"""A device with MCUboot and an SMP server, written after Zephyr's and MCUboot's documents.

Zephyr, doc/services/device_mgmt: smp_protocol, smp_transport, smp_groups 0 and 1. MCUboot,
docs/design.md: image format, and when it swaps slots. Only cbor2 is used, none of the clients.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import cbor2
from devices.peers import Proof, peer_board

from edgekit.devices.routes import Access
from targets import Board

READ, WRITE = 0, 2
ENOTSUP, EINVAL = 8, 3
TOO_LARGE, BAD_STATE_HASH = 30, 8
START, SIZE, HEADER = 0x2_1000, 0x2_0000, 0x1000


@dataclass
class Faults:
    """What goes wrong until it is mended.

    Attributes:
        worn: a byte of slot 1 that is stored with a bit lost.
        deaf_after: bytes of images after which the device does not answer any more.
        lost: requests, counted from 0, whose answers are lost.
        noisy: requests whose answers have a wrong CRC (serial).
    """

    worn: int | None = None
    deaf_after: int | None = None
    lost: set[int] = field(default_factory=set)
    noisy: set[int] = field(default_factory=set)


def parse_image(slot: bytes) -> tuple[str, bytes, bytes] | None:
    """Version, hash, and what is hashed, of the image in a slot; None where there is none."""
    magic, _, header, protected, size = struct.unpack_from("<IIHHI", slot)
    at = header + size + protected
    if magic != 0x96F3B83D or at + 4 > len(slot):
        return None
    info, length = struct.unpack_from("<HH", slot, at)
    end, tlv = at + length, at + 4
    while info == 0x6907 and tlv + 4 <= min(end, len(slot)):
        kind, length = struct.unpack_from("<HH", slot, tlv)
        if kind == 0x10:
            major, minor, revision, build = struct.unpack_from("<BBHI", slot, 20)
            version = f"{major}.{minor}.{revision}" + (f".{build}" if build else "")
            return version, slot[tlv + 4 : tlv + 4 + length], slot[:at]
        tlv += 4 + length
    return None


class Device:
    """Two slots and the state of an upload.

    Args:
        checks: whether the end of an upload is answered with `match` (IMG_ENABLE_IMAGE_CHECK).
        recovery: MCUboot's serial recovery: uploads go to slot 0, and nothing can be selected.
    """

    def __init__(self, checks: bool = True, recovery: bool = False) -> None:
        self.checks, self.recovery = checks, recovery
        self.slots = [bytearray(b"\xff" * SIZE), bytearray(b"\xff" * SIZE)]
        self.faults = Faults()
        self.requests = self.received = self.resets = 0
        self.offset, self.length, self.sha = 0, 0, b""
        self.pending = self.permanent = False
        self.confirmed = True

    # ---- SMP

    def handle(self, packet: bytes) -> bytes | None:
        """The answer to a request (header and CBOR), None for silence."""
        op, _, length, group, sequence, command = struct.unpack_from(">BBHHBB", packet)
        body = cbor2.loads(packet[8 : 8 + length]) if length else {}
        index, self.requests = self.requests, self.requests + 1
        limit = self.faults.deaf_after
        if limit is not None and self.received >= limit:
            return None
        answer = self._answer(op & 7, group, command, body, version=op >> 3 & 3)
        if index in self.faults.lost:
            return None
        data = cbor2.dumps(answer)
        head = (op & 7) + 1 | op & 0x18
        return struct.pack(">BBHHBB", head, 0, len(data), group, sequence, command) + data

    def _answer(
        self, op: int, group: int, command: int, body: dict[str, Any], version: int
    ) -> dict[str, Any]:
        if (group, command) == (0, 6) and not self.recovery:
            return {"buf_size": 512, "buf_count": 4}
        if (group, command, op) == (0, 5, WRITE):
            self.reset()
            return {}
        if (group, command, op) == (1, 0, READ):
            return {"images": self.images(), "splitStatus": 0}
        if (group, command, op) == (1, 0, WRITE) and not self.recovery:
            return self._select(body, version)
        if (group, command, op) == (1, 1, WRITE):
            return self._upload(body, version)
        return {"rc": ENOTSUP}

    @staticmethod
    def _error(code: int, version: int) -> dict[str, Any]:
        return {"err": {"group": 1, "rc": code}} if version else {"rc": EINVAL}

    def images(self) -> list[dict[str, Any]]:
        found = []
        for number, slot in enumerate(self.slots):
            image = parse_image(bytes(slot))
            if image is None:
                continue
            entry: dict[str, Any] = {"slot": number, "version": image[0]}
            if not self.recovery:
                second = number == 1
                entry |= {
                    "hash": image[1], "bootable": True,
                    "pending": second and self.pending,
                    "permanent": second and self.permanent,
                    "active": not second, "confirmed": not second and self.confirmed,
                }  # fmt: skip
            found.append(entry)
        return found

    def _select(self, body: dict[str, Any], version: int) -> dict[str, Any]:
        image = parse_image(bytes(self.slots[1]))
        if image is None or body.get("hash") != image[1]:
            return self._error(BAD_STATE_HASH, version)
        self.pending, self.permanent = True, bool(body.get("confirm"))
        return {"images": self.images()}

    def _upload(self, body: dict[str, Any], version: int) -> dict[str, Any]:
        slot = self.slots[0 if self.recovery else 1]
        data, offset = bytes(body["data"]), int(body["off"])
        if offset == 0:
            if int(body["len"]) > SIZE:
                return self._error(TOO_LARGE, version)
            known = body.get("sha", b"")
            resumes = bool(known) and known == self.sha and 0 < self.offset < self.length
            if resumes and not self.recovery:
                return {"off": self.offset}
            self.offset, self.length, self.sha = 0, int(body["len"]), known
            slot[:] = b"\xff" * SIZE
            self.pending = False
        if offset != self.offset:
            return {"off": self.offset}
        self.received += len(data)
        slot[offset : offset + len(data)] = data
        worn = self.faults.worn
        if worn is not None and offset <= worn < offset + len(data):
            slot[worn] ^= 4
        self.offset += len(data)
        answer: dict[str, Any] = {"rc": 0} if not version else {}
        answer["off"] = self.offset
        if self.offset == self.length and self.checks and not self.recovery:
            answer["match"] = hashlib.sha256(bytes(slot[: self.length])).digest() == self.sha
            self.sha = b""
        return answer

    # ---- MCUboot

    def reset(self) -> None:
        """Swap where an image is pending and whole, or back where one was only tested."""
        self.resets += 1
        if self.pending:
            image = parse_image(bytes(self.slots[1]))
            if image and hashlib.sha256(image[2]).digest() == image[1]:
                self.slots.reverse()
                self.confirmed = self.permanent
        elif not self.confirmed:
            self.slots.reverse()
            self.confirmed = True
        self.pending = False

    def program(self) -> bytes | None:
        """What runs from slot 0 on, past the header; None where MCUboot refuses to start it."""
        image = parse_image(bytes(self.slots[0]))
        if image is None or hashlib.sha256(image[2]).digest() != image[1]:
            return None
        return image[2][HEADER:]


# ---- transports

#: Serves a device; returns the port to name, and what stops it.
Serve = Callable[[Device], tuple[str, Callable[[], None]]]


def serve_udp(device: Device) -> tuple[str, Callable[[], None]]:
    """Answer datagrams; returns the address, and what stops it."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(0.1)
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                packet, client = server.recvfrom(65536)
                if (answer := device.handle(packet)) is not None:
                    server.sendto(answer, client)

    return f"udp://127.0.0.1:{server.getsockname()[1]}", _run(loop, stop, server.close)


def serve_serial(device: Device) -> tuple[str, Callable[[], None]]:
    """Answer frames of the console transport on a pseudo-terminal, among lines of a log."""
    import tty

    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()
    packet = bytearray()

    def loop() -> None:
        pending = b""
        while not stop.is_set():
            if not select.select([master], [], [], 0.1)[0]:
                continue
            with contextlib.suppress(OSError):
                pending += os.read(master, 4096)
            *lines, pending = pending.split(b"\n")
            for line in lines:
                _line(device, packet, line, master)

    def close() -> None:
        os.close(master)
        os.close(slave)

    return os.ttyname(slave), _run(loop, stop, close)


def _line(device: Device, packet: bytearray, line: bytes, out: int) -> None:
    """One frame of a request; after its last, the answer."""
    if line[:2] == b"\x06\x09":
        packet.clear()
    elif line[:2] != b"\x04\x14":
        return
    packet += base64.b64decode(line[2:])
    (length,) = struct.unpack_from(">H", packet)
    if len(packet) < 2 + length:
        return
    body = bytes(packet[2 : 2 + length])
    if binascii.crc_hqx(body, 0) != 0:
        return
    index = device.requests
    answer = device.handle(body[:-2])
    if answer is not None:
        os.write(out, b"[00:01] <inf> a line of the log\r\n")
        os.write(out, frames(answer, damaged=index in device.faults.noisy))


def frames(packet: bytes, damaged: bool = False) -> bytes:
    """A packet in frames of 127 bytes."""
    crc = binascii.crc_hqx(packet, 0) ^ damaged
    body = base64.b64encode(struct.pack(">H", len(packet) + 2) + packet + struct.pack(">H", crc))
    parts = [body[i : i + 124] for i in range(0, len(body), 124)]
    marks = [b"\x06\x09", *[b"\x04\x14"] * (len(parts) - 1)]
    return b"".join(mark + part + b"\n" for mark, part in zip(marks, parts, strict=True))


def _run(
    loop: Callable[[], None], stop: threading.Event, close: Callable[[], None]
) -> Callable[[], None]:
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(5)
        close()

    return end


# ---- proofs


@dataclass
class Board_:
    """See `devices.peers.Peer`."""

    board: Board
    access: Access
    device: Device

    def content(self, address: int, size: int) -> bytes:
        running = self.device.program() or b""
        return running[address - START : address - START + size]

    def mend(self) -> None:
        self.device.faults = Faults()


@contextlib.contextmanager
def start(serve: Serve, variant: str = "whole", **options: bool) -> Iterator[Board_]:
    """A device behind one of the transports; answers are waited for shortly."""
    from edgekit.devices.clients import smp

    device = Device(**options)
    if variant == "corrupted":
        device.faults.worn = HEADER + 1234
    if variant == "cut":
        device.faults.deaf_after = 5000
    port, stop = serve(device)
    on = peer_board("smp", START, SIZE - HEADER, settings={"slot_size": SIZE})
    try:
        with mock.patch.multiple(smp, ANSWER=0.2, ERASE=0.3):
            yield Board_(on, Access(route="smp", port=port), device)
    finally:
        stop()


def _proof(name: str, serve: Serve) -> Proof:
    def begin(_folder: Path, variant: str) -> contextlib.AbstractContextManager[Board_]:
        return start(serve, variant)

    return Proof("smp", begin, name=name)


PROOFS = (_proof("smp", serve_udp), _proof("smp-serial", serve_serial))
