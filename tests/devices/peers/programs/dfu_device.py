"""An STM32F405 in its USB bootloader (DfuSe: AN3156, and USB DFU 1.1), for the real dfu-util.

umockdev shows it to programs with its library preloaded, as sysfs entries and as a device file
whose ioctls (usbdevfs) come here. Run by a Python that has PyGObject, with a folder: ``flash.bin``
is its flash, ``faults.json`` what is wrong with it, ``state.json`` what it has seen. It says on
standard output where umockdev's root is. Nothing of edgekit is imported.
"""

from __future__ import annotations

import errno
import json
import struct
import sys
import traceback
from pathlib import Path

import gi

gi.require_version("UMockdev", "1.0")
from gi.repository import GLib, UMockdev  # noqa: E402

START, SECTORS = 0x0800_0000, [16] * 4 + [64] + [128] * 7  # KiB
TRANSFER = 2048
NODE, SYSFS = "bus/usb/001/002", "/devices/pci0000:00/0000:00:14.0/usb1/1-1"
STRINGS = {
    1: "STMicroelectronics",
    2: "STM32  BOOTLOADER",
    3: "3276365D3336",
    4: "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg",
}
DEVICE = struct.pack(
    "<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, 0x0483, 0xDF11, 0x2200, 1, 2, 3, 1
)
INTERFACE = struct.pack("<9B", 9, 4, 0, 0, 0, 0xFE, 1, 2, 4)
FUNCTION = struct.pack("<BBBHHH", 9, 0x21, 0x0B, 255, TRANSFER, 0x011A)
_SIZE = 9 + len(INTERFACE) + len(FUNCTION)
CONFIGURATION = struct.pack("<BBHBBBBB", 9, 2, _SIZE, 1, 1, 0, 0xC0, 50) + INTERFACE + FUNCTION

IDLE, SYNC, BUSY, DOWNLOADING, MANIFEST_SYNC, MANIFEST, UPLOADING, ERROR = 2, 3, 4, 5, 6, 7, 9, 10
OK, ERR_WRITE, ERR_ADDRESS, ERR_VENDOR, ERR_STALLED = 0, 3, 8, 11, 15


class Stall(Exception):
    """The endpoint stalls."""


class Gone(Exception):
    """The device is not there any more."""


