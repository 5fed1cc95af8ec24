"""sim-ecp5-soc: CPU, bus, memory and UART of the simulated system-on-chip run the firmware."""

from __future__ import annotations

import importlib.util
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.devices.firmware.build import Firmware, build_firmware, firmware_folder
from edgekit.devices.firmware.image import load_elf, load_symbols
from edgekit.devices.flash import flash
from edgekit.devices.routes.verilator import SimulatedLink
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from targets import Board, board

from .conftest import Build
from .test_session import INPUT, OUTPUT

PROBE = Path(__file__).parent / "app" / "probe_app.c"
READ, WRITE, COPY, ILLEGAL, UNALIGNED, JUMP, STREAM, PEEK = range(8)
HEAD, BYTES = 32, 1024
LINE_WORDS, LATENCY = 8, 10


@pytest.fixture(scope="module")
def soc() -> Board:
    return board("sim-ecp5-soc")


@pytest.fixture(scope="module")
def probe(soc: Board) -> Firmware:
    return build_firmware([PROBE, firmware_folder() / "npu" / "ek_npu_driver.c"], soc)


@pytest.fixture
def session(soc: Board, probe: Firmware) -> Iterator[Session]:
    with connect(soc, elf=probe.elf) as opened:
        yield opened


def ask(session: Session, *words: int) -> tuple[int, ...]:
    """What the probe answers: its results; the first is 1."""
    session.run([struct.pack("<8I", *words, *[0] * (8 - len(words))).ljust(HEAD + BYTES, b"\0")])
    return struct.unpack("<8I", session.outputs()[0][:HEAD])


def test_flash_run_profile(soc: Board, build: Build) -> None:
    with pytest.raises(EdgekitError) as caught:
        connect(soc)
    assert caught.value.code == "E606"
    firmware = build(soc)
    report = flash(soc, firmware.elf)
    assert report.bytes == report.verified > 3000
    with connect(soc) as session:
        hello = session.hello()
        assert (hello.counter, hello.counter_hz) == ("mcycle", soc.clock_hz)
        assert hello.build_id == firmware.build_id
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
        first, again = (session.profile([INPUT], repeat=2, warm_up=1) for _ in range(2))
        assert (first.unit, first.hz, first.lanes) == ("cycles", soc.clock_hz, 64)
        assert first.layers == pytest.approx(again.layers, rel=0.002)
        assert first.layers[1] == pytest.approx(3 * first.layers[2], rel=0.01)
        assert [w.steps for w in first.work] == [0, 0, 0]
        cold = session.profile([INPUT], repeat=1, cold=True)
        assert cold.cold == "emptied before each run: code cache, data cache"
        assert cold.layers[0] > first.layers[0]
        used, size = session.stack_used()
        assert 50 < used < size == hello.stack_bytes
        assert session.checksum(soc.flash.start, 1000) != session.checksum(soc.flash.start, 999)


def test_memory_takes_its_time(session: Session) -> None:
    """A line of the cache costs its burst and what the core needs to go on, a written word the
    latency, however long the queue is; what is in the cache is read without the bus."""
    loop = 5  # cycles of a pass of the probe's loop
    lines = 512
    _, cycles, *_ = ask(session, READ, LINE_WORDS, lines)
    burst = LATENCY + LINE_WORDS
    assert burst < cycles / lines < burst + loop + 8
    _, cycles, *_ = ask(session, WRITE, 1, 4096)
    assert cycles / 4096 == pytest.approx(LATENCY, rel=0.02)
    for _ in range(2):
        _, cycles, *_ = ask(session, READ, 1, 256)
    assert cycles / 256 < loop + 1


def test_what_is_written_is_what_is_read(session: Session, probe: Firmware) -> None:
    """Through the buffer for writes and past it, from memory and from the cache."""
    start = load_symbols(probe.elf)["field"]
    ask(session, WRITE, 1, 2000)
    ask(session, COPY, 0, 8000)
    for word in (0, 1, 7, 8, 1023, 1024, 1999):
        for copy in (0, 1 << 16):
            assert ask(session, PEEK, start + copy + 4 * word)[2] == word


@pytest.mark.parametrize(
    "what, message",
    [
        ((ILLEGAL,), "at ek_app_invoke.*: undefined instruction"),
        ((UNALIGNED,), "at ek_app_invoke.*: unaligned access"),
        ((JUMP, 0x5000_0000), "at 0x50000000: undefined instruction"),
        ((PEEK, 0x7000_0000), "at ek_app_invoke.*: read at 0x70000000, where nothing is"),
    ],
)
def test_faults_name_their_place(session: Session, what: tuple[int, ...], message: str) -> None:
    with pytest.raises(EdgekitError, match=message) as caught:
        ask(session, *what)
    assert caught.value.code == "E609"


def test_a_stack_that_is_too_small_is_found(soc: Board, build: Build) -> None:
    firmware = build(soc, defines={"FAKE_OVERFLOW": ""})
    with connect(soc, elf=firmware.elf) as session, pytest.raises(EdgekitError) as caught:
        session.run([INPUT])
    assert caught.value.code == "E609" and "in FLASH" in caught.value.message
    assert "stack" in caught.value.help


def test_waiting_takes_no_time_of_the_host(soc: Board, probe: Firmware) -> None:
    """The clock stands while the program waits for its UART; the end of the input ends it."""
    link = SimulatedLink(soc, load_elf(probe.elf))
    with Session(soc, link) as session:
        session.hello()
        before = cpu_seconds(link)
        time.sleep(0.5)
        assert cpu_seconds(link) - before < 0.1
        assert link.finish() == b""


def cpu_seconds(link: SimulatedLink) -> float:
    path = Path(f"/proc/{link._process.pid}/stat")
    if not path.exists():
        pytest.skip("no /proc")
    fields = path.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_the_extra(soc: Board, probe: Firmware, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EdgekitError, match="pythondata_cpu_vexriscv") as caught:
        connect(soc, elf=probe.elf)
    assert caught.value.code == "E750" and "edgekit[fpga]" in caught.value.help
