"""The route "gdb" through servers of other projects, whose probe is the tests' double.

Everything but the probe's USB is real: the server, its flash algorithms, and a core that runs them.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tools import need

from edgekit.devices.firmware.image import load_elf
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board, Region

from ..conftest import Build
from ..peers import peer_board
from ..peers.adiv5 import RemoteProbe
from ..peers.chip import Chip, Nrf52, Stm32f4
from ..peers.jtag import BitbangServer
from ..peers.proxy import Proxy
from ..test_session import INPUT, OUTPUT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server that listens on `port`."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + 40
        while f"port {port}" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def like(chip: type[Chip]) -> Board:
    """A board with this chip's memories."""
    ram = Region("RAM", "ram", chip.RAM, chip.RAM_SIZE)
    plain = peer_board("gdb", chip.FLASH, chip.SIZE)
    return replace(plain, regions=(plain.flash, ram), counters=("systick",))


def holds(chip: Chip, elf: Path) -> bool:
    return all(chip.flash[a - chip.FLASH :][: len(d)] == d for a, d in load_elf(elf).segments)


def proves(board: Board, chip: Chip, port: int, build: Build) -> None:
    """Whole, corrupted and cut; then the program runs and talks through the server."""
    elf = build(board, transport="rtt").elf
    access = Access(port=f"127.0.0.1:{port}", transport="rtt", program=str(elf))
    (address, data), *_ = load_elf(elf).segments
    chip.stuck = address + next(i for i in range(500, 999) if not data[i] & 1)
    with pytest.raises(EdgekitError, match=f"failed at {chip.stuck:#010x}") as caught:
        flash(board, elf, access=access)
    assert caught.value.code == "E605"
    chip.stuck = None
    with Proxy(port, cut=4000) as cable:
        cut = replace(access, port=f"127.0.0.1:{cable.port}")
        with pytest.raises(EdgekitError, match="the flash is incomplete") as caught:
            flash(board, elf, access=cut)
        assert caught.value.code == "E604"
        cable.mend()
        report = flash(board, elf, access=cut)
    assert report.verified == report.bytes and holds(chip, elf)
    for runs in (b"\1", b"\2"):
        with connect(board, access=access) as session:
            assert session.run([INPUT]) == [OUTPUT, runs]
    end = time.monotonic() + 5
    while chip.halted and time.monotonic() < end:  # the server lets it go on in its own time
        time.sleep(0.02)
    assert not chip.halted and not chip.locked_up


@pytest.mark.apt
def test_openocd_as_a_server(build: Build, tmp_path: Path) -> None:
    """By JTAG, to an STM32F4 whose core executes OpenOCD's flash algorithm."""
    need("openocd")
    chip, port = Stm32f4(), free_port()
    with contextlib.closing(BitbangServer(chip)) as wires:
        lines = f"""
            adapter driver remote_bitbang
            remote_bitbang host 127.0.0.1
            remote_bitbang port {wires.port}
            transport select jtag
            jtag newtap chip cpu -irlen 4 -ircapture 0x1 -irmask 0xf -expected-id 0x4ba00477
            dap create chip.dap -chain-position chip.cpu
            target create chip.cpu cortex_m -dap chip.dap
            chip.cpu configure -work-area-phys 0x20010000 -work-area-size 0x8000
            flash bank chip.flash stm32f2x 0x08000000 0 0 0 chip.cpu
            cortex_m reset_config sysresetreq
            gdb_port {port}
            tcl_port disabled
            telnet_port disabled
        """
        script = tmp_path / "openocd.cfg"
        script.write_text(lines)
        with running(["openocd", "-f", str(script)], port, tmp_path / "log"):
            proves(like(Stm32f4), chip, port, build)
            assert "flash size = 1024 KiB" in (tmp_path / "log").read_text()


def test_pyocd_as_a_server(build: Build, tmp_path: Path) -> None:
    chip, port = Nrf52(), free_port()
    with contextlib.closing(RemoteProbe(chip)) as probe:
        command = [sys.executable, "-m", "pyocd", "gdbserver", "--persist", "--no-config",
                   "-u", f"remote:127.0.0.1:{probe.port}", "-t", "nrf52832",
                   "-p", str(port), "-T", str(free_port())]  # fmt: skip
        with running(command, port, tmp_path / "log"):
            proves(like(Nrf52), chip, port, build)
