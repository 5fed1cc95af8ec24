"""Serial ports of this computer: which one a board is on, and why one cannot be opened."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

import serial
from serial.tools import list_ports

from edgekit.errors import EdgekitError
from targets import Board

try:
    from termios import error as TerminalError
except ImportError:  # Windows
    TerminalError = OSError  # type: ignore[misc,assignment]

EVEN = "E"
#: Timeout of ports in seconds, where a caller counts time itself: changing a port's timeout goes to
#: the driver, or over RFC 2217 to the other computer.
TICK = 0.02
_RULES = "/etc/udev/rules.d/70-edgekit.rules"


def find_port(board: Board, port: str | None, option: str = "--port") -> str:
    """The serial port that a board is on.

    Args:
        port: what the user said: a device, a URL of pyserial, or a USB serial number; None where
            the port is to be found by the USB identifiers in the board's file.
        option: the option of the command line that names the port, for the error.

    Raises:
        EdgekitError: E630 where not exactly one port matches; it lists them.
    """
    present = sorted(list_ports.comports(), key=lambda p: str(p.device))
    if port is not None:
        return next((str(p.device) for p in present if p.serial_number == port), port)
    matching = [p for p in present if _usb_id(p) in board.usb]
    if len(matching) == 1:
        return str(matching[0].device)
    if matching:
        raise EdgekitError(
            "E630",
            f"{len(matching)} serial ports may be board '{board.name}'",
            details=[_line(p) for p in matching],
            help=f"choose one by device or serial number, for instance {option} "
            f"{matching[0].serial_number or matching[0].device}",
        )
    looked = (
        f"none has USB identifier {' or '.join(board.usb)}"
        if board.usb
        else ("its file names no USB identifier to look for")
    )
    raise EdgekitError(
        "E630",
        f"the serial port of board '{board.name}' is not known: {looked}",
        details=[_line(p) for p in present] or ["this computer has no serial port now"],
        help=f"plug the board in, or name its port with {option}, for instance {option} "
        + ("COM3" if sys.platform == "win32" else "/dev/ttyACM0"),
    )


def _usb_id(port: Any) -> str:
    return f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None else ""


def _line(port: Any) -> str:
    usb = f", USB {_usb_id(port)}" if port.vid is not None else ""
    number = f", serial number {port.serial_number}" if port.serial_number else ""
    return f"{port.device}: {port.description}{usb}{number}"


def open_port(board: Board, port: str, *, baud: int, parity: str = "N", timeout: float = 0) -> Any:
    """Open a serial port for this process alone: 8 data bits, 1 stop bit.

    Sockets have no parity, and a pseudo-terminal refuses one: those are opened without.

    Args:
        port: a device or a URL of pyserial.
        baud: bits per second.
        parity: "N" or `EVEN`.
        timeout: seconds that a read waits.

    Raises:
        EdgekitError: E631 no permission, E632 in use, E604 anything else.
    """
    if _pseudo_terminal(port):
        parity = "N"
    options: dict[str, Any] = {"baudrate": baud, "parity": parity, "timeout": timeout}
    if "://" not in port and sys.platform != "win32":
        options["exclusive"] = True
    try:
        return serial.serial_for_url(port, **options)
    except (OSError, ValueError, TerminalError) as error:
        raise _explain(board, port, error) from None


def _pseudo_terminal(port: str) -> bool:
    return os.path.realpath(port).startswith("/dev/pts/")


def _explain(board: Board, port: str, error: Exception) -> EdgekitError:
    number = getattr(error, "errno", None) or (error.args[0] if error.args else None)
    name = f"serial port '{port}' of board '{board.name}'"
    windows = sys.platform == "win32" and "PermissionError" in str(error)
    if windows or number in (errno.EBUSY, errno.EAGAIN):
        return EdgekitError(
            "E632",
            f"{name} is in use by another program",
            help="close serial monitors, IDEs and other edgekit commands that have it open",
        )
    if number in (errno.EACCES, errno.EPERM):
        return EdgekitError(
            "E631",
            f"{name} may not be opened by this user",
            details=permission_advice(board.usb, port),
            help="do one of these, then plug the board in again",
        )
    return EdgekitError(
        "E604",
        f"{name} cannot be opened: {os.strerror(number) if isinstance(number, int) else error}",
        help="is the board plugged in? edgekit flash without a port lists what is there",
    )


def permission_advice(
    usb: tuple[str, ...], device: str | None = None, platform: str = sys.platform
) -> list[str]:
    """Lines that say how a user gets at a USB device: the udev rule to install, the group to join.

    Args:
        usb: identifiers "VID:PID" in hexadecimal.
        device: a device file whose group gives access; None for a raw USB device (probes, DFU).
    """
    if platform == "darwin":
        return [f"ls -l {device or '/dev/cu.*'} shows who may open it; macOS asks for no set-up"]
    if platform == "win32":
        return ["raw USB needs the driver WinUSB (Zadig installs it)"]
    lines = []
    for identifier in usb:
        vendor, product = identifier.split(":")
        kind = "tty" if device else "usb"
        attribute = "ATTRS" if device else "ATTR"
        lines.append(
            f'echo \'SUBSYSTEM=="{kind}", {attribute}{{idVendor}}=="{vendor}", '
            f'{attribute}{{idProduct}}=="{product}", MODE="0660", TAG+="uaccess"\' '
            f"| sudo tee -a {_RULES} && sudo udevadm control --reload"
        )
    group = _group(device) if device else None
    if group:
        lines.append(f"sudo usermod -aG {group} $USER    (then log in again)")
    return lines


def _group(device: str) -> str | None:
    """The group that may use a device file; most distributions say dialout, some uucp."""
    import grp

    try:
        status = Path(device).stat()
        return grp.getgrgid(status.st_gid).gr_name if status.st_mode & stat.S_IWGRP else "dialout"
    except (OSError, KeyError):
        return "dialout"
