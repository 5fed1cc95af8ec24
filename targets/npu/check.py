"""Whether a stream may run: what docs/ACCELERATOR.md calls an error, found before the start."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from targets.npu.config import Accelerator
from targets.npu.footprint import (
    Span,
    external,
    footprint,
    image_span,
    memory_words,
    output_span,
)
from targets.npu.isa import (
    COMPUTES,
    TRANSFERS,
    Add,
    Command,
    CommandError,
    Error,
    Window,
    decode,
)


def check(
    words: Sequence[int],
    config: Accelerator,
    region_bytes: Sequence[int] | None = None,
    *,
    races: bool = True,
) -> list[Command]:
    """The commands of a stream that may run.

    Args:
        region_bytes: size of each external region; without it REGION is not checked.
        races: also check RACE, which neither the hardware nor the firmware does.

    Raises:
        CommandError: the first error, of this order: what makes words no commands (`decode`),
            ADDRESS and REGION command by command, TOKEN, RACE.
    """
    commands = decode(words, config)
    for index, command in enumerate(commands):
        _check_addresses(command, index, config)
        if region_bytes is not None:
            _check_region(command, index, config, region_bytes)
    _check_tokens(commands)
    if races:
        for index, command in enumerate(commands):
            _check_own(command, index, config)
        _check_races(commands, config)
    return commands


def order(commands: Sequence[Command], compute_first: bool = False) -> list[int]:
    """Indices of transfers and computes in an order in which they may run one by one.

    The transfer engine runs as far ahead as it may, or with `compute_first` the other one does.
    `commands` are those of a stream that has been checked; its own order is a third one.
    """
    engines = _engines(commands)
    if compute_first:
        engines.reverse()
    done, result = [0, 0], []
    while any(d < len(e) for d, e in zip(done, engines, strict=True)):
        first = done[0] < len(engines[0]) and commands[engines[0][done[0]]].after <= done[1]
        which = 0 if first else 1
        result.append(engines[which][done[which]])
        done[which] += 1
    return result


def _check_tokens(commands: Sequence[Command]) -> None:
    """A command waits for none behind it, so that the order of the stream is a possible one."""
    transfers = computes = 0
    for index, command in enumerate(commands):
        is_transfer = command.opcode in TRANSFERS
        if not is_transfer and command.opcode not in COMPUTES:
            continue
        before = computes if is_transfer else transfers
        if command.after > before:
            raise CommandError(
                Error.TOKEN, index,
                f"waits for {command.after} commands of the other engine; {before} stand before it",
            )  # fmt: skip
        transfers, computes = transfers + is_transfer, computes + (not is_transfer)


def _engines(commands: Sequence[Command]) -> list[list[int]]:
    """Indices of the transfers, and of the computes."""
    return [
        [i for i, c in enumerate(commands) if c.opcode in kinds] for kinds in (TRANSFERS, COMPUTES)
    ]


def _check_addresses(command: Command, index: int, config: Accelerator) -> None:
    sizes = memory_words(config)
    for span in footprint(command, config):
        if span.end > sizes[span.space]:
            raise CommandError(
                Error.ADDRESS, index,
                f"{command.opcode.name}: word {span.end - 1} of {span.space.name}, "
                f"which has {sizes[span.space]}",
            )  # fmt: skip


def _check_region(
    command: Command, index: int, config: Accelerator, region_bytes: Sequence[int]
) -> None:
    outside = external(command, config)
    if outside is None:
        return
    name = command.opcode.name
    if outside.region >= len(region_bytes):
        raise CommandError(
            Error.REGION, index, f"{name}: region {outside.region} of {len(region_bytes)}"
        )
    end, size = outside.offset + outside.nbytes, region_bytes[outside.region]
    if end > size:
        raise CommandError(
            Error.REGION, index,
            f"{name}: bytes up to {end} of region {outside.region}, which has {size}",
        )  # fmt: skip


def _check_own(command: Command, index: int, config: Accelerator) -> None:
    """What one command alone may not do: write a word twice, or what it still reads."""
    name = command.opcode.name
    for span in footprint(command, config):
        if span.writes and span.blocks > 1 and span.plane < span.length:
            raise CommandError(
                Error.RACE, index,
                f"{name}: planes of {span.length} words, {span.plane} words apart, overlap",
            )  # fmt: skip
    operands: list[Span] = []
    if isinstance(command, Window):
        image = image_span(command, config)
        operands = [image] if image else []
        output = output_span(command, config)
    elif isinstance(command, Add):
        a, b, output = footprint(command, config)[:3]
        operands = [s for s in (a, b) if s.start != output.start]
    for operand in operands:
        if operand.overlaps(output):
            raise CommandError(Error.RACE, index, f"{name}: the output overlaps an operand")


def _check_races(commands: Sequence[Command], config: Accelerator) -> None:
    """Pairs of commands of both engines that touch a word, one of them writing, in no order.

    Compute i starts when as many transfers are finished as any compute up to i waits for, and the
    other way round; with those running maxima, the transfers that may run beside compute i are
    neighbours. External bytes are the transfer engine's alone, which has an order.
    """
    transfers, computes = _engines(commands)
    waits = [list(accumulate((commands[i].after for i in e), max)) for e in (transfers, computes)]
    moved = [footprint(commands[i], config)[0] for i in transfers]
    # From the first to the last word, a row for each transfer.
    hulls = np.array([(s.space, s.start, s.end, s.writes) for s in moved], np.int64).reshape(-1, 4)
    for number, index in enumerate(computes):
        first, last = waits[1][number], bisect_right(waits[0], number)
        if first >= last:
            continue
        space, start, end, writes = hulls[first:last].T
        for span in footprint(commands[index], config):
            near = (space == span.space) & (start < span.end) & (span.start < end)
            for n in first + np.flatnonzero(near if span.writes else near & (writes > 0)):
                if span.overlaps(moved[n]):
                    pair = sorted((index, transfers[n]))
                    raise CommandError(
                        Error.RACE, pair[1],
                        f"touches words of {span.space.name} that command {pair[0]} touches, "
                        f"in no order",
                    )  # fmt: skip


__all__ = ["check", "order"]
