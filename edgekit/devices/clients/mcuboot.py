"""Images for MCUboot: a program with header and hash, made by imgtool.

The format: MCUboot, docs/design.md, "Image format".
"""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.firmware.image import FlashImage
from edgekit.errors import EdgekitError

#: Magic, load address, header size, size of protected TLVs, image size.
_HEADER = struct.Struct("<IIHHI")
_MAGIC, _TLV_MAGIC, _PROTECTED_MAGIC, _SHA256 = 0x96F3B83D, 0x6907, 0x6908, 0x10
_TLV = struct.Struct("<HH")


@dataclass(frozen=True)
class Slot:
    """Where a program goes: sizes in bytes.

    MCUboot finds the header's size in the header; with 4 KiB the program starts at a multiple of
    that. `align` is the flash's smallest write, `version` "MAJOR.MINOR.REVISION+BUILD", `key` a
    private key (PEM) or "" for a hash alone.
    """

    size: int
    header: int = 0x1000
    align: int = 4
    version: str = "0.0.0+0"
    key: str = ""


def payload_of(image: FlashImage, start: int) -> bytes:
    """All bytes from `start`, where the program's flash begins, to its end; gaps are erased."""
    end = max(address + len(data) for address, data in image.segments)
    whole = bytearray(b"\xff" * (end - start))
    for address, data in image.segments:
        whole[address - start : address - start + len(data)] = data
    return bytes(whole)


def wrap(payload: bytes, slot: Slot) -> bytes:
    """A payload with MCUboot's header in front and hash (and signature) behind.

    Raises:
        EdgekitError: E636 imgtool is not installed, E658 it refuses: a version or key that it
            cannot read, an image larger than the slot.
    """
    try:
        import click
        from imgtool.main import sign
    except ImportError as error:
        raise missing("imgtool") from error
    arguments = [
        "--version", slot.version, "--header-size", hex(slot.header), "--pad-header",
        "--align", str(slot.align), "--slot-size", hex(slot.size), "--overwrite-only",
        *(("--key", slot.key) if slot.key else ()),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        plain, wrapped = Path(folder) / "plain.bin", Path(folder) / "wrapped.bin"
        plain.write_bytes(payload)
        try:
            sign.main([*arguments, str(plain), str(wrapped)], standalone_mode=False)
            return wrapped.read_bytes()
        except (click.ClickException, OSError, ValueError) as error:
            said = error.format_message() if isinstance(error, click.ClickException) else str(error)
            raise EdgekitError(
                "E658",
                f"imgtool makes no image of the program ({len(payload)} B) for a slot of "
                f"{slot.size} B: {said}",
                help="[settings.smp] of the board's file says size, version and key",
            ) from error


def missing(package: str) -> EdgekitError:
    """E636, with the command that installs what this needs."""
    import sys

    return EdgekitError(
        "E636",
        f"the route 'smp' needs the package '{package}', which is not installed",
        help=f"{sys.executable} -m pip install 'edgekit[smp]'",
    )


def image_hash(image: bytes) -> bytes:
    """The SHA-256 that an image carries, by which MCUmgr names it; E658 where it has none."""
    try:
        magic, _, header, protected, size = _HEADER.unpack_from(image)
        if magic != _MAGIC:
            raise ValueError(f"magic {magic:#010x}")
        at = header + size + protected
        magic, length = _TLV.unpack_from(image, at)
        if magic != _TLV_MAGIC:
            raise ValueError(f"no list of TLVs at {at:#x}")
        end, at = at + length, at + _TLV.size
        while at < end:
            kind, length = _TLV.unpack_from(image, at)
            at += _TLV.size
            if kind == _SHA256 and at + length <= len(image):
                return image[at : at + length]
            at += length
        raise ValueError("no SHA-256 among the TLVs")
    except (struct.error, ValueError) as error:
        raise EdgekitError("E658", f"this is no image for MCUboot: {error}") from error
