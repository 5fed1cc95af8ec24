"""Names of the status codes that the runtime on a device returns (firmware/include/ek_status.h)."""

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
    12: ("MORE", "a step is done and others are left"),
    13: ("STREAM", "a command stream that the accelerator would refuse"),
    14: ("GPU_LOST", "the GPU was lost; the CPU computed this result, and will the next ones"),
    15: ("CPU", "no program of this library is for this CPU, or of that name"),
    16: ("GPU_NONE", "the program found no GPU"),
}


#: Not an error: `STATUS` says what it is.
GPU_LOST = 14
#: Added to the number of a failed step of the board's bring-up (firmware/ports/ek_board.h).
SETUP = 0x100


def describe(code: int) -> str:
    """``8 KERNEL_MISSING: the firmware lacks ...``."""
    if SETUP < code < 2 * SETUP:
        return f"{code} SETUP: step {code - SETUP} of 'setup' in the board's file waited in vain"
    name, meaning = STATUS.get(code, ("UNKNOWN", "a code of another version"))
    return f"{code} {name}" + (f": {meaning}" if meaning else "")
