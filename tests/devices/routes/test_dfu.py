"""DFU: dfu-util before an emulated USB device; its output understood; what the user is told."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from devices.peers import image, write_elf
from devices.peers.usb_dfu import START, UsbDevice, dfu_board, usb_device
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgekit.devices.clients import dfu_util
from edgekit.devices.clients.dfu_util import DfuUtil, memory_layout
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access, open_route
from edgekit.errors import EdgekitError

SEGMENTS = image(START, 5000)
NAME = "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg"


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_elf(tmp_path_factory.mktemp("elf") / "program.elf", SEGMENTS)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[UsbDevice]:
    with usb_device(tmp_path) as found:
        yield found


def refused(elf: Path, access: Access | None = None, **settings: str | int) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        flash(dfu_board(**settings), elf, access=access)
    return caught.value


def content(device: UsbDevice) -> list[tuple[int, bytes]]:
    return [(at, device.flash(at, len(data))) for at, data in SEGMENTS]


# ---- the real program


@pytest.mark.apt
def test_sectors_progress_and_start(device: UsbDevice, tmp_path: Path) -> None:
    """Two segments in one sector and one in another: each sector is erased once."""
    segments = [*SEGMENTS, (START + (16 << 10) + 20, b"third" * 30)]
    told: list[tuple[int, int]] = []
    flash(
        dfu_board(),
        write_elf(tmp_path / "x.elf", segments),
        progress=lambda done, total: told.append((done, total)),
        access=Access(port="1-1"),
    )
    state = device.state()
    assert state == {"went": START, "wrong": [], "erased": [0, 1]}
    assert [(at, device.flash(at, len(data))) for at, data in segments] == segments
    assert device.flash(START + (32 << 10), 1) == b"\0"
    shares = [done for done, _ in told]
    assert shares == sorted(shares) and told[-1][0] == told[-1][1] and len(set(shares)) > 8


@pytest.mark.apt
def test_another_port_another_memory(device: UsbDevice, elf: Path) -> None:
    error = refused(elf, Access(port="4711"))
    assert error.code == "E633" and "path 1-1, serial number 3276365D3336" in str(error)
    assert refused(elf, vendor=0x1209).code == "E633"
    assert refused(elf, alternate=1).code == "E633"
    flash(dfu_board(), elf, access=Access(port="3276365D3336"))
    assert content(device) == SEGMENTS


@pytest.mark.apt
def test_protection_is_explained(tmp_path: Path, elf: Path) -> None:
    with usb_device(tmp_path, protected=1) as device:
        error = refused(elf)
        assert error.code == "E635" and "ERASE_PAGE" in str(error), str(error)
        assert device.flash(START, 4) == b"\0" * 4


@pytest.mark.apt
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 60))
@example(cut=14)
def test_a_cable_cut_at_any_transfer(elf: Path, tmp_path: Path, cut: int) -> None:
    with usb_device(tmp_path, cut=cut) as device:
        try:
            flash(dfu_board(), elf)
        except EdgekitError as error:
            assert error.code in ("E604", "E633", "E634"), str(error)
            assert "incomplete" in str(error) or not device.state()["erased"]
            assert device.state()["went"] is None
            device.faults()
            flash(dfu_board(), elf)
        assert content(device) == SEGMENTS and not device.state()["wrong"]


# ---- its output


def test_memory_layouts() -> None:
    assert memory_layout(NAME) == {START: [16 << 10] * 4 + [64 << 10] + [128 << 10] * 7}
    assert memory_layout("@Option Bytes  /0x1FFFC000/01*016 e") == {0x1FFFC000: [16]}
    assert memory_layout("@X /0x0/2*1Mg/0x90000000/3*64Kg") == {
        0: [1 << 20] * 2,
        0x9000_0000: [64 << 10] * 3,
    }
    assert memory_layout("UNKNOWN") == {}


@given(st.text(alphabet="@/0x189*KMBag, Zz", max_size=40))
def test_any_name(name: str) -> None:
    assert all(size >= 0 for sizes in memory_layout("@" + name).values() for size in sizes)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for dfu-util, for what no device can be made to do: a shell script."""
    path = tmp_path / "bin" / "dfu-util"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    return path


def listing(*paths: str, name: str = NAME) -> str:
    return "".join(
        f'echo \'Found DFU: [0483:df11] ver=2200, devnum=2, cfg=1, intf=0, path="{path}", alt=0, '
        f'name="{name}", serial="S{path}"\'\n'
        for path in paths
    )


def test_two_devices_are_listed(tool: Path, elf: Path) -> None:
    tool.write_text("#!/bin/sh\n" + listing("1-1", "1-2"))
    error = refused(elf)
    assert error.code == "E630" and len(error.details) == 2 and "--port 1-1" in error.help


def test_another_memory(tool: Path, elf: Path) -> None:
    tool.write_text("#!/bin/sh\n" + listing("1-1", name="@Flash /0x90000000/4*64Kg"))
    error = refused(elf)
    assert error.code == "E634" and "0x08000000: nothing was erased" in error.message


def test_no_permission(tool: Path, elf: Path) -> None:
    tool.write_text(
        "#!/bin/sh\necho 'dfu-util: Cannot open DFU device 0483:df11 found on devnum 3 "
        "(LIBUSB_ERROR_ACCESS)' >&2\n"
    )
    error = refused(elf)
    assert error.code == "E631" and 'ATTR{idProduct}=="df11"' in str(error)


def test_a_program_that_hangs(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.write_text("#!/bin/sh\necho working\nexec sleep 30\n")
    monkeypatch.setattr(dfu_util, "SILENCE", 0.2)
    with pytest.raises(EdgekitError) as caught:
        DfuUtil(dfu_board(), "0483:df11").run("-l", doing="listing")
    assert caught.value.code == "E604" and caught.value.details == ("working",)


def test_a_short_read(tool: Path) -> None:
    tool.write_text(f"#!/bin/sh\n{listing('1-1')}while [ $# -gt 1 ]; do shift; done\n")
    tool.write_text(tool.read_text() + 'case "$1" in -l) ;; *) printf abc > "$1" ;; esac\n')
    with open_route(dfu_board()) as route, pytest.raises(EdgekitError) as caught:
        route.read(START, 16)
    assert caught.value.code == "E604" and "gave 3 of 16 B" in caught.value.message


def test_it_is_not_installed(elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    error = refused(elf)
    assert error.code == "E636" and "apt install dfu-util" in error.help
