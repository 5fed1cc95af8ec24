"""The programs of a library, and their constants, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from codegen.memory import ALIGN
from codegen.program import Program

#: At the start of a context, before the arena: which program it runs. As long as a cache line.
HEAD_BYTES = 64


@dataclass(frozen=True)
class Member:
    """One program of a library, the best first.

    `hwcaps` are the bits of `targets.linux.HWCAPS` that the CPU must have for it, `hash` is that of
    its bundle.
    """

    program: Program
    hwcaps: int
    hash: bytes


@dataclass
class Constants:
    """Constants of all programs in one blob, equal ones once: `offsets` by their bytes."""

    blob: bytearray = field(default_factory=bytearray)
    offsets: dict[bytes, int] = field(default_factory=dict)

    def place(self, data: bytes) -> int:
        """The offset of `data`, which is added where it is new."""
        if data not in self.offsets:
            self.blob += bytes(-len(self.blob) % ALIGN)
            self.offsets[data] = len(self.blob)
            self.blob += data
        return self.offsets[data]


def context_bytes(members: Sequence[Member]) -> int:
    """What an instance needs, whichever program it runs."""
    arena = max(m.program.arena_bytes for m in members)
    return HEAD_BYTES + -(-max(arena, 1) // HEAD_BYTES) * HEAD_BYTES
