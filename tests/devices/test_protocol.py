"""Framing: what goes in comes out, and what was damaged never does."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from edgekit.devices import protocol
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.protocol import Decoder, Frame
from edgekit.devices.status import STATUS, describe

PAYLOADS = st.one_of(
    st.binary(max_size=272),
    st.integers(250, 258).map(lambda n: b"\1" * n),
    st.integers(0, 272).map(bytes),
)


@given(PAYLOADS, st.integers(0, 255), st.lists(st.integers(1, 40), max_size=20))
def test_frames_survive_any_cutting(payload: bytes, seq: int, cuts: list[int]) -> None:
    raw = b"noise" + protocol.encode(b"W", seq, payload) + protocol.encode(b"R", seq)
    decoder, frames, start = Decoder(), [], 0
    for cut in cuts:
        frames += decoder.feed(raw[start : start + cut])
        start += cut
    frames += decoder.feed(raw[start:])
    assert frames == [Frame(b"W", seq, payload), Frame(b"R", seq, b"")]
    assert decoder.damaged == 1


@given(PAYLOADS, st.data())
def test_a_damaged_frame_is_dropped_and_the_next_one_read(
    payload: bytes, data: st.DataObject
) -> None:
    raw = bytearray(protocol.encode(b"W", 7, payload))
    where = data.draw(st.integers(1, len(raw) - 2))
    action = data.draw(st.sampled_from(["flip", "drop", "double"]))
    if action == "flip":
        raw[where] ^= 1 << data.draw(st.integers(0, 7))
    elif action == "drop":
        del raw[where]
    else:
        raw.insert(where, raw[where])
    frames = Decoder().feed(bytes(raw) + protocol.encode(b"R", 8))
    assert frames[-1] == Frame(b"R", 8, b"")
    assert frames[:-1] in ([], [Frame(b"W", 7, payload)])  # doubling a zero-run byte can be benign


@given(st.binary(max_size=2000))
def test_noise_is_bounded(noise: bytes) -> None:
    decoder = Decoder()
    decoder.feed(noise.replace(b"\0", b"\1") * 3)
    assert len(decoder._pending) <= 600
    assert decoder.feed(protocol.encode(b"R", 1))[-1] == Frame(b"R", 1, b"")


def test_both_ends_agree_on_codes() -> None:
    header = (firmware_folder() / "device" / "ek_link.h").read_text()
    names = ("HELLO", "SIZE", "WRITE", "RUN", "OUTPUT", "PROFILE", "LAYERS", "STACK", "RESET")
    names += ("ACCELERATOR", "GPU", "TIME", "TUNING", "CHECKSUM", "NOW", "NAK", "REFUSED", "FAULT")
    letters = dict(re.findall(r"EK_LINK_(\w+) = '(.)'", header))
    assert letters == {name: getattr(protocol, name).decode() for name in names}
    assert int(re.findall(r"EK_LINK_VERSION (\d+)u", header)[0]) == protocol.VERSION
    assert int(re.findall(r"EK_LINK_DATA (\d+)u", header)[0]) == protocol.DATA
    refusals = re.findall(r"EK_LINK_REFUSED_\w+ = (\d+)", header)
    assert [int(n) for n in refusals] == list(protocol.REFUSALS)
    how = dict(re.findall(r"EK_LINK_(RUN_COLD|RUN_BLIND|RAN_\w+) = (\d+)", header))
    numbers = {"RAN_COLD_CODE": 1, "RAN_COLD_DATA": 2, "RAN_COLD_BOARD": 8}
    assert {name: int(n) for name, n in how.items()} == {
        **{name: getattr(protocol, name) for name in how if name not in numbers},
        **numbers,
    }
    assert list(protocol.RAN_COLD) == list(numbers.values())
    port = (firmware_folder() / "ports" / "ek_port.h").read_text()
    for name, number in re.findall(r"EK_(COLD_\w+) = (\d+)", port):
        assert how[f"RAN_{name}"] == number


def test_status_names_are_the_runtimes() -> None:
    header = (firmware_folder() / "include" / "ek_status.h").read_text()
    body = re.search(r"typedef enum \{(.*?)\}", header, re.DOTALL)
    assert body
    codes = {int(code): name for name, code in re.findall(r"EK_(\w+) = (\d+)", body[1])}
    assert codes == {code: name for code, (name, _) in STATUS.items()}
    assert describe(4).startswith("4 CHECKSUM")
    assert "UNKNOWN" in describe(99)


def test_a_fault_of_the_accelerator_names_its_error() -> None:
    fault = protocol.Fault(0x40, 0, 1 << 31, 12 << 16 | 4 << 8 | 4, 0, 0)
    assert fault.kinds() == ["the accelerator stopped"]
    assert fault.accelerator == "error ADDRESS at command 12 of its stream"
    assert protocol.Fault(0x40, 0, 1 << 16, 2, 0, 0).accelerator == ""
    absent = protocol.Fault(0x40, 0, 1 << 31, 0, 0, 0).accelerator
    assert absent == "no accelerator answers at the board's accelerator_base"
