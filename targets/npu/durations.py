"""What a command's counts say of its time: steps, words on the bus, runs of bytes."""

from __future__ import annotations

from math import gcd

from targets.npu.config import BLOCK, PARAMETER_BYTES, Accelerator
from targets.npu.footprint import external, group_lanes
from targets.npu.isa import Add, Command, Load, Space, Store, Window

#: Bytes of a bus word.
WORD = 4


def steps_of(command: Command) -> int:
    """Steps of the array, or reads of ADD, two a word: register STEPS."""
    if isinstance(command, Window):
        return command.groups * command.out_h * command.out_w * command.steps
    return 2 * command.count if isinstance(command, Add) else 0


def words_written(command: Window | Add, config: Accelerator) -> int:
    """Words of A that a command of the compute engine writes, one a cycle."""
    if isinstance(command, Add):
        return command.count
    lanes = group_lanes(command, config)
    blocks = min(-(-command.groups * lanes // BLOCK), command.o_blocks)
    # A group of fewer channels than a block writes its part of the block's word.
    return command.out_h * command.out_w * max(blocks, min(command.groups, blocks * BLOCK // lanes))


def array_cycles(command: Window | Add, config: Accelerator) -> int:
    """Cycles from the first step to the last result.

    A group's results of one pixel are rescaled beside the steps of the next one; those of the last
    pixel follow the last step.
    """
    if isinstance(command, Add):
        each = max(2, BLOCK // config.requant_lanes)
        return (command.count - 1) * each + 1 + BLOCK // config.requant_lanes
    drain = group_lanes(command, config) // config.requant_lanes
    pixels = command.groups * command.out_h * command.out_w
    return (pixels - 1) * max(command.steps, drain) + command.steps + drain


def bus_words(command: Command, config: Accelerator, base: int = 0) -> int:
    """Words that a transfer moves over the bus: all that its bytes touch; 0 for other commands.

    `base` is the address of its region.
    """
    moved = external(command, config)
    if moved is None:
        return 0
    return ((moved.offset + base) % WORD + moved.nbytes + WORD - 1) // WORD


def runs_of(command: Load | Store, config: Accelerator, base: int = 0) -> int:
    """Cycles that the transfer engine takes for a transfer's bytes, without the bus.

    To W, P and T a word a cycle. To and from A it takes in each cycle what lies in one bus word and
    one word of A: a pixel whose first byte is not the first of a bus word has a run more for each
    of its blocks.
    """
    words = bus_words(command, config, base)
    if command.space != Space.A:
        return words
    offset, channels = (command.offset + base) % WORD, command.channels
    period = WORD // gcd(WORD, channels)
    odd = [(offset + p * channels) % WORD != 0 for p in range(period)]
    pixels = sum(odd) * (command.count // period) + sum(odd[: command.count % period])
    return words + pixels * -(-channels // BLOCK) - (offset != 0)


def size_cycles(command: Load | Store, config: Accelerator) -> int:
    """Cycles in which the transfer engine multiplies counts: a bit of the factor each."""
    factor = {
        Space.A: command.channels,
        Space.W: config.word_bytes // WORD // (2 if command.half else 1),
        Space.P: PARAMETER_BYTES // WORD,
        Space.T: 1,
    }[Space(command.space)]
    return factor.bit_length() + 1
