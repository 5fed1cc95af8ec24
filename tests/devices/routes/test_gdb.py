"""The route "gdb": real servers, and one with NOR flash that is cut, disturbed and worn."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools import need

from edgekit.devices import flash as flashing
from edgekit.devices.clients import gdb
from edgekit.devices.clients.gdb import GdbClient
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.flash import ATTEMPTS, flash
from edgekit.devices.routes import Access
from edgekit.devices.routes import gdb as route
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board

from ..conftest import Build
from ..peers import image, write_elf
from ..peers.gdb_server import Bank, Flash, GdbServer
from ..peers.proxy import UP, Proxy
from ..test_session import INPUT, OUTPUT

#: Small sectors, then large ones, as in an STM32F4.
BANKS = (Bank(0, 0x4000, 0x400), Bank(0x4000, 0x3C_0000, 0x4000))


@pytest.fixture
def wired(qemu_board: Board) -> Board:
    """The memories of an MPS2 behind a debug probe."""
    return replace(qemu_board, name="probed", routes=("gdb",), qemu=None)


@pytest.fixture
def qemu_board() -> Board:
    from targets import board

    return board("qemu-mps2-an386")


@pytest.fixture
def elf(wired: Board, build: Build) -> Path:
    return build(wired, defines={"FAKE_BUNDLE": ""}).elf


@contextlib.contextmanager
def serving(flash: Flash | None = None, **options: object) -> Iterator[GdbServer]:
    server = GdbServer(flash or Flash(BANKS), **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()


def to(server: GdbServer) -> Access:
    return Access(port=f"127.0.0.1:{server.port}")


def holds(server: GdbServer, elf: Path) -> bool:
    return all(server.flash.read(a, len(d)) == d for a, d in load_elf(elf).segments)


def runs(server: GdbServer, elf: Path) -> bool:
    """Whether the program is in flash and was started."""
    end = time.monotonic() + 1
    while not server.running and time.monotonic() < end:
        time.sleep(0.002)
    return server.running and holds(server, elf)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashing, "PAUSE", 0)
    monkeypatch.setattr(route, "_ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(gdb, "FLASH_SECONDS", 0.4)
    monkeypatch.setattr(route, "_CONNECT_SECONDS", 0.2)


@pytest.mark.parametrize("options", [{}, {"acknowledge": True}, {"buffered": False}])
def test_flash_by_vflash(wired: Board, elf: Path, options: dict[str, object]) -> None:
    with serving(**options) as server:
        report = flash(wired, elf, access=to(server))
        assert report.bytes == report.verified == load_elf(elf).bytes
        assert "J-Link" in report.proven
        assert holds(server, elf)
        used = -(-load_elf(elf).bytes // 0x400)
        assert server.flash.erases == used  # no block twice, none besides
        assert runs(server, elf) and server.starts == 1
        assert any(p.startswith(b"qCRC:") for p in server.seen)
        assert not any(p[:1] in b"MX" for p in server.seen)


def test_segments_that_share_a_block(wired: Board, elf: Path) -> None:
    with serving(Flash((Bank(0, 0x40_0000, 0x10000),))) as server:
        flash(wired, elf, access=to(server))
        assert holds(server, elf) and server.flash.erases == 1


def test_a_segment_over_sectors_of_several_sizes(wired: Board, tmp_path: Path) -> None:
    """As in an STM32F4, whose server names a region for each size."""
    segments = image(0x3800, 0x9000)
    elf = write_elf(tmp_path / "long.elf", segments)
    with serving() as server:
        flash(wired, elf, access=to(server))
        assert holds(server, elf)
        erased = [p for p in server.seen if p.startswith(b"vFlashErase")]
        assert erased == [b"vFlashErase:3800,800", b"vFlashErase:4000,c000"]


def test_a_worn_byte_is_caught_and_a_new_chip_repairs(wired: Board, elf: Path) -> None:
    address, data = load_elf(elf).segments[0]
    even = next(i for i in range(100, 999) if data[i] & 1 == 0)
    with serving(Flash(BANKS, stuck=address + even)) as server:
        with pytest.raises(EdgekitError, match=f"failed at {address + even:#010x}") as caught:
            flash(wired, elf, access=to(server))
        assert caught.value.code == "E605" and server.starts == 0
        server.flash.stuck = None
        flash(wired, elf, access=to(server))
        assert holds(server, elf)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(1, 22_000), max_size=ATTEMPTS + 1), acknowledge=st.booleans())
def test_a_cut_at_any_byte_is_repaired_or_told(
    wired: Board, elf: Path, cuts: list[int], acknowledge: bool
) -> None:
    with serving(cuts=list(cuts), acknowledge=acknowledge) as server:
        try:
            flash(wired, elf, access=to(server))
        except EdgekitError as error:
            assert error.code == "E604"
            assert server.starts == 0
            server.cuts.clear()
            flash(wired, elf, access=to(server))  # the second run repairs
        assert runs(server, elf)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flips=st.sets(st.integers(0, 22_000), max_size=3), acknowledge=st.booleans())
def test_a_disturbed_line_is_noticed(
    wired: Board, elf: Path, flips: set[int], acknowledge: bool
) -> None:
    with serving(flips=set(flips), acknowledge=acknowledge) as server:
        try:
            flash(wired, elf, access=to(server))
        except EdgekitError as error:
            # Two flips in one packet may leave its sum as it was: then reading back finds them.
            assert error.code in ("E604", "E605", "E640", "E641")
            server.flips.clear()
            flash(wired, elf, access=to(server))
        assert runs(server, elf)


def test_a_server_without_flash_commands(wired: Board, elf: Path) -> None:
    with serving(map=False) as server:
        with pytest.raises(EdgekitError, match="offers no flash commands") as caught:
            flash(wired, elf, access=to(server))
        assert caught.value.code == "E641" and server.starts == 0


def test_a_server_that_still_has_a_client_is_asked_again(
    wired: Board, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs up at once, as OpenOCD does until it has noticed that the client before left."""
    monkeypatch.setattr(route, "_CONNECT_SECONDS", 5)
    with serving(cuts=[0] * (ATTEMPTS + 1)) as server:
        flash(wired, elf, access=to(server))
        assert holds(server, elf)


