"""The route to this machine: files that are compared, disks that lie or are full."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgekit.devices.firmware.build import Firmware
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access, local
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board, board, linux

Build = Callable[..., Firmware]


@pytest.fixture
def here() -> Board:
    return board("linux-local")


def build_id(on: Board) -> int:
    with connect(on) as session:
        return session.hello().build_id


def parts(on: Board) -> list[Path]:
    return list(local.program_path(on).parent.glob("*.part"))


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Files cannot become larger: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_program_is_kept_between_commands(here: Board, build: Build) -> None:
    with pytest.raises(EdgekitError, match="nothing has been flashed") as caught:
        connect(here)
    assert caught.value.code == "E606"
    for loops in ("3u", "4u"):  # the second replaces the first
        firmware = build(here, defines={"FAKE_LOOPS": loops})
        report = flash(here, firmware.elf)
        assert report.bytes == report.verified == firmware.elf.stat().st_size
        assert local.program_path(here).read_bytes() == firmware.elf.read_bytes()
        assert build_id(here) == firmware.build_id and not parts(here)


def test_a_disk_that_loses_a_bit_keeps_the_old_program(
    here: Board, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = build(here), build(here, defines={"FAKE_LOOPS": "4u"})
    flash(here, old.elf)

    def rot(_descriptor: int) -> None:
        with parts(here)[0].open("r+b") as file:
            file.seek(4321)
            byte = file.read(1)[0]
            file.seek(4321)
            file.write(bytes([byte ^ 4]))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", rot)
        with pytest.raises(EdgekitError, match="failed at 0x000010e1") as caught:
            flash(here, new.elf)
    assert caught.value.code == "E605"
    assert build_id(here) == old.build_id and not parts(here)
    flash(here, new.elf)
    assert build_id(here) == new.build_id


def test_a_full_disk_keeps_the_old_program(here: Board, build: Build) -> None:
    old, new = build(here), build(here, defines={"FAKE_LOOPS": "4u"})
    flash(here, old.elf)
    for room in (0, 1, 6000, new.elf.stat().st_size - 1):
        with disk_of(room), pytest.raises(EdgekitError, match="cannot be written") as caught:
            flash(here, new.elf)
        assert caught.value.code == "E655"
        assert build_id(here) == old.build_id and not parts(here)
    flash(here, new.elf)
    assert build_id(here) == new.build_id


def test_another_machine_is_refused(
    here: Board, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    elf = build(board("qemu-armhf-user")).elf
    with pytest.raises(EdgekitError, match="is no program for linux-") as caught:
        flash(here, elf)
    assert caught.value.code == "E610"
    monkeypatch.setattr(linux.platform, "machine", lambda: "sparc64")
    with pytest.raises(EdgekitError, match="this machine is Linux on") as caught:
        connect(board("linux-x86_64"))
    assert caught.value.code == "E650"


def test_what_this_machine_has_not(
    here: Board, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    elf = build(here).elf
    with pytest.raises(EdgekitError, match="has no port '/dev/ttyACM0'") as caught:
        flash(here, elf, access=Access(port="/dev/ttyACM0"))
    assert caught.value.code == "E650"
    monkeypatch.setattr(local.shutil, "which", lambda command: None)
    with pytest.raises(EdgekitError, match="needs 'qemu-arm', which is not installed") as caught:
        connect(board("qemu-armhf-user"))
    assert caught.value.code == "E602" and "apt install qemu-user" in str(caught.value)


def test_a_program_that_may_not_run(here: Board, build: Build) -> None:
    flash(here, build(here).elf)
    path = local.program_path(here)
    path.chmod(0o644)
    with pytest.raises(EdgekitError, match="cannot be started: Permission denied") as caught:
        connect(here)
    assert caught.value.code == "E650" and "noexec" in str(caught.value)


def test_what_the_emulator_needs_is_compiled_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a new machine that takes longer than the program on the board has to answer."""
    from edgekit.devices.emulators import machine

    done: list[str] = []
    monkeypatch.setattr(machine, "native", lambda: done.append("compiled"))
    assert "edgekit.devices.emulators.linux_process" in local.runner(board("virtual-cortex-a53"))
    assert done == ["compiled"]