class Bootloader:
    """The machine behind endpoint 0."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flash = bytearray((folder / "flash.bin").read_bytes())
        self.state, self.status = IDLE, OK
        self.pointer = START
        self.pending: tuple[int, bytes] | None = None
        self.transfers = 0
        self.seen: dict[str, object] = {"went": None, "wrong": [], "erased": []}
        self.keep()

    def keep(self) -> None:
        (self.folder / "flash.bin").write_bytes(self.flash)
        (self.folder / "state.json").write_text(json.dumps(self.seen))

    def faults(self) -> dict[str, int]:
        """cut: transfers until the cable is out; worn: offset in flash; protected: 1."""
        try:
            return dict(json.loads((self.folder / "faults.json").read_text()))
        except (OSError, ValueError):
            return {}

    def plug(self) -> None:
        """A program opens the device: the cable is in again."""
        self.transfers = 0
        self.state, self.status, self.pending = IDLE, OK, None

    def control(self, setup: bytes, data: bytes) -> bytes:
        """One control transfer: the bytes that go to the host."""
        kind, request, value, _index, length = struct.unpack("<BBHHH", setup)
        if self.seen["went"] is not None:
            raise Gone
        self.transfers += 1
        cut = self.faults().get("cut")
        if cut is not None and self.transfers > cut:
            raise Gone
        if kind == 0x80 and request == 6:
            return self.descriptor(value >> 8, value & 0xFF)[:length]
        return {
            (0x21, 1): self.download,
            (0xA1, 2): self.upload,
            (0xA1, 3): self.get_status,
            (0x21, 4): self.clear_status,
            (0xA1, 5): self.get_state,
            (0x21, 6): self.abort,
        }.get((kind, request), self.unknown)(value, data, length)

    def descriptor(self, kind: int, index: int) -> bytes:
        if kind == 3 and (index == 0 or index in STRINGS):
            text = STRINGS[index].encode("utf-16le") if index else b"\x09\x04"
            return struct.pack("BB", len(text) + 2, 3) + text
        if kind in (1, 2):
            return DEVICE if kind == 1 else CONFIGURATION
        raise Stall

    def unknown(self, _value: int, _data: bytes, _length: int) -> bytes:
        self.fail(ERR_STALLED)
        raise Stall

    def fail(self, status: int) -> None:
        self.state, self.status = ERROR, status

    def download(self, value: int, data: bytes, _length: int) -> bytes:
        if self.state not in (IDLE, DOWNLOADING):
            return self.unknown(value, data, 0)
        if not data:
            self.state = MANIFEST_SYNC
            return b""
        self.pending, self.state = (value, data), SYNC
        return b""

    def upload(self, value: int, _data: bytes, length: int) -> bytes:
        if self.state not in (IDLE, UPLOADING):
            return self.unknown(value, b"", 0)
        at = self.pointer - START + (value - 2) * TRANSFER
        if value < 2 or not 0 <= at <= len(self.flash) - length:
            return self.unknown(value, b"", 0)
        found = bytes(self.flash[at : at + length])
        self.state = UPLOADING if length == TRANSFER else IDLE
        return found

    def get_status(self, _value: int, _data: bytes, _length: int) -> bytes:
        if self.state == SYNC:
            self.state = BUSY
        elif self.state == BUSY:
            self.state = DOWNLOADING
            self.execute(*(self.pending or (0, b"")))
        elif self.state == MANIFEST_SYNC:
            self.state = MANIFEST
            self.seen["went"] = self.pointer
            self.keep()
        return struct.pack("<B3sBB", self.status, b"\x01\0\0", self.state, 0)

    def clear_status(self, _value: int, _data: bytes, _length: int) -> bytes:
        self.state, self.status = IDLE, OK
        return b""

    def get_state(self, _value: int, _data: bytes, _length: int) -> bytes:
        return bytes([self.state])

    def abort(self, _value: int, _data: bytes, _length: int) -> bytes:
        self.state = IDLE
        return b""

    def execute(self, block: int, data: bytes) -> None:
        """A command in block 0, or data for the flash."""
        if self.faults().get("protected") and (block or data[0] == 0x41):
            return self.fail(ERR_VENDOR)
        if block >= 2:
            return self.program(self.pointer - START + (block - 2) * TRANSFER, data)
        address = int.from_bytes(data[1:5], "little") if len(data) == 5 else None
        if data[0] == 0x21 and address is not None:
            self.pointer = address
        elif data[0] == 0x41 and address is not None:
            self.erase(address - START)
        else:
            self.fail(ERR_STALLED)
        return None

    def erase(self, offset: int) -> None:
        start = 0
        for number, kib in enumerate(SECTORS):
            if start <= offset < start + (kib << 10):
                self.flash[start : start + (kib << 10)] = b"\xff" * (kib << 10)
                self.note("erased", number)
                return
            start += kib << 10
        self.fail(ERR_ADDRESS)

    def program(self, at: int, data: bytes) -> None:
        if not 0 <= at <= len(self.flash) - len(data):
            return self.fail(ERR_ADDRESS)
        if any(byte != 0xFF for byte in self.flash[at : at + len(data)]):
            self.note("wrong", f"{len(data)} B at {at:#x}: not erased")
            return self.fail(ERR_WRITE)
        self.flash[at : at + len(data)] = data
        worn = self.faults().get("worn")
        if worn is not None and at <= worn < at + len(data):
            self.flash[worn] ^= 1
        return self.keep()

    def note(self, what: str, entry: object) -> None:
        notes = self.seen[what]
        assert isinstance(notes, list)
        notes.append(entry)
        self.keep()


class Usbfs:
    """usbdevfs ioctls (linux/usbdevice_fs.h, 64 bits) to control transfers."""

    SUBMIT, REAP, REAP_NOW, CAPABILITIES, DRIVER = 10, 12, 13, 26, 8
    URB, STATUS, BUFFER, LENGTH, ACTUAL = 56, 4, 16, 24, 28

    def __init__(self, machine: Bootloader) -> None:
        self.machine = machine
        self.done: list[object] = []

    def handle(self, _base: object, client: UMockdev.IoctlClient) -> bool:
        try:
            result, error = self.ioctl(client.get_request() & 0xFF, client.get_arg())
        except Exception:
            traceback.print_exc()
            result, error = -1, errno.EIO
        client.complete(result, error)
        return True

    def ioctl(self, number: int, argument: UMockdev.IoctlData) -> tuple[int, int]:
        if number == self.CAPABILITIES:
            argument.resolve(0, 4).update(0, struct.pack("<I", 0))
            self.machine.plug()
        elif number == self.DRIVER:
            return -1, errno.ENODATA
        elif number == self.SUBMIT:
            return self.submit(argument.resolve(0, self.URB))
        elif number in (self.REAP, self.REAP_NOW):
            if not self.done:
                return -1, errno.EAGAIN
            argument.resolve(0, 8).set_ptr(0, self.done.pop(0))
        return 0, 0

    def submit(self, urb: UMockdev.IoctlData) -> tuple[int, int]:
        size = struct.unpack_from("<i", bytes(urb.retrieve()), self.LENGTH)[0]
        buffer = urb.resolve(self.BUFFER, size)
        whole = bytes(buffer.retrieve())
        inward = bool(whole[0] & 0x80)
        try:
            answer = self.machine.control(whole[:8], b"" if inward else whole[8:])
        except Gone:
            return -1, errno.ENODEV
        except Stall:
            urb.update(self.STATUS, struct.pack("<i", -errno.EPIPE))
        else:
            if inward:
                buffer.update(8, answer)
            actual = len(answer) if inward else size - 8
            urb.update(self.STATUS, struct.pack("<i", 0))
            urb.update(self.ACTUAL, struct.pack("<i", actual))
        self.done.append(urb)
        return 0, 0


def describe() -> str:
    """The device in umockdev's format."""
    raw = (DEVICE + CONFIGURATION).hex().upper()
    properties = {
        "DEVNAME": f"/dev/{NODE}",
        "DEVTYPE": "usb_device",
        "SUBSYSTEM": "usb",
        "BUSNUM": "001",
        "DEVNUM": "002",
        "MAJOR": "189",
        "MINOR": "1",
    }
    attributes = {
        "busnum": "1",
        "devnum": "2",
        "speed": "12",
        "bConfigurationValue": "1",
        "idVendor": "0483",
        "idProduct": "df11",
    }
    lines = [f"P: {SYSFS}", f"N: {NODE}={raw}"]
    lines += [f"E: {key}={value}" for key, value in properties.items()]
    lines += [f"A: {key}={value}\\n" for key, value in attributes.items()]
    return "\n".join([*lines, f"H: descriptors={raw}", ""])


def main(folder: Path) -> None:
    bed = UMockdev.Testbed.new()
    bed.add_from_string(describe())
    handler = UMockdev.IoctlBase()
    usbfs = Usbfs(Bootloader(folder))
    handler.connect("handle-ioctl", usbfs.handle)
    bed.attach_ioctl(f"/dev/{NODE}", handler)
    loop = GLib.MainLoop()
    # The test closes our standard input when it is over.
    GLib.io_add_watch(
        sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_HUP, lambda *_: loop.quit()
    )
    print(bed.get_root_dir(), flush=True)
    loop.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
