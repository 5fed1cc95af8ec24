"""Which serial port a board is on, and why a port does not open: real pseudo-terminals."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgekit.devices.links import ports
from edgekit.devices.links.ports import EVEN, find_port, open_port, permission_advice
from edgekit.devices.links.serial_link import open_serial
from edgekit.errors import EdgekitError
from targets import Board

posix = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")


def entry(device: str, usb: str = "", serial_number: str | None = None) -> SimpleNamespace:
    vid, pid = (int(part, 16) for part in usb.split(":")) if usb else (None, None)
    return SimpleNamespace(
        device=device, vid=vid, pid=pid, serial_number=serial_number, description="a port"
    )


@pytest.fixture
def nucleo(virtual: Board) -> Board:
    return replace(virtual, name="nucleo", usb=("0483:374b", "0483:3752"))


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """What is plugged in."""
    found = [entry("/dev/ttyS0"), entry("/dev/ttyUSB0", "10c4:ea60", "0001")]
    monkeypatch.setattr(ports.list_ports, "comports", lambda: list(found))
    return found


@pytest.fixture
def terminal() -> Iterator[str]:
    main, device = os.openpty()
    yield os.ttyname(device)
    os.close(main)
    os.close(device)


def test_the_only_match_is_taken(nucleo: Board, present: list[SimpleNamespace]) -> None:
    present.append(entry("/dev/ttyACM3", "0483:374b", "066A"))
    assert find_port(nucleo, None) == "/dev/ttyACM3"


def test_what_the_user_says_wins(nucleo: Board, present: list[SimpleNamespace]) -> None:
    present.append(entry("/dev/ttyACM3", "0483:374b", "066A"))
    assert find_port(nucleo, "socket://127.0.0.1:1") == "socket://127.0.0.1:1"
    assert find_port(nucleo, "0001") == "/dev/ttyUSB0"


def test_two_matches_are_listed(nucleo: Board, present: list[SimpleNamespace]) -> None:
    present.append(entry("/dev/ttyACM3", "0483:374b", "066B"))
    present.append(entry("/dev/ttyACM1", "0483:3752", "066A"))
    with pytest.raises(EdgekitError, match="2 serial ports may be board 'nucleo'") as caught:
        find_port(nucleo, None, "--serial")
    error = caught.value
    assert error.code == "E630" and len(error.details) == 2
    assert error.details[0] == "/dev/ttyACM1: a port, USB 0483:3752, serial number 066A"
    assert "--serial 066A" in error.help


@pytest.mark.usefixtures("present")
def test_no_match_lists_all_ports(nucleo: Board, virtual: Board) -> None:
    with pytest.raises(EdgekitError, match="none has USB identifier 0483:374b or") as caught:
        find_port(nucleo, None)
    assert [line.split(":")[0] for line in caught.value.details] == ["/dev/ttyS0", "/dev/ttyUSB0"]
    with pytest.raises(EdgekitError, match="its file names no USB identifier"):
        find_port(virtual, None)


def test_no_port_at_all(nucleo: Board, present: list[SimpleNamespace]) -> None:
    present.clear()
    with pytest.raises(EdgekitError) as caught:
        open_serial(nucleo, None)
    assert caught.value.code == "E630" and "has no serial port" in caught.value.details[0]


def opening(board: Board, port: str) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        open_port(board, port, baud=115200, parity=EVEN)
    return caught.value


def test_a_port_that_is_not_there(nucleo: Board) -> None:
    error = opening(nucleo, "/dev/ttyNOPE")
    assert error.code == "E604" and "cannot be opened" in error.message
    assert opening(nucleo, "socket://127.0.0.1:1").code == "E604"
    assert opening(nucleo, "sockets://x").code == "E604"


@posix
def test_a_busy_port(nucleo: Board, terminal: str) -> None:
    first = open_port(nucleo, terminal, baud=115200)
    assert opening(nucleo, terminal).code == "E632"
    first.close()
    open_port(nucleo, terminal, baud=115200).close()


@contextmanager
def another_user() -> Iterator[None]:
    """Root may open everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@posix
def test_no_permission(nucleo: Board, terminal: str) -> None:
    pytest.importorskip("grp")  # while this user may read Python's own modules
    os.chmod(terminal, 0)
    with another_user():
        error = opening(nucleo, terminal)
    assert error.code == "E631"
    advice = "\n".join(error.details)
    if sys.platform == "linux":
        assert 'ATTRS{idVendor}=="0483", ATTRS{idProduct}=="374b"' in advice
        assert "usermod -aG dialout $USER" in advice


@posix
def test_the_group_that_owns_the_port(terminal: str) -> None:
    import grp

    os.chmod(terminal, 0o620)
    group = grp.getgrgid(os.stat(terminal).st_gid).gr_name
    lines = permission_advice((), terminal, "linux")
    assert lines == [f"sudo usermod -aG {group} $USER    (then log in again)"]


def test_advice_for_other_platforms() -> None:
    assert "ls -l /dev/cu.x" in permission_advice(("0483:df11",), "/dev/cu.x", "darwin")[0]
    assert "WinUSB" in permission_advice(("0483:df11",), None, "win32")[0]
    assert 'SUBSYSTEM=="usb"' in permission_advice(("0483:df11",), None, "linux")[0]


def test_a_busy_port_of_windows(nucleo: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "could not open port 'COM3': PermissionError(13, 'Access is denied.', None, 5)"
    monkeypatch.setattr(ports.sys, "platform", "win32")
    assert ports._explain(nucleo, "COM3", OSError(said)).code == "E632"


@posix
def test_bytes_go_both_ways_and_a_pulled_cable_is_told(nucleo: Board) -> None:
    main, device = os.openpty()
    link = open_serial(nucleo, os.ttyname(device))
    os.close(device)
    link.write(b"hello\n")
    assert os.read(main, 100) == b"hello\n"
    os.write(main, b"answer")
    assert link.read(1.0) == b"answer"
    assert link.read(0.01) == b""
    os.close(main)
    with pytest.raises(EdgekitError, match="is gone") as caught:
        link.read(0.1)
    assert caught.value.code == "E604"
    link.close()
