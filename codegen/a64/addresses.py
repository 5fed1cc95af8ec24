"""Loads and stores of vectors at any offset from a pointer.

LDR takes multiples of 16 up to 65,520, LDUR offsets from -256 to 255. Beyond these a second
register is moved near the place, and serves for what follows as long as that is near too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.a64.routine import Routine

SIZES = {"q": 16, "d": 8, "s": 4, "h": 2, "b": 1}


class Addresses:
    """Places at `base` + offset; `spare` is overwritten. Make a new one after a label."""

    def __init__(self, routine: Routine, base: str, spare: str) -> None:
        self.routine = routine
        self.base = base
        self.spare = spare
        self._at: int | None = None

    def load(self, register: str, offset: int) -> None:
        """`register`, such as "q3", from the place."""
        self._move("ldr", "ldur", register, offset)

    def store(self, register: str, offset: int) -> None:
        self._move("str", "stur", register, offset)

    def _move(self, scaled: str, unscaled: str, register: str, offset: int) -> None:
        size = SIZES[register[0]]
        if offset % size == 0 and 0 <= offset < 4096 * size:
            self.routine(f"{scaled} {register}, [{self.base}, #{offset}]")
        elif -256 <= offset < 256:
            self.routine(f"{unscaled} {register}, [{self.base}, #{offset}]")
        else:
            if self._at is None or not -256 <= offset - self._at < 256:
                # Offsets mostly ascend: this one becomes the lowest that is within reach, if that
                # is one immediate.
                self._at = offset + 256 if offset + 256 < 4096 else offset
                self.routine.add(self.spare, self.base, self._at)
            self.routine(f"{unscaled} {register}, [{self.spare}, #{offset - self._at}]")


@dataclass
class Reader:
    """Loads the vectors at `wanted` offsets, in the order of use, into a few registers.

    What is wanted again stays in its register as long as possible; a register that holds nothing
    of use takes what is wanted next, well before its use.
    """

    addresses: Addresses
    registers: Sequence[int]
    wanted: list[int]

    def __post_init__(self) -> None:
        self._held: dict[int, int] = {}
        self._at = 0

    def next(self) -> int:
        """The register that holds the next vector, until the one after it is asked for."""
        left = self.wanted[self._at :]
        self._at += 1
        self._held = {place: v for place, v in self._held.items() if place in left}
        if left[0] not in self._held and len(self._held) == len(self.registers):
            self._held.pop(max(self._held, key=left.index))  # what is wanted last makes room
        free = [v for v in self.registers if v not in self._held.values()]
        for place in dict.fromkeys(left):
            if place not in self._held and free:
                self._held[place] = free.pop(0)
                self.addresses.load(f"q{self._held[place]}", place)
        return self._held[left[0]]
