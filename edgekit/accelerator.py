"""What a compiled model asks of the accelerator: its streams, read from the bundle."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgekit.bundle import Bundle
from edgekit.bundle.model import SPACE_CONSTANTS, CallRef
from edgekit.devices.find import find_target
from edgekit.errors import EdgekitError
from edgekit.output import Output
from targets.npu.check import check
from targets.npu.config import Accelerator
from targets.npu.footprint import footprint
from targets.npu.isa import MAGIC, Command, CommandError, Head, Opcode, Space
from targets.npu.timing import timing

_WORD = 4


@dataclass(frozen=True)
class StreamReport:
    """A stream: `layer` is its first one. Cycles are estimated; `steps`, `waited`, `moved` and
    `stalled` are what the registers of these names will hold. `a_words`, `w_words` and `p_channels`
    are how far it fills the memories."""

    layer: str
    commands: int
    words: int
    cycles: int
    steps: int
    waited: int
    moved: int
    stalled: int
    a_words: int
    w_words: int
    p_channels: int


def streams(folder: Output) -> list[StreamReport]:
    """The streams of an output folder, in the order in which they run.

    Raises:
        EdgekitError: E349 where its target has no accelerator, or no layer runs there; E407 where
            the accelerator would refuse a stream.
    """
    bundle = folder.bundle
    config = find_target(bundle.target).accelerator
    found = [] if config is None else [
        _report(layer, commands, config) for layer, commands in _commands(bundle, config)
    ]  # fmt: skip
    if not found:
        why = "none of its layers runs there" if config else "its target has none"
        raise EdgekitError(
            "E349",
            f"'{bundle.name}' for {bundle.target} has no streams for an accelerator: {why}",
            help="edgekit compile --target npu64",
        )
    return found


def _commands(bundle: Bundle, config: Accelerator) -> Iterator[tuple[str, list[Command]]]:
    for layer, call in zip(bundle.layers, bundle.calls, strict=True):
        for argument in call.arguments[:1]:
            data = bundle.constants[argument.offset : argument.offset + argument.nbytes]
            count = len(data) // _WORD
            words = struct.unpack(f"<{count}I", data[: count * _WORD])
            head = count >= Head.words and words[0] & 0xFF == Opcode.HEAD and words[1] == MAGIC
            if argument.space == SPACE_CONSTANTS and head:
                yield layer.name, _checked(words, config, layer.name, call)


def _checked(
    words: tuple[int, ...], config: Accelerator, layer: str, call: CallRef
) -> list[Command]:
    """The commands; regions are what follows the stream among the call's arguments."""
    try:
        return check(words, config, [a.nbytes for a in call.arguments[1:]])
    except CommandError as refused:
        raise EdgekitError(
            "E407",
            f"the accelerator would refuse the stream of '{layer}': "
            f"{refused.error.name}, {refused}",
            help="make the bundle again with edgekit compile",
        ) from None


def _report(layer: str, commands: list[Command], config: Accelerator) -> StreamReport:
    times = timing(commands, config).total
    ends = dict.fromkeys(Space, 0)
    for command in commands:
        for span in footprint(command, config):
            ends[span.space] = max(ends[span.space], span.end)
    return StreamReport(
        layer,
        len(commands),
        sum(c.words for c in commands),
        times.cycles,
        times.steps,
        times.waited,
        times.moved,
        times.stalled,
        ends[Space.A],
        ends[Space.W],
        ends[Space.P],
    )
