"""Which words of the memories and which external bytes a command reads and writes.

Numbers are Python's, so that no sum wraps. An image counts as its rows down to
the last one that a window reaches.
"""

from __future__ import annotations

from dataclasses import dataclass

from targets.npu.config import BLOCK, PARAMETER_BYTES, TABLE_WORDS, Accelerator
from targets.npu.isa import Add, Command, Load, Opcode, Space, Store, Window


@dataclass(frozen=True)
class Span:
    """`blocks` runs of `length` words of a memory, `plane` words apart; P counts in channels."""

    space: Space
    start: int
    length: int
    blocks: int = 1
    plane: int = 0
    writes: bool = False

    @property
    def end(self) -> int:
        """One more than the last word."""
        return self.start + (self.blocks - 1) * self.plane + self.length

    def overlaps(self, other: Span) -> bool:
        """Whether both have a word in common."""
        if self.space != other.space or self.start >= other.end or other.start >= self.end:
            return False
        few, many = (self, other) if self.blocks <= other.blocks else (other, self)
        return any(
            many.meets(few.start + b * few.plane, few.start + b * few.plane + few.length)
            for b in range(few.blocks)
        )

    def meets(self, start: int, end: int) -> bool:
        """Whether a word of start .. end - 1 is one of these."""
        if self.blocks == 1 or self.plane == 0:
            return self.start < end and start < self.start + self.length
        # The first run that ends behind `start` has to begin before `end`.
        first = max(0, (start - self.start - self.length) // self.plane + 1)
        return first < self.blocks and self.start + first * self.plane < end


@dataclass(frozen=True)
class External:
    """`nbytes` bytes from `offset` on of an external region."""

    region: int
    offset: int
    nbytes: int
    writes: bool = False


def blocks_of(channels: int) -> int:
    return -(-channels // BLOCK)


def memory_words(config: Accelerator) -> dict[Space, int]:
    """Size of each memory, in what a `Span` counts."""
    return {
        Space.A: config.a_words,
        Space.W: config.w_words,
        Space.P: config.p_channels,
        Space.T: TABLE_WORDS if config.tables else 0,
    }


def group_lanes(command: Window, config: Accelerator) -> int:
    """Channels of a group."""
    return config.out_lanes if command.opcode is Opcode.CONV else config.depthwise_lanes


def image_span(command: Window, config: Accelerator) -> Span | None:
    """The rows of its image that a window may read; None where it lies above with every row."""
    reach = (command.out_h - 1) * command.stride_h + (command.kernel_h - 1) * command.step_h
    rows = min(reach - command.pad_top + 1, command.in_h)
    if rows <= 0:
        return None
    if command.opcode is Opcode.CONV:
        blocks = command.blocks
    else:
        blocks = blocks_of(command.groups * config.depthwise_lanes)
    return Span(Space.A, command.a_base, rows * command.in_w, blocks, command.a_plane)


def output_span(command: Window, config: Accelerator) -> Span:
    blocks = blocks_of(command.groups * group_lanes(command, config))
    return Span(
        Space.A, command.o_base, command.out_h * command.out_w,
        min(command.o_blocks, blocks), command.o_plane, writes=True,
    )  # fmt: skip


def footprint(command: Command, config: Accelerator) -> list[Span]:
    """The words of A, W, P and T that a command touches."""
    if isinstance(command, Load | Store):
        blocks = blocks_of(command.channels)
        writes = isinstance(command, Load)
        space = Space(command.space)
        return [Span(space, command.base, command.count, blocks, command.plane, writes)]
    lanes = config.requant_lanes
    if isinstance(command, Add):
        return [
            Span(Space.A, command.a_base, command.count),
            Span(Space.A, command.b_base, command.count),
            Span(Space.A, command.o_base, command.count, writes=True),
            Span(Space.P, command.p_base * lanes, lanes),
            Span(Space.T, 0, TABLE_WORDS),
        ]
    if not isinstance(command, Window):
        return []
    channels = command.groups * group_lanes(command, config)
    image = image_span(command, config)
    spans = [image] if image else []
    if command.opcode in (Opcode.CONV, Opcode.DEPTHWISE):
        spans.append(Span(Space.W, command.w_base, command.groups * command.steps))
    parameters = lanes if command.uniform else channels
    spans.append(Span(Space.P, command.p_base * lanes, parameters))
    return [*spans, output_span(command, config)]


def external(command: Command, config: Accelerator) -> External | None:
    """The external bytes that a LOAD or STORE moves."""
    if not isinstance(command, Load | Store):
        return None
    item = {
        Space.A: command.channels,
        Space.W: config.word_bytes >> command.half,
        Space.P: PARAMETER_BYTES,
        Space.T: 4,
    }[Space(command.space)]
    writes = isinstance(command, Store)
    return External(command.region, command.offset, command.count * item, writes)
