"""The programs of a library, and their constants, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from codegen.memory import ALIGN
from codegen.program import Program

#: At the start of a context, before the arena: which program it runs. As long as a cache line.
HEAD_BYTES = 64
#: Behind the arena, of libraries for GPUs: what is known of the device (EK_GPU_STATE_BYTES).
GPU_STATE_BYTES = 8192


@dataclass(frozen=True)
class GpuPart:
    """What a program brings that was compiled for GPUs.

    Attributes:
        bundle: model.ekb, which the device's part of the model is read from.
        constants: where the program's constants are in it.
        room: bytes of an instance's memory for the runtime and a device.
    """

    bundle: bytes
    constants: int
    room: int


@dataclass(frozen=True)
class Member:
    """One program of a library, the best first.

    `hwcaps` are the bits of `targets.linux.HWCAPS` that the CPU must have for it, `hash` is that of
    its bundle.
    """

    program: Program
    hwcaps: int
    hash: bytes
    gpu: GpuPart | None = None


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

    def place_bundle(
        self, part: GpuPart, constants: bytes, pieces: Sequence[tuple[int, int]]
    ) -> None:
        """Put a bundle at the beginning, which has the `pieces` (offset, bytes) of its program's
        `constants` already."""
        assert not self.blob
        self.blob += part.bundle
        for offset, nbytes in pieces:
            self.offsets[constants[offset : offset + nbytes]] = part.constants + offset


def gpu_member(members: Sequence[Member]) -> tuple[int, Member] | None:
    """The program of a library that was compiled for GPUs, and its index."""
    found = [(i, m) for i, m in enumerate(members) if m.gpu is not None]
    return found[0] if found else None


def arena_end(members: Sequence[Member]) -> int:
    """Where the arena of a context ends, whichever program it runs."""
    arena = max(m.program.arena_bytes for m in members)
    return HEAD_BYTES + -(-max(arena, 1) // HEAD_BYTES) * HEAD_BYTES


def context_bytes(members: Sequence[Member]) -> int:
    """What an instance needs, whichever program it runs, and on a GPU."""
    room = sum(GPU_STATE_BYTES + m.gpu.room for m in members if m.gpu is not None)
    return arena_end(members) + -(-room // HEAD_BYTES) * HEAD_BYTES
