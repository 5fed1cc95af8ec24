"""The STM32 UART bootloader: our client and another one against the double; cuts and noise."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from devices.peers import image, peer_board, write_elf
from devices.peers.proxy import DOWN, UP, Proxy
from devices.peers.rfc2217 import Server
from devices.peers.stm32_boot import FLASH, SECTORS, Bootloader, stm32_board
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tools import need

from edgekit.devices import flash as flashing
from edgekit.devices.clients import an3155
from edgekit.devices.clients.sectors import parse_sectors, touched
from edgekit.devices.firmware.build import build_firmware
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access, open_route
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import board

APP = Path(__file__).parents[1] / "app" / "fake_app.c"

SEGMENTS = image(FLASH, 600)


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_elf(tmp_path_factory.mktemp("elf") / "program.elf", SEGMENTS)


@pytest.fixture
def boot() -> Iterator[Bootloader]:
    with closing(Bootloader()) as machine:
        yield machine


def content(boot: Bootloader) -> list[tuple[int, bytes]]:
    return [(at, bytes(boot.flash[at - FLASH :][: len(data)])) for at, data in SEGMENTS]


def way(port: int) -> Access:
    return Access(port=f"socket://127.0.0.1:{port}")


# ---- the double, by a client that is not ours


def stm32flash(*arguments: str) -> subprocess.CompletedProcess[str]:
    need("stm32flash")
    return subprocess.run(
        ["stm32flash", "-m", "8n1", *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.mark.apt
@pytest.mark.parametrize("extended", [True, False])
def test_stm32flash_writes_the_double(tmp_path: Path, extended: bool) -> None:
    data = image(FLASH, 3000)[0][1]
    (tmp_path / "x.bin").write_bytes(data)
    with closing(Bootloader(extended=extended)) as boot:
        done = stm32flash("-w", str(tmp_path / "x.bin"), "-v", "-g", hex(FLASH), boot.terminal())
        assert done.returncode == 0, done.stdout + done.stderr
        assert boot.flash[: len(data)] == data and boot.went == FLASH and not boot.wrong
        assert "STM32F40xxx" in done.stdout


@pytest.mark.apt
def test_stm32flash_finds_the_worn_byte_too(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(image(FLASH, 900)[0][1])
    with closing(Bootloader(worn=0x123)) as boot:
        done = stm32flash("-w", str(tmp_path / "x.bin"), "-v", "-n", "1", boot.terminal())
        assert done.returncode != 0 and "0x08000123" in done.stdout + done.stderr


# ---- our client


def test_a_pseudo_terminal_has_no_parity(boot: Bootloader, elf: Path) -> None:
    flash(stm32_board(), elf, access=Access(port=boot.terminal()))
    assert content(boot) == SEGMENTS and boot.went == FLASH and not boot.wrong


def test_the_program_answers_on_the_same_port(tmp_path: Path) -> None:
    """Real firmware through the bootloader; GO starts it in the emulator, on the same wire."""
    virtual = board("virtual-cortex-m4")
    firmware = build_firmware([APP], virtual)
    on = peer_board("stm32-uart", virtual.flash.start, virtual.flash.size)
    with closing(Bootloader(board=virtual)) as boot:
        access = way(boot.listen())
        report = flash(on, firmware.elf, access=access)
        assert report.bytes == report.verified > 3000
        with connect(on, access=access) as session:
            assert session.hello().build_id == firmware.build_id
            session.run([bytes(600)])


def test_a_port_of_another_computer() -> None:
    """RFC 2217 carries what sockets and pseudo-terminals have not: parity and modem lines."""
    virtual = board("virtual-cortex-m4")
    firmware = build_firmware([APP], virtual)
    pins: dict[str, str | int] = {"boot0": "rts", "nrst": "dtr"}
    on = peer_board("stm32-uart", virtual.flash.start, virtual.flash.size, settings=pins)
    with (
        closing(Bootloader(board=virtual, boot0=False)) as boot,
        closing(Server(boot.listen(), boot.pins)) as server,
    ):
        access = Access(port=server.url)
        flash(on, firmware.elf, access=access)
        with connect(on, access=access) as session:  # opening a port moves its lines
            assert session.hello().build_id == firmware.build_id
        assert not boot.wrong
    assert ("parity", "E") in server.wires.set and ("baudrate", 115_200) in server.wires.set
    text = " ".join(f"{name}{int(value)}" for name, value in server.lines())
    assert "rts1 dtr1 dtr0 " in text and text.endswith("rts0 dtr1 dtr0")
    assert boot.went is None  # the reset line has started the program, not a jump


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("sectors", ["4*16K,64K,7*128K", ""])
def test_only_the_sectors_of_the_image_are_erased(elf: Path, extended: bool, sectors: str) -> None:
    board = stm32_board(sectors=sectors)
    with closing(Bootloader(extended=extended)) as boot:
        flash(board, elf, access=way(boot.listen()))
        assert content(boot) == SEGMENTS and not boot.wrong
        assert boot.flash[-1] == (0xFF if not sectors else 0)
        assert boot.flash[16 << 10] == (0xFF if not sectors else 0)


@settings(
    max_examples=18, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 2600), dies=st.booleans())
@example(cut=300, dies=False)
@example(cut=310, dies=True)
def test_a_cable_cut_at_any_byte(elf: Path, cut: int, dies: bool) -> None:
    board = stm32_board()
    with closing(Bootloader()) as boot, Proxy(boot.listen(), cut=cut) as cable:
        access = way(cable.port)
        try:
            flash(board, elf, access=access)
        except EdgekitError as error:
            assert error.code == "E604", str(error)
            begun = any(code in boot.commands for code in (0x43, 0x44))
            # No erase was begun, or the user is told what the flash is now.
            assert "incomplete" in str(error) or not begun
            assert boot.went is None
        if dies:
            boot.power_cycle()
        cable.mend()
        flash(board, elf, access=access)  # the second run repairs
        assert content(boot) == SEGMENTS and boot.went == FLASH and not boot.wrong


@settings(
    max_examples=18, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(way_of=st.sampled_from([UP, DOWN]), index=st.integers(0, 1300))
@example(way_of=UP, index=130)
@example(way_of=DOWN, index=900)
def test_a_byte_that_flips_never_passes(elf: Path, way_of: str, index: int) -> None:
    board = stm32_board()
    with (
        closing(Bootloader()) as boot,
        Proxy(boot.listen(), flip=(way_of, index)) as cable,
    ):
        try:
            flash(board, elf, access=way(cable.port))
        except EdgekitError as error:
            assert error.code in ("E604", "E605", "E633", "E634", "E635"), str(error)
            assert boot.went is None
        else:
            assert content(boot) == SEGMENTS and not boot.wrong


class Babbler:
    """A port on which something else talks."""

    def __init__(self, said: bytes) -> None:
        self.said = said

    def write(self, _data: bytes) -> None:
        pass

    def read(self, count: int) -> bytes:
        part, self.said = self.said[:count], self.said[count:]
        return part


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(said=st.binary(max_size=60), acks=st.lists(st.sampled_from([b"\x79", b"\x1f"]), max_size=9))
def test_any_bytes_from_the_device(
    said: bytes, acks: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(an3155, "QUIET", 0)
    monkeypatch.setattr(an3155, "QUIET_BURST", 0)
    monkeypatch.setattr(an3155, "_SHORT", -1)
    monkeypatch.setattr(an3155.time, "sleep", lambda _seconds: None)
    for act in (
        lambda client: client.greet(),
        lambda client: client.get_id(),
        lambda client: client.read(FLASH, 16),
        lambda client: client.write(FLASH, bytes(16)),
        lambda client: client.go(FLASH),
    ):
        try:
            act(an3155.Client(Babbler(b"".join(acks) + said), "port"))
        except (EdgekitError, an3155.Refused) as error:
            assert not isinstance(error, EdgekitError) or error.code == "E604"


# ---- what the user is told


@pytest.mark.parametrize("at", [100, 1300])
def test_ctrl_c_says_what_the_flash_is_now(boot: Bootloader, elf: Path, at: int) -> None:
    def progress(done: int, _total: int) -> None:
        if done >= at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        flash(stm32_board(), elf, progress, way(boot.listen()))
    assert str(caught.value).endswith("the flash is incomplete; flash it again")
    assert str(caught.value).startswith("board 'peer': ") and boot.went is None


def test_ctrl_c_while_the_cable_is_out(
    boot: Bootloader, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_seconds: float) -> None:
        raise KeyboardInterrupt

    with Proxy(boot.listen(), cut=900) as cable:
        monkeypatch.setattr(flashing.time, "sleep", sleep)
        with pytest.raises(KeyboardInterrupt, match="the flash is incomplete"):
            flash(stm32_board(), elf, access=way(cable.port))


def refused(access: Access, elf: Path, **settings: str | int) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        flash(stm32_board(**settings), elf, access=access)
    return caught.value


def test_another_chip_is_not_erased(elf: Path) -> None:
    with closing(Bootloader(device_id=0x450)) as boot:
        error = refused(way(boot.listen()), elf)
        assert error.code == "E634" and "0x450" in error.message and "0x413" in error.message
        assert not any(boot.flash)


def test_readout_protection_is_explained(elf: Path) -> None:
    with closing(Bootloader(protected=True)) as boot:
        error = refused(way(boot.listen()), elf)
        assert error.code == "E635" and "stm32flash -k" in str(error) and "erasing" in str(error)


def test_an_address_without_flash_is_explained(boot: Bootloader) -> None:
    with open_route(stm32_board(), way(boot.listen())) as route:
        with pytest.raises(EdgekitError) as caught:
            route.read(0x4000_0000, 16)
        assert caught.value.code == "E635" and "'read memory' was refused at its address" in str(
            caught.value
        )


def test_nothing_that_answers(elf: Path) -> None:
    with closing(Bootloader()) as boot:
        boot._take = lambda _data: None  # type: ignore[method-assign]
        error = refused(way(boot.listen()), elf)
        assert error.code == "E633" and "BOOT0" in str(error)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"sectors": "4*16Q"}, "'4*16Q' is no group of sectors"),
        ({"baud": "fast"}, "must be an integer"),
        ({"boot0": "cts"}, "must be one of: rts, dtr, !rts, !dtr"),
        ({"colour": 1}, "unknown key 'colour'"),
    ],
)
def test_settings_are_checked(setting: dict[str, Any], said: str, elf: Path) -> None:
    error = refused(way(1), elf, **setting)
    assert error.code == "E639" and said in error.message


def test_a_port_without_modem_lines(boot: Bootloader, elf: Path) -> None:
    error = refused(Access(port=boot.terminal()), elf, boot0="rts", nrst="dtr")
    assert error.code == "E639" and "no line 'rts'" in error.message


class Lines:
    """A port on whose modem lines BOOT0 (RTS) and NRST (DTR, inverted) are."""

    def __init__(self) -> None:
        object.__setattr__(self, "seen", [])

    def __setattr__(self, name: str, value: bool) -> None:
        self.seen.append((name, value))  # type: ignore[attr-defined]


def test_modem_lines_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    route: Any = open_route(stm32_board(), way(1))
    port, route._name, route._boot0, route._nrst = Lines(), "x", "rts", "!dtr"
    route._restart(port, bootloader=True)
    route._restart(port, bootloader=False)
    assert port.seen == [
        *(("rts", True), ("dtr", False), ("dtr", True)),
        *(("rts", False), ("dtr", False), ("dtr", True)),
    ]


def test_sectors() -> None:
    sizes = parse_sectors("4*16K, 64K, 7*128K", "here")
    assert sizes == [size << 10 for size in SECTORS]
    assert touched(sizes, 0, 1) == [0] and touched(sizes, 0x3FFF, 2) == [0, 1]
    assert touched(sizes, 0x10000, 0x30000) == [4, 5]


@given(st.text(alphabet="0123456789*K, x", max_size=20))
def test_any_text_for_sectors(text: str) -> None:
    try:
        assert all(size > 0 for size in parse_sectors(text, "here"))
    except EdgekitError as error:
        assert error.code == "E639"


def test_boards_with_coarser_flash_get_whole_units(boot: Bootloader, tmp_path: Path) -> None:
    segments = [(FLASH + 4, b"a" * 5), (FLASH + 12, b"b" * 30)]
    board = replace(stm32_board(write_bytes=32))
    report = flash(board, write_elf(tmp_path / "x.elf", segments), access=way(boot.listen()))
    assert report.bytes == report.verified == 35 and not boot.wrong
    assert boot.flash[:64] == b"\xff" * 4 + b"a" * 5 + b"\xff" * 3 + b"b" * 30 + b"\xff" * 22
