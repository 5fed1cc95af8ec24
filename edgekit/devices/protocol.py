"""The link protocol's frames and codes; docs/PROTOCOL.md describes the conversation."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from cobs import cobs

from targets.npu.isa import Error

VERSION = 1
DATA = 256
HELLO, SIZE, WRITE, RUN = b"H", b"Z", b"W", b"R"
OUTPUT, PROFILE, LAYERS, STACK, RESET = b"O", b"P", b"L", b"S", b"I"
CHECKSUM, NOW, ACCELERATOR, GPU, TIME, TUNING = b"K", b"N", b"A", b"G", b"T", b"Y"
NAK, REFUSED, FAULT = b"!", b"?", b"F"

REFUSALS = {
    1: "it does not know this request (built without profiling, or an older version)",
    2: "the request has a wrong length",
    3: "index, offset or address out of range",
    4: "its model could not be opened",
    5: "with interrupts off its counter has too few bits for the longest layer",
    6: "its port cannot switch interrupts off",
}
#: How a profiled run is made.
RUN_COLD, RUN_BLIND = 1, 2
#: What became of it.
RAN_COLD = {1: "code cache", 2: "data cache", 8: "the board's flash accelerator"}
RAN_COLD_OFF, RAN_BLIND, RAN_UNCOUNTED, RAN_COLD_UNKNOWN = 4, 16, 32, 64
_LONGEST = 600
CLOSED = 4


@dataclass(frozen=True)
class Frame:
    """A whole, checked frame."""

    type: bytes
    seq: int
    payload: bytes


@dataclass(frozen=True)
class Fault:
    """A fault that the device reported; 0xFFFFFFFF where it does not know."""

    pc: int
    lr: int
    cfsr: int
    hfsr: int
    address: int
    sp: int

    @staticmethod
    def parse(payload: bytes) -> Fault:
        """From a FAULT frame's payload."""
        return Fault(*struct.unpack("<6I", payload))

    @property
    def accelerator(self) -> str:
        """Why the accelerator stopped, and at which command of its stream; "" for other faults."""
        if not self.cfsr >> _ACCELERATOR & 1:
            return ""
        code = self.hfsr >> 8 & 0xFF
        if code == Error.NONE:
            return "no accelerator answers at the board's accelerator_base"
        known = {e.value: e.name for e in Error}
        return f"error {known.get(code, code)} at command {self.hfsr >> 16} of its stream"

    def kinds(self) -> list[str]:
        """What the fault status registers say (Armv7-M reference manual, B3.2.15)."""
        names = [name for bit, name in _CFSR.items() if self.cfsr >> bit & 1]
        return names or ["unknown fault"]


_ACCELERATOR = 31
_CFSR = {
    0: "instruction access violation",
    1: "data access violation",
    4: "stacking failed (stack overflow)",
    8: "instruction bus error",
    9: "data bus error",
    10: "imprecise data bus error",
    12: "stacking failed (stack overflow)",
    16: "undefined instruction",
    17: "invalid state",
    18: "invalid return",
    19: "no coprocessor (the FPU is off)",
    24: "unaligned access",
    25: "division by zero",
    _ACCELERATOR: "the accelerator stopped",
}


def encode(type: bytes, seq: int, payload: bytes = b"") -> bytes:
    """One frame: 0x00 COBS(type | seq | payload | crc32) 0x00; the first zero ends any noise."""
    body = type + bytes([seq]) + payload
    return b"\0" + cobs.encode(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"


class Decoder:
    """Bytes in, whole frames out; damaged frames are counted and dropped."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.damaged = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Frames completed by `data`."""
        self._pending += data
        *parts, rest = bytes(self._pending).split(b"\0")
        self._pending = bytearray(rest[-_LONGEST:])
        frames = []
        for part in parts:
            frame = _decode(part) if part else None
            if frame:
                frames.append(frame)
            elif part:
                self.damaged += 1
        return frames


def _decode(part: bytes) -> Frame | None:
    try:
        body = cobs.decode(part)
    except cobs.DecodeError:
        return None
    if len(body) < 6 or zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
        return None
    return Frame(body[:1], body[1], body[2:-4])
