"""Flash content as it was read back, against what was written."""

from __future__ import annotations

from edgekit.errors import EdgekitError


def compare(address: int, wanted: bytes, found: bytes) -> None:
    """Raises EdgekitError E605 where flash content differs from what was written."""
    if wanted == found:
        return
    different = [i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b]
    first = different[0] if different else min(len(wanted), len(found))
    count = len(different) + abs(len(wanted) - len(found))
    read = f"{found[first]:#04x}" if first < len(found) else "nothing"
    raise EdgekitError(
        "E605",
        f"flash verification failed at {address + first:#010x}: wrote {wanted[first]:#04x}, "
        f"read {read}; {count} of {len(wanted)} bytes differ",
        help="flash again; if it stays, the flash is protected, worn, or not at that address",
    )
