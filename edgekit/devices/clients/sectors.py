"""The units in which a flash is erased, as board files write them: ``4*16K, 64K, 7*128K``."""

from __future__ import annotations

import re

from edgekit.errors import EdgekitError

_PART = re.compile(r"(?:(\d+)\*)?(\d+)(K?)")


def parse_sectors(text: str, where: str) -> list[int]:
    """Sizes in bytes of all sectors in order of address.

    Args:
        where: the setting's place, for the error.

    Raises:
        EdgekitError: E639 where the text is not a list of ``[COUNT*]SIZE[K]``.
    """
    sizes: list[int] = []
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        count, size = (int(found[1] or 1), int(found[2])) if found else (0, 0)
        if not found or not 0 < count <= 4096 or not size:
            raise EdgekitError(
                "E639",
                f"{where}: '{part.strip()}' is no group of sectors",
                help='write for instance sectors = "4*16K, 64K, 7*128K"',
            )
        sizes += [size << 10 if found[3] else size] * count
    return sizes


def touched(sizes: list[int], offset: int, size: int) -> list[int]:
    """Numbers of the sectors that hold any of [offset, offset + size) from the flash's start."""
    found, start = [], 0
    for number, length in enumerate(sizes):
        if start < offset + size and offset < start + length:
            found.append(number)
        start += length
    return found
