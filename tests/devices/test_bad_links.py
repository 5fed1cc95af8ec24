"""What a line loses, doubles, damages or invents delays a conversation and changes no figure.

The virtual board is deterministic: over a bad line every figure is that of a good line, or there
is an error.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.devices import protocol
from edgekit.devices.firmware.build import build_firmware
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.links.link import Link
from edgekit.devices.profiling import ticks_now
from edgekit.devices.session import Session
from edgekit.errors import EdgekitError
from targets import board

from .conftest import APP
from .odd_boards import OddBoard, OddLink

BOARD = board("virtual-cortex-m4")
BYTES = 300
INPUT = bytes(i * 7 & 255 for i in range(BYTES))
KINDS = ("drop", "flip", "insert", "zero", "double the chunk", "cut the chunk", "lose the chunk")


@dataclass(frozen=True)
class Damage:
    """`kind` happens to the byte `after` bytes further on in that direction."""

    to_board: bool
    after: int
    kind: str
    value: int


class DamagedLink:
    """A line on which all that is in a list of damages happens, in order of each direction."""

    def __init__(self, link: Link, damages: list[Damage]) -> None:
        self.link = link
        self.waiting = {way: [d for d in damages if d.to_board == way] for way in (True, False)}
        self.passed = Counter[bool]()
        self.happened = Counter[str]()

    def _carry(self, way: bool, data: bytes) -> bytes:
        out = bytearray()
        for i, byte in enumerate(data):
            queue = self.waiting[way]
            if not queue or self.passed[way] < queue[0].after:
                self.passed[way] += 1
                out.append(byte)
                continue
            damage, self.passed[way] = queue.pop(0), 0
            self.happened[damage.kind] += 1
            if damage.kind == "double the chunk":
                return bytes(out) + data[i:] + data
            if damage.kind == "cut the chunk":
                return bytes(out)
            if damage.kind == "lose the chunk":
                return b""
            out += {
                "drop": b"",
                "flip": bytes([byte ^ 1 << damage.value % 8]),
                "insert": bytes([damage.value, byte]),
                "zero": bytes([0, byte]),
            }[damage.kind]
        return bytes(out)

    def write(self, data: bytes) -> None:
        self.link.write(self._carry(True, data))

    def read(self, seconds: float) -> bytes:
        return self._carry(False, self.link.read(seconds))

    def where(self, address: int) -> str:
        return self.link.where(address)

    def close(self) -> None:
        self.link.close()


@cache
def image() -> FlashImage:
    options = {"FAKE_BYTES": f"{BYTES}u", "FAKE_LOOPS": "2u", "FAKE_JITTER": "3u"}
    return load_elf(build_firmware([APP], BOARD, defines=options).elf)


def conversation(damages: list[Damage]) -> tuple[list[Any], DamagedLink]:
    """Every kind of request; what was learned, up to the error that ended it."""
    link = DamagedLink(OddLink(OddBoard(BOARD, image())), damages)
    learned: list[Any] = []
    start, code = image().segments[0]
    with Session(BOARD, link, timeout=0.02) as session:
        try:
            learned.append(session.hello())
            learned.append(session.checksum(start, len(code)))
            learned.append(session.run([INPUT]))  # counts runs: none is made twice
            learned.append(session.profile([INPUT], repeat=3, warm_up=1))
            learned.append(session.outputs())
            learned.append(session.profile([INPUT], 2, cold=True, interrupts_off=True))
            session.reset()
            learned.append(session.invoke())
            learned.append(session.sizes("outputs"))
            before = ticks_now(session)
            learned.append(before < ticks_now(session))
            learned.append(session.stack_used()[1])
            learned.append(session.run([INPUT]))
        except EdgekitError as error:
            assert error.code in ("E607",), error
            learned.append(error)
    return learned, link


@cache
def honest() -> list[Any]:
    learned, _ = conversation([])
    assert learned[1] == zlib.crc32(image().segments[0][1])
    assert [x[1] for x in (learned[2], learned[4], learned[-1])] == [b"\1", b"\5", b"\x0a"]
    return learned


def damage(most: int) -> st.SearchStrategy[Damage]:
    return st.builds(
        Damage, st.booleans(), st.integers(0, most), st.sampled_from(KINDS), st.integers(0, 255)
    )


@given(st.lists(damage(250), max_size=40))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_bad_line_tells_no_other_figures(damages: list[Damage]) -> None:
    learned, _ = conversation(damages)
    if isinstance(learned[-1], EdgekitError):
        learned.pop()
    else:
        assert len(learned) == len(honest())
    assert learned == honest()[: len(learned)]


@pytest.mark.parametrize("to_board", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_damage_is_survived(kind: str, to_board: bool) -> None:
    """Every 400 bytes: the longest frames arrive at the second attempt."""
    learned, link = conversation([Damage(to_board, 400, kind, 1 + i % 255) for i in range(200)])
    assert learned == honest()
    assert link.happened[kind] >= 3


def test_a_line_of_noise_is_an_error() -> None:
    learned, _ = conversation([Damage(False, 3, "flip", i) for i in range(5000)])
    (error,) = learned
    assert isinstance(error, EdgekitError) and error.code == "E607"
    assert "damaged frames came" in error.details[0]


@given(st.binary(max_size=600), st.integers(0, 255))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_device_resynchronises_after_any_noise(noise: bytes, seq: int) -> None:
    """Whatever came before, the next whole request is answered, once and rightly."""
    machine = _shared()
    machine.send(noise)
    machine.run()
    machine.take()
    machine.send(protocol.encode(protocol.HELLO, seq, b"\1"))
    assert machine.run()
    frames = protocol.Decoder().feed(machine.take())
    assert [(f.type, f.seq) for f in frames if f.type != protocol.NAK] == [(b"h", seq)]


@cache
def _shared() -> OddBoard:
    machine = OddBoard(BOARD, image())
    machine.run()
    return machine
