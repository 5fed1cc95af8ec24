"""Names of the status codes that the runtime on a device returns (firmware/include/edgekit.h)."""

from __future__ import annotations

STATUS = {
    0: ("OK", ""),
    1: ("TRUNCATED", "the bundle is shorter than it says"),
    2: ("MAGIC", "this is not a bundle"),
    3: ("VERSION", "bundle and firmware are of different versions"),
    4: ("CHECKSUM", "the bundle is damaged"),
    5: ("MALFORMED", "the bundle's tables contradict each other"),
    6: ("BOUNDS", "a tensor or constant lies outside its memory"),
    7: ("ALIGNMENT", "a buffer is not aligned as its kernel needs"),
    8: ("KERNEL_MISSING", "the firmware lacks a kernel that the bundle names"),
    9: ("ARENA_TOO_SMALL", "the firmware's arena is smaller than the bundle needs"),
    10: ("TOO_MANY_CALLS", "the bundle has more kernel calls than the firmware's table holds"),
    11: ("STATE", "a call came in the wrong order"),
}


def describe(code: int) -> str:
    """``8 KERNEL_MISSING: the firmware lacks ...``."""
    name, meaning = STATUS.get(code, ("UNKNOWN", "a code of another version"))
    return f"{code} {name}" + (f": {meaning}" if meaning else "")
