"""The virtual board: start-up, UART, cycle counter, slices, faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.devices import protocol
from edgekit.devices.emulators.virtual import VirtualBoard
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.errors import EdgekitError
from targets import Board

from ..conftest import Build


def ask(machine: VirtualBoard, type: bytes, payload: bytes = b"", seq: int = 1) -> bytes:
    machine.send(protocol.encode(type, seq, payload))
    assert machine.run()
    (frame,) = protocol.Decoder().feed(machine.take())
    return frame.payload


def test_it_runs_until_it_waits(virtual: Board, build: Build) -> None:
    machine = VirtualBoard(virtual, build(virtual).elf)
    assert machine.run()
    assert machine.take() == b""
    assert b"0.1.0\0aot\0dwt\0" in ask(machine, protocol.HELLO, b"\1")
    functions = machine.by_function()
    assert functions["Reset_Handler"].instructions > 1000
    assert sum(c.instructions for c in functions.values()) == machine.counts.instructions
    assert sum(c.cycles for c in functions.values()) == machine.counts.cycles


def test_slices_change_nothing(virtual: Board, build: Build) -> None:
    image = load_elf(build(virtual).elf)
    whole, sliced = VirtualBoard(virtual, image), VirtualBoard(virtual, image)
    assert whole.run()
    slices = 0
    while not sliced.run(limit=37):
        slices += 1
    assert slices > 100
    assert whole.counts == sliced.counts
    assert ask(whole, protocol.HELLO) == ask(sliced, protocol.HELLO)
    assert ask(whole, protocol.RUN) == ask(sliced, protocol.RUN)


def test_the_cycle_counter_counts_the_estimate(virtual: Board, build: Build) -> None:
    """Ticks that the firmware measures around the model are the model's cycles."""
    machine = VirtualBoard(virtual, build(virtual, profile=False).elf)
    machine.run()
    assert "ek_app_invoke" not in machine.by_function()
    ticks = int.from_bytes(ask(machine, protocol.RUN)[4:], "little")
    counted = machine.by_function()["ek_app_invoke"].cycles
    assert abs(ticks - counted) <= 8  # the call itself


def test_without_a_cycle_counter_it_says_so(virtual: Board, build: Build) -> None:
    board = replace(virtual, counters=("systick",))
    built = replace(virtual, counters=("dwt",))
    machine = VirtualBoard(board, build(built).elf)
    machine.run()
    assert ask(machine, protocol.HELLO, b"\1").endswith(b"none\0")
    assert ask(machine, protocol.RUN)[4:] == bytes(8)


def test_a_bundle_lies_aligned_in_flash(virtual: Board, build: Build, tmp_path: Path) -> None:
    blob = tmp_path / "model.ekb"
    blob.write_bytes(b"EKBUNDLE" + bytes(range(256)) * 40)
    firmware = build(virtual, defines={"FAKE_BUNDLE": ""}, blob=blob)
    assert firmware.sizes.sections[".rodata"] >= 10248
    machine = VirtualBoard(virtual, firmware.elf)
    machine.run()
    payload = ask(machine, protocol.HELLO, b"\1")
    assert b"EKBUNDLE" in payload
    assert int.from_bytes(payload[13:17], "little") == 10248
    assert firmware.build_id.to_bytes(8, "little") in payload


def test_faults_and_empty_flash(virtual: Board, build: Build) -> None:
    with pytest.raises(EdgekitError, match="has no program") as caught:
        VirtualBoard(virtual, FlashImage(()))
    assert caught.value.code == "E606"
    machine = VirtualBoard(virtual, build(virtual, defines={"FAKE_FAULT": ""}).elf)
    machine.run()
    machine.send(protocol.encode(protocol.RUN, 1))
    with pytest.raises(EdgekitError, match=r"stopped at ek_app_invoke"):
        machine.run()


def test_a_program_that_never_listens(virtual: Board, build: Build) -> None:
    machine = VirtualBoard(virtual, build(virtual).elf)
    with pytest.raises(EdgekitError, match="does not read its UART"):
        machine.send(bytes(70000))


def test_resynchronises_after_any_noise(virtual: Board, build: Build) -> None:
    machine = VirtualBoard(virtual, build(virtual).elf)
    machine.run()
    for noise in (b"\xff" * 1000, b"\0" * 9, bytes(range(1, 256)), b"\x05ab\0\x01\x01\0"):
        machine.send(noise)
        machine.run()
        machine.take()
        machine.send(protocol.encode(protocol.HELLO, 3))
        assert machine.run()
        frames = protocol.Decoder().feed(machine.take())
        assert (frames[-1].type, frames[-1].seq) == (b"h", 3)
        assert all(f.type == protocol.NAK for f in frames[:-1])
