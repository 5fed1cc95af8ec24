"""UF2 files: blocks of 512 bytes that bootloaders take in any order (github.com/microsoft/uf2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edgekit.errors import EdgekitError

BLOCK, PAYLOAD = 512, 256
_MAGIC = (0x0A324655, 0x9E5D5157)
_END = 0x0AB16F30
_NOT_FLASH, _HAS_FAMILY = 0x1, 0x2000
_HEAD = struct.Struct("<8I")


def block(address: int, payload: bytes, number: int, total: int, family: int) -> bytes:
    """One block.

    Args:
        payload: `PAYLOAD` bytes for `address`, a multiple of `PAYLOAD`: what boot ROMs take.
        number: of `total` blocks, from 0.
        family: the chip's family ID.
    """
    head = _HEAD.pack(*_MAGIC, _HAS_FAMILY, address, len(payload), number, total, family)
    return head + payload.ljust(476, b"\0") + struct.pack("<I", _END)


def parse(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(address, payload) of each block that goes into flash; raises EdgekitError E638."""
    for at in range(0, len(data), BLOCK):
        part = data[at : at + BLOCK]
        whole = len(part) == BLOCK and struct.unpack_from("<I", part, BLOCK - 4)[0] == _END
        if not whole or _HEAD.unpack_from(part)[:2] != _MAGIC:
            raise EdgekitError("E638", f"block {at // BLOCK} of the drive's UF2 file is damaged")
        _, _, flags, address, size, *_ = _HEAD.unpack_from(part)
        if not flags & _NOT_FLASH:
            yield address, part[_HEAD.size : _HEAD.size + min(size, 476)]
