"""The device program as a Linux process: here, and in qemu-user for both Arm instruction sets."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tools import need

from edgekit.devices import protocol
from edgekit.devices.firmware.build import Firmware
from edgekit.devices.links.process_link import ProcessLink
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from targets import Board, board, linux

Build = Callable[..., Firmware]
DATA = bytes(range(256)) * 2 + bytes(88)
WANT = [bytes((255 - b + 4) & 255 for b in DATA), b"\1"]
GCC = {
    "x86_64": "x86_64-linux-gnu-gcc",
    "aarch64": "aarch64-linux-gnu-gcc",
    "arm": "arm-linux-gnueabihf-gcc",
}
BOARDS = (
    "linux-local", "qemu-aarch64-user", "qemu-armhf-user", "virtual-cortex-a53", "virtual-armv7",
)  # fmt: skip
pytestmark = pytest.mark.skipif(os.name != "posix" or not Path("/proc/self/stat").exists(),
                                reason="needs Linux")  # fmt: skip


@pytest.fixture(params=BOARDS)
def on(request: pytest.FixtureRequest) -> Board:
    found = board(request.param)
    if found.runner.startswith("qemu-"):
        need(found.runner)
    return found


@pytest.fixture
def here() -> Board:
    return board("linux-local")


def process(session: Session) -> subprocess.Popen[bytes]:
    assert isinstance(session.link, ProcessLink)
    return session.link._process


def runs(folder: Path) -> bool:
    """Whether the process with this folder in /proc has not ended."""
    try:
        return (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=pytest.mark.apt)])
def test_run_profile_and_stack(on: Board, build: Build, compiler: str) -> None:
    if compiler == "gcc":
        need(GCC[on.target.architecture])
    elf = build(on, compiler=compiler).elf
    with connect(on, elf=elf) as session:
        hello = session.hello()
        assert session.run([DATA]) == WANT
        profile = session.profile([DATA], repeat=3)
        cold = session.profile([DATA], repeat=1, cold=True).cold
        used, size = session.stack_used()
    assert hello.layers == 3 and hello.counter in ("clock", "cntvct", "pmccntr", "emulator")
    assert 0 < sum(profile.layers) <= profile.total * 1.05 + 100
    assert "code cache" in cold and ("data cache" in cold) == (on.target.architecture != "arm")
    assert 100 < used < size == hello.stack_bytes == 65536
    if hello.counter == "emulator":
        assert (profile.unit, profile.hz) == ("instructions", 0) and profile.steady
    elif on.runner:
        assert (profile.unit, profile.hz) == ("host ns (emulated)", 0)


@pytest.mark.apt
@pytest.mark.parametrize(
    ("name", "expected"), [("qemu-aarch64-user", "cntvct"), ("qemu-armhf-user", "clock")]
)
def test_counters_that_trap_are_passed_over(name: str, expected: str, build: Build) -> None:
    """qemu-user traps reading the cycle counter, as kernels do, and on Armv7 the timer too."""
    on = board(name)
    need(on.runner)
    elf = build(on, defines={"EK_COUNTER_PMCCNTR": "", "EK_COUNTER_CNTVCT": ""}).elf
    with connect(on, elf=elf) as session:
        hello = session.hello()
        assert hello.counter == expected and hello.counter_hz > 1_000_000
        assert session.profile([DATA]).total > 0


def test_faults_are_reported(on: Board, build: Build) -> None:
    firmware = build(on, defines={"FAKE_FAULT": ""})
    with connect(on, elf=firmware.elf) as session:
        for _ in range(2):  # again for whoever asks later
            with pytest.raises(EdgekitError, match=r"at ek_app_invoke\+.*: data access") as fault:
                session.run([DATA])
            assert fault.value.code == "E609"
            assert "address 0x60000000" in str(fault.value)


def test_a_stack_overflow_is_reported(on: Board, build: Build) -> None:
    firmware = build(on, defines={"FAKE_OVERFLOW": "", "FAKE_DEEP": "100000"})
    with (
        connect(on, elf=firmware.elf) as session,
        pytest.raises(EdgekitError, match=r"at ek_app_invoke\+.*stack overflow"),
    ):
        session.run([DATA])


def test_an_ended_program_is_told_as_such(here: Board, build: Build) -> None:
    with connect(here, elf=build(here).elf) as session:
        session.hello()
        process(session).send_signal(signal.SIGKILL)
        with pytest.raises(EdgekitError, match="was ended by SIGKILL") as caught:
            session.run([DATA])
        assert caught.value.code == "E609"


def test_waiting_takes_no_time_and_ends_with_the_input(here: Board, build: Build) -> None:
    elf = build(here).elf
    with connect(here, elf=elf) as session:
        session.hello()
        running = process(session)
        time.sleep(0.3)
        spent = Path(f"/proc/{running.pid}/stat").read_text().rsplit(")", 1)[1].split()
    assert int(spent[11]) + int(spent[12]) <= 2  # user and system time in ticks of 10 ms
    assert running.poll() is not None
    assert subprocess.run([elf], input=b"", timeout=10).returncode == 0


def test_it_dies_with_its_parent_where_told_so(here: Board, build: Build) -> None:
    """With an argument, as over SSH: a model that computes must not outlive the connection."""
    elf = build(here, defines={"FAKE_LOOPS": "4000000000u"}).elf
    script = 'import subprocess,sys; p=subprocess.Popen(sys.argv[1:],stdin=0); print(p.pid,flush=1); p.wait()'  # fmt: skip  # noqa: E501
    with subprocess.Popen(
        ["python3", "-c", script, str(elf), "hangup"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        child = Path("/proc") / parent.stdout.readline().decode().strip()
        assert runs(child)
        parent.stdin.write(protocol.encode(protocol.RUN, 1, b""))
        parent.stdin.flush()
        time.sleep(0.1)
        parent.kill()
        end = time.monotonic() + 5
        while runs(child) and time.monotonic() < end:
            time.sleep(0.02)
    assert not runs(child)


def test_this_machine_is_one_of_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, name in (
        ("AMD64", "linux-x86_64"), ("arm64", "linux-aarch64"), ("armv7l", "linux-armv7"),
        ("riscv64", "linux-x86_64"),
    ):  # fmt: skip
        monkeypatch.setattr(linux.platform, "machine", lambda m=machine: m)
        assert linux.this_machine() == name
    monkeypatch.setattr(linux.platform, "system", lambda: "Darwin")
    assert not linux.runs_here("x86_64")
