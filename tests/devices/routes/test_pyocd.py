"""The route "pyocd": what it says where the probe, the chip or pyOCD is not as it must be."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.devices import flash as flashing
from edgekit.devices.clients import pyocd_session
from edgekit.devices.clients.probes import unreadable_probes
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board, Region

from ..conftest import Build
from ..peers import image, peer_board, write_elf
from ..peers.adiv5 import RemoteProbe
from ..peers.chip import Nrf52
from ..test_session import INPUT, OUTPUT


@pytest.fixture
def probed() -> Board:
    return peer_board("pyocd", 0, Nrf52.SIZE, settings={"target": "nrf52832"})


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    return write_elf(tmp_path / "program.elf", image(0))


@contextlib.contextmanager
def probe(**options: int) -> Iterator[tuple[RemoteProbe, Access]]:
    with contextlib.closing(RemoteProbe(Nrf52(), **options)) as found:
        yield found, Access(port=f"remote:127.0.0.1:{found.port}")


def fails(board: Board, elf: Path, access: Access, code: str, says: str) -> EdgekitError:
    with pytest.raises(EdgekitError, match=says) as caught:
        flash(board, elf, access=access)
    assert caught.value.code == code
    return caught.value


def test_pyocd_is_missing(probed: Board, elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyocd.core.session", None)
    error = fails(probed, elf, Access(), "E642", "needs pyOCD, which is not installed")
    assert error.help == "python -m pip install 'edgekit[probe]'"


def test_no_probe_several_probes_closed_probes(
    probed: Board, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyocd.core.helpers import ConnectHelper

    present: list[SimpleNamespace] = []
    monkeypatch.setattr(
        ConnectHelper, "get_all_connected_probes", lambda blocking, unique_id: present
    )
    monkeypatch.setattr(pyocd_session, "unreadable_probes", list)
    fails(probed, elf, Access(), "E643", r"no debug probe is connected\n")
    fails(probed, elf, Access(port="77"), "E643", "no debug probe is connected whose id contains")
    monkeypatch.setattr(pyocd_session, "unreadable_probes", lambda: ["0d28:0204"])
    error = fails(probed, elf, Access(), "E644", r"\(0d28:0204\) may not be opened by this user")
    assert 'ATTR{idVendor}=="0d28"' in error.details[0]
    present += [SimpleNamespace(unique_id=f"06{i}", description="ST-Link") for i in range(2)]
    error = fails(probed, elf, Access(port="06"), "E643", "2 debug probes are connected like '06'")
    assert error.details == ("060: ST-Link", "061: ST-Link") and "--port 060" in error.help


def test_the_chip_is_another_one(probed: Board, elf: Path) -> None:
    with probe() as (double, access):
        unknown = replace(probed, settings={"pyocd": {"target": "nrf99"}})
        fails(unknown, elf, access, "E645", "does not know the chip 'nrf99'")
        unnamed = replace(probed, settings={})
        fails(unnamed, elf, access, "E645", "does not say what pyOCD calls its chip")
        large = peer_board("pyocd", 0, 2 * Nrf52.SIZE, settings={"target": "nrf52832"})
        fails(large, elf, access, "E645", "has no flash at 0x80000, board 'peer' has")
        assert double.chip.erased == 0 and not double.chip.halted
    fails(probed, elf, access, "E604", "is gone, or its chip does not answer")
    wrong = replace(probed, settings={"pyocd": {"target": "nrf52832", "connect_mode": "x"}})
    fails(wrong, elf, access, "E639", "must be one of: halt, under-reset")


@settings(max_examples=3, deadline=None)
@given(fault=st.integers(1, 650))
def test_an_access_that_the_target_refuses_is_made_good(
    fault: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    board = peer_board("pyocd", 0, Nrf52.SIZE, settings={"target": "nrf52832"})
    elf = write_elf(tmp_path_factory.mktemp("fault") / "program.elf", image(0))
    pause, flashing.PAUSE = flashing.PAUSE, 0
    try:
        with probe(fault=fault) as (double, access):
            try:
                flash(board, elf, access=access)
            except EdgekitError as error:
                assert error.code in ("E604", "E640", "E645"), str(error)
                flash(board, elf, access=access)
            for address, data in image(0):
                assert double.chip.flash[address : address + len(data)] == data
    finally:
        flashing.PAUSE = pause


def test_ctrl_c_leaves_the_program_running(probed: Board, elf: Path) -> None:
    def stop(done: int, _all: int) -> None:
        if done:
            raise KeyboardInterrupt

    with probe() as (double, access):
        with pytest.raises(KeyboardInterrupt):
            flash(probed, elf, stop, access)
        assert not double.chip.halted
        flash(probed, elf, access=access)  # and the probe is free


def test_rtt_while_the_program_runs(probed: Board, build: Build) -> None:
    """Flashed by pyOCD's algorithm; the same core then runs it, and memory is read meanwhile."""
    small = replace(
        probed,
        regions=(probed.flash, Region("RAM", "ram", Nrf52.RAM, Nrf52.RAM_SIZE)),
        counters=("systick",),
    )
    elf = build(small, transport="rtt").elf
    with probe() as (double, access):
        access = replace(access, transport="rtt", program=str(elf))
        flash(small, elf, access=access)
        for runs in (b"\1", b"\2"):  # it goes on from one session to the next
            with connect(small, access=access) as session:
                assert session.run([INPUT]) == [OUTPUT, runs]
        double.cut = 200
        with pytest.raises(EdgekitError) as caught, connect(small, access=access) as session:
            session.run([INPUT])
        assert caught.value.code == "E604"
        assert not double.chip.halted and not double.chip.locked_up


def test_probes_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices, nodes = tmp_path / "devices", tmp_path / "nodes"
    for name, vendor, product, text, number in (
        ("1-1", "0d28", "0204", "DAPLink CMSIS-DAP", "7"),
        ("1-2", "0483", "374b", "STM32 STLink", "8"),
        ("1-3", "0483", "5740", "Virtual COM Port", "9"),
        ("1-4", "2e8a", "000c", "Debug Probe (CMSIS-DAP)", "10"),
        ("usb1", "", "", "", ""),
    ):
        (devices / name).mkdir(parents=True)
        for file, content in (
            ("idVendor", vendor), ("idProduct", product), ("product", text),
            ("busnum", "1"), ("devnum", number),
        ):  # fmt: skip
            if vendor:
                (devices / name / file).write_text(content + "\n")
    (nodes / "001").mkdir(parents=True)
    for number in ("007", "008", "009"):
        (nodes / "001" / number).touch()
    assert unreadable_probes(devices, nodes) == []
    monkeypatch.setattr("os.access", lambda path, _mode: path.name == "008")
    assert unreadable_probes(devices, nodes) == ["0d28:0204"]
    assert unreadable_probes(tmp_path / "none", nodes) == []