def test_a_server_for_another_chip(wired: Board, elf: Path) -> None:
    with serving(Flash((Bank(0x0800_0000, 0x10000, 0x800),))) as server:
        with pytest.raises(EdgekitError, match="knows no flash at 0x0") as caught:
            flash(wired, elf, access=to(server))
        assert "0x8000000..0x8010000" in caught.value.details[0]


def test_a_probe_that_is_the_server(
    wired: Board, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Black Magic Probe: by a serial port, no target before a scan, acknowledgements on."""
    monkeypatch.setattr(route, "_ANSWER_SECONDS", 5)
    monkeypatch.setattr(gdb, "FLASH_SECONDS", 5)
    with serving(probe=True, resets=("hard_reset",), packet_size=0x2000) as server:
        named = replace(wired, settings={"gdb": {"reset": "hard_reset", "scan": "swdp_scan"}})
        access = Access(port=f"socket://127.0.0.1:{server.port}")
        flash(named, elf, access=access)
        assert holds(server, elf)
        assert b"vAttach;1" in server.seen and b"QStartNoAckMode" not in server.seen
        blind = replace(wired, settings={"gdb": {"scan": "jtag_scan"}})
        server._scanned = server._target = False
        with pytest.raises(EdgekitError, match="has no target") as caught:
            flash(blind, elf, access=access)
        assert caught.value.code == "E641"


def test_a_server_that_cannot_reset(wired: Board, elf: Path) -> None:
    with (
        serving(resets=()) as server,
        pytest.raises(EdgekitError, match="does not reset its target") as e,
    ):
        flash(wired, elf, access=to(server))
    assert e.value.code == "E641" and "[settings.gdb]" in e.value.help
    assert "monitor reset halt: unknown command" in e.value.details[0]


def test_ctrl_c_detaches(wired: Board, elf: Path) -> None:
    def stop(_done: int, _all: int) -> None:
        raise KeyboardInterrupt

    with serving() as server:
        with pytest.raises(KeyboardInterrupt):
            flash(wired, elf, stop, to(server))
        assert server.seen[-1] == b"D"
        flash(wired, elf, access=to(server))


def test_nobody_serves(wired: Board, elf: Path) -> None:
    named = replace(wired, settings={"gdb": {"server": "openocd -f board/x.cfg"}})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EdgekitError, match="does not accept a connection") as caught:
        flash(named, elf, access=Access(port=f":{port}"))
    assert caught.value.code == "E604" and "openocd -f board/x.cfg" in caught.value.help
    with pytest.raises(EdgekitError, match="cannot be opened"):
        flash(named, elf, access=Access(port="/dev/no-such-port"))
    assert route.GdbRoute(named, Access()).port == "localhost:3333"
    segger = replace(wired, settings={"gdb": {"server": "JLinkGDBServer -device X"}})
    assert route.GdbRoute(segger, Access()).port == "localhost:2331"
    wrong = replace(wired, settings={"gdb": {"resett": "x"}})
    with pytest.raises(EdgekitError, match="unknown key 'resett'") as caught:
        flash(wrong, elf, access=Access(port=f":{port}"))
    assert caught.value.code == "E639"


# ---- independent peers


@pytest.mark.apt
def test_the_double_is_what_gdb_takes_for_a_server(elf: Path) -> None:
    need("gdb-multiarch")
    with serving() as server:
        commands = ["set remotetimeout 5", f"file {elf}", f"target remote 127.0.0.1:{server.port}"]
        commands += ["load", "compare-sections", "monitor reset halt", "detach"]
        arguments = [word for command in commands for word in ("-ex", command)]
        result = subprocess.run(
            ["gdb-multiarch", "-nx", "-batch", *arguments],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert "range 0x0" in result.stdout and "matched" in result.stdout
        assert "MIS-MATCHED" not in result.stdout + result.stderr
        assert "target halted" in result.stdout + result.stderr
        with elf.open("rb") as file:  # GDB loads sections, and not what lies between them
            text = ELFFile(file).get_section_by_name(".text")
            assert server.flash.read(text["sh_addr"], text["sh_size"]) == text.data()
        assert any(p.startswith(b"vFlashWrite") for p in server.seen)


@pytest.mark.apt
def test_qemu_as_a_server_with_a_serial_port(wired: Board, build: Build) -> None:
    """QEMU's stub: no memory map, memory that takes plain writes, and the program runs."""
    need("qemu-system-arm")
    elf = build(wired).elf
    with qemu() as (stub, uart):
        access = Access(port=f"127.0.0.1:{stub}", serial=f"socket://127.0.0.1:{uart}")
        for _ in range(2):  # and again while the program runs
            report = flash(wired, elf, access=access)
            assert report.verified > 3000
            with connect(wired, access=access) as session:
                assert session.run([INPUT]) == [OUTPUT, b"\1"]


@pytest.mark.apt
def test_rtt_through_a_server(wired: Board, build: Build) -> None:
    need("qemu-system-arm")
    elf = build(wired, transport="rtt").elf
    with qemu() as (stub, _):
        access = Access(port=f"127.0.0.1:{stub}", transport="rtt", program=str(elf))
        flash(wired, elf, access=access)
        for runs in (b"\1", b"\2"):  # the program goes on when the connection is closed
            with connect(wired, access=access) as session:
                assert session.run([INPUT]) == [OUTPUT, runs]


@pytest.mark.apt
def test_qemu_behind_a_cable_that_is_cut_or_disturbed(wired: Board, build: Build) -> None:
    need("qemu-system-arm")
    elf = build(wired).elf
    with qemu() as (stub, _):
        with Proxy(stub, cut=6000) as cable:
            access = Access(port=f"127.0.0.1:{cable.port}")
            with pytest.raises(EdgekitError, match=r"broke 3 times; .* is incomplete") as caught:
                flash(wired, elf, access=access)
            assert caught.value.code == "E604"
            cable.mend()
            flash(wired, elf, access=access)
        with Proxy(stub, flip=(UP, 3000)) as cable:  # a checksum asks for the packet again
            flash(wired, elf, access=Access(port=f"127.0.0.1:{cable.port}"))
        with GdbClient(("127.0.0.1", stub)) as client:
            for address, data in load_elf(elf).segments:
                assert client.read(address, len(data)) == data


@contextlib.contextmanager
def qemu() -> Iterator[tuple[int, int]]:
    """The ports of the stub and of the UART of an MPS2 machine that waits."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
    stub, uart = ports
    process = subprocess.Popen(
        ["qemu-system-arm", "-M", "mps2-an386", "-icount", "shift=6,sleep=off", "-S",
         "-display", "none", "-monitor", "none", "-nodefaults",
         "-serial", f"tcp:127.0.0.1:{uart},server=on,wait=off,nodelay=on",
         "-gdb", f"tcp:127.0.0.1:{stub}"],
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        GdbClient(("127.0.0.1", stub)).close()  # it is up
        yield stub, uart
    finally:
        process.kill()
        process.wait()
