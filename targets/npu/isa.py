"""The accelerator's commands: values, their encoding, and what makes words no command.

A stream is 32-bit words: HEAD, then commands of two engines, then END. Bits 0 to 7 of a command's
first word are its opcode, bits 8 to 15 its number of words, bits 16 to 31 `after`: how many
commands of the other engine have to be complete before it may start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from targets.npu.config import Accelerator

MAGIC = 0x314E_4B45  # "EKN1"


class Opcode(IntEnum):
    END = 0x01
    LOAD = 0x02
    STORE = 0x03
    CONV = 0x04
    DEPTHWISE = 0x05
    SUM = 0x06
    MAX = 0x07
    ADD = 0x08
    HEAD = 0x0F


class Error(IntEnum):
    """Why a stream is refused; bits 8 to 15 of STATUS."""

    NONE = 0
    OPCODE = 1
    LENGTH = 2
    COUNT = 3
    ADDRESS = 4
    TOKEN = 5
    TRUNCATED = 6
    HEAD = 7
    RACE = 8
    REGION = 9


class Space(IntEnum):
    """Memories of the accelerator."""

    A = 0
    W = 1
    P = 2
    T = 3


class CommandError(ValueError):
    """A stream that is refused.

    Attributes:
        error: why.
        command: index of the command, counted from 0 (HEAD).
    """

    def __init__(self, error: Error, command: int, message: str) -> None:
        super().__init__(f"command {command}: {message}")
        self.error, self.command = error, command


@dataclass(frozen=True)
class Field:
    """Bits `low` to `low + width - 1` of word `word`; values from `least` to `most`."""

    word: int
    low: int
    width: int
    least: int = 0
    most: int = -1
    signed: bool = False

    @property
    def limit(self) -> int:
        return self.most if self.most >= 0 else (1 << (self.width - self.signed)) - 1


@dataclass(frozen=True)
class Head:
    """The first command: for which configuration the stream is, and how long it is."""

    opcode: ClassVar[Opcode] = Opcode.HEAD
    words: ClassVar[int] = 4
    fields: ClassVar[dict[str, Field]] = {
        "magic": Field(1, 0, 32),
        "config": Field(2, 0, 32),
        "length": Field(3, 0, 32),
    }
    config: int
    length: int
    magic: int = MAGIC
    after: int = 0


@dataclass(frozen=True)
class End:
    """The last command; the accelerator is done when both engines are."""

    opcode: ClassVar[Opcode] = Opcode.END
    words: ClassVar[int] = 1
    fields: ClassVar[dict[str, Field]] = {}
    after: int = 0


_TRANSFER = {
    "offset": Field(1, 0, 32),
    "region": Field(2, 0, 3),
    "space": Field(2, 4, 2),
    "half": Field(2, 6, 1),
    "fill": Field(2, 8, 8, least=-128, signed=True),
    "base": Field(3, 0, 20),
    "count": Field(4, 0, 24, least=1),
    "channels": Field(5, 0, 16, least=1),
    "plane": Field(6, 0, 20),
}


@dataclass(frozen=True)
class Load:
    """From byte `offset` of external region `region` into a memory of the accelerator.

    A: `count` pixels of `channels` bytes each, one after the other, into planes of words: byte c of
    pixel p goes to byte c % 8 of word base + (c // 8) * plane + p, and the last block's bytes
    without a channel become `fill`. The offset may be any.
    W: `count` words of the weight memory from `base` on; with `half` only bytes 0 to 3 of each
    group of 8 are there, the others of the word keep what they were.
    P: parameters of `count` channels from channel `base` on. T: `count` words from `base` on.
    Here the offset is a multiple of 4, channels is 1 and plane and fill are 0.
    """

    opcode: ClassVar[Opcode] = Opcode.LOAD
    words: ClassVar[int] = 7
    fields: ClassVar[dict[str, Field]] = _TRANSFER
    offset: int
    region: int
    space: int
    base: int
    count: int
    channels: int = 1
    plane: int = 0
    fill: int = 0
    half: int = 0
    after: int = 0


@dataclass(frozen=True)
class Store:
    """The way back: `count` pixels of `channels` bytes from the activation memory; fill is 0."""

    opcode: ClassVar[Opcode] = Opcode.STORE
    words: ClassVar[int] = 7
    fields: ClassVar[dict[str, Field]] = _TRANSFER
    offset: int
    region: int
    base: int
    count: int
    channels: int
    plane: int = 0
    space: int = Space.A
    fill: int = 0
    half: int = 0
    after: int = 0


_WINDOW = {
    "a_base": Field(1, 0, 20),
    "a_plane": Field(2, 0, 20),
    "in_w": Field(3, 0, 16, least=1, most=4095),
    "in_h": Field(3, 16, 16, least=1, most=4095),
    "out_w": Field(4, 0, 16, least=1, most=4095),
    "out_h": Field(4, 16, 16, least=1, most=4095),
    "kernel_h": Field(5, 0, 8, least=1),
    "kernel_groups": Field(5, 8, 8, least=1),
    "taps": Field(5, 16, 3, least=1, most=4),
    "tail": Field(5, 20, 3, least=1, most=4),
    "stride_h": Field(6, 0, 8, least=1, most=15),
    "stride_w": Field(6, 8, 8, least=1, most=15),
    "step_h": Field(6, 16, 8, least=1, most=63),
    "step_w": Field(6, 24, 8, least=1, most=63),
    "pad_top": Field(7, 0, 8),
    "pad_left": Field(7, 8, 8),
    "pad": Field(7, 16, 8, least=-128, signed=True),
    "uniform": Field(7, 24, 1),
    "blocks": Field(8, 0, 12, least=1),
    "groups": Field(8, 12, 12, least=1),
    "o_base": Field(9, 0, 20),
    "o_plane": Field(10, 0, 20),
    "o_blocks": Field(11, 0, 12, least=1),
    "w_base": Field(12, 0, 16),
    "p_base": Field(12, 16, 16),
    "zero_point": Field(13, 0, 8, least=-128, signed=True),
    "low": Field(13, 8, 8, least=-128, signed=True),
    "high": Field(13, 16, 8, least=-128, signed=True),
}


@dataclass(frozen=True)
class Window:
    """A window that slides over an image of the activation memory: CONV, DEPTHWISE, SUM and MAX.

    docs/ACCELERATOR.md says what each computes.
    """

    words: ClassVar[int] = 14
    fields: ClassVar[dict[str, Field]] = _WINDOW
    opcode: Opcode
    a_base: int
    a_plane: int
    in_w: int
    in_h: int
    out_w: int
    out_h: int
    o_base: int
    o_plane: int
    o_blocks: int
    groups: int
    blocks: int = 1
    kernel_h: int = 1
    kernel_groups: int = 1
    taps: int = 1
    tail: int = 1
    stride_h: int = 1
    stride_w: int = 1
    step_h: int = 1
    step_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad: int = 0
    uniform: int = 0
    w_base: int = 0
    p_base: int = 0
    zero_point: int = 0
    low: int = -128
    high: int = 127
    after: int = 0

    @property
    def steps(self) -> int:
        """Cycles that a group takes per pixel, and words of the weight memory that it reads."""
        return self.kernel_h * self.kernel_groups * self.blocks


@dataclass(frozen=True)
class Add:
    """`count` words: clamp(rescale(table a[byte of a] + table b[byte of b]) + zero point)."""

    opcode: ClassVar[Opcode] = Opcode.ADD
    words: ClassVar[int] = 7
    fields: ClassVar[dict[str, Field]] = {
        "a_base": Field(1, 0, 20),
        "b_base": Field(2, 0, 20),
        "o_base": Field(3, 0, 20),
        "count": Field(4, 0, 20, least=1),
        "p_base": Field(5, 16, 16),
        "zero_point": Field(6, 0, 8, least=-128, signed=True),
        "low": Field(6, 8, 8, least=-128, signed=True),
        "high": Field(6, 16, 8, least=-128, signed=True),
    }
    a_base: int
    b_base: int
    o_base: int
    count: int
    p_base: int = 0
    zero_point: int = 0
    low: int = -128
    high: int = 127
    after: int = 0


Command = Head | End | Load | Store | Window | Add
WINDOWS = (Opcode.CONV, Opcode.DEPTHWISE, Opcode.SUM, Opcode.MAX)
KINDS: dict[Opcode, type[Command]] = {
    Opcode.HEAD: Head,
    Opcode.END: End,
    Opcode.LOAD: Load,
    Opcode.STORE: Store,
    Opcode.ADD: Add,
    **dict.fromkeys(WINDOWS, Window),
}
#: Commands of the engine that moves data; the rest but HEAD and END are the other engine's.
TRANSFERS = (Opcode.LOAD, Opcode.STORE)
COMPUTES = (*WINDOWS, Opcode.ADD)


def stream(commands: Iterable[Command], config: Accelerator) -> list[int]:
    """Words of a whole stream, HEAD and END added around `commands`."""
    body = [word for c in (*commands, End()) for word in encode(c)]
    return [*encode(Head(config.word, Head.words + len(body))), *body]


def encode(command: Command) -> list[int]:
    """Words of one command.

    Raises:
        ValueError: where a value does not fit its field.
    """
    if not 0 <= command.after < 1 << 16:
        raise ValueError(f"after is {command.after}, at most 65535")
    words = [0] * command.words
    words[0] = int(command.opcode) | command.words << 8 | command.after << 16
    for name, field in command.fields.items():
        value = int(getattr(command, name))
        if not field.least <= value <= field.limit:
            raise ValueError(f"{name} is {value}, from {field.least} to {field.limit}")
        words[field.word] |= (value & ((1 << field.width) - 1)) << field.low
    return words


def decode(words: Sequence[int], config: Accelerator) -> list[Command]:
    """Commands of a whole stream, HEAD and END included.

    Raises:
        CommandError: TRUNCATED, HEAD, OPCODE, LENGTH or COUNT, in the order of the words.
    """
    commands: list[Command] = []
    at = 0
    while at < len(words):
        command = _decode_one(words, at, len(commands), config)
        commands.append(command)
        at += command.words
        if isinstance(command, End):
            if at != len(words):
                raise CommandError(Error.LENGTH, len(commands), "words after END")
            return commands
    raise CommandError(Error.TRUNCATED, len(commands), "the stream ends without END")


def _decode_one(words: Sequence[int], at: int, index: int, config: Accelerator) -> Command:
    first = words[at]
    code, count, after = first & 0xFF, first >> 8 & 0xFF, first >> 16
    if (code == Opcode.HEAD) != (index == 0):
        raise CommandError(Error.HEAD, index, "HEAD is the first command and no other")
    if code not in set(Opcode):
        raise CommandError(Error.OPCODE, index, f"unknown opcode {code:#04x}")
    opcode = Opcode(code)
    if opcode is Opcode.ADD and not config.tables:
        raise CommandError(Error.OPCODE, index, f"ADD, but {config.name} has no tables")
    kind = KINDS[opcode]
    if count != kind.words:
        raise CommandError(Error.LENGTH, index, f"{opcode.name} of {count} words, not {kind.words}")
    if at + count > len(words):
        raise CommandError(Error.TRUNCATED, index, f"the stream ends within {opcode.name}")
    values, used = _fields(kind, words[at : at + count], index, opcode)
    if any(w & ~u for w, u in zip(words[at + 1 : at + count], used[1:], strict=True)):
        raise CommandError(Error.COUNT, index, f"{opcode.name}: reserved bits are set")
    if kind is Head:
        _check_head(values, index, len(words), config)
    if opcode in (Opcode.HEAD, Opcode.END) and after:
        raise CommandError(Error.COUNT, index, f"{opcode.name}: after is {after}")
    if kind is Window:
        values["opcode"] = opcode
        _check_window(opcode, values, index)
    if opcode in TRANSFERS:
        _check_transfer(opcode, values, index)
    return kind(**values, after=after)


def _check_window(opcode: Opcode, values: dict[str, Any], index: int) -> None:
    """Counts that contradict each other."""
    taps, blocks = values["taps"], values["blocks"]
    wrong = ""
    if values["tail"] > taps:
        wrong = f"tail is {values['tail']}, more than taps, {taps}"
    elif opcode is not Opcode.CONV and blocks != 1:
        wrong = f"blocks is {blocks}, 1 in all but CONV"
    elif opcode is Opcode.CONV and (taps == 3 or (taps > 1 and blocks != 1)):
        wrong = f"taps is {taps} with {blocks} blocks; CONV has 1, or 2 or 4 with one block"
    if wrong:
        raise CommandError(Error.COUNT, index, f"{opcode.name}: {wrong}")


def _check_transfer(opcode: Opcode, values: dict[str, Any], index: int) -> None:
    """Fields that have a meaning for another memory, or another direction, only."""
    space = Space(values["space"])
    wrong = ""
    unused: tuple[str, ...] = ()
    if space is Space.A:
        unused = ("half",) if opcode is Opcode.LOAD else ("half", "fill")
    elif opcode is Opcode.STORE:
        wrong = f"space is {space.name}, A in all STORE"
    else:
        unused = ("plane", "fill") if space is Space.W else ("plane", "fill", "half")
        if values["offset"] % 4 or values["channels"] != 1:
            wrong = (
                f"offset is {values['offset']} and channels {values['channels']}; "
                f"{space.name} has a multiple of 4 and 1"
            )
    if not wrong and any(values[name] for name in unused):
        wrong = f"{', '.join(unused)}: 0 for {space.name}"
    if wrong:
        raise CommandError(Error.COUNT, index, f"{opcode.name}: {wrong}")


def _fields(
    kind: type[Command], words: Sequence[int], index: int, opcode: Opcode
) -> tuple[dict[str, Any], list[int]]:
    """Values by name, and the bits of each word that are a field's."""
    values, used = {}, [0] * kind.words
    for name, field in kind.fields.items():
        raw = words[field.word] >> field.low & ((1 << field.width) - 1)
        used[field.word] |= ((1 << field.width) - 1) << field.low
        value = raw - (1 << field.width) if field.signed and raw >> (field.width - 1) else raw
        if not field.least <= value <= field.limit:
            raise CommandError(
                Error.COUNT, index,
                f"{opcode.name}: {name} is {value}, from {field.least} to {field.limit}",
            )  # fmt: skip
        values[name] = value
    return values, used


def _check_head(values: dict[str, int], index: int, length: int, config: Accelerator) -> None:
    if values["magic"] != MAGIC:
        raise CommandError(Error.HEAD, index, f"magic {values['magic']:#010x}, not {MAGIC:#010x}")
    if values["config"] != config.word:
        raise CommandError(
            Error.HEAD, index, f"configuration {values['config']:#010x}, not {config.word:#010x}"
        )
    if values["length"] != length:
        raise CommandError(Error.TRUNCATED, index, f"{length} words, HEAD says {values['length']}")


__all__ = ["COMPUTES", "KINDS", "MAGIC", "TRANSFERS", "WINDOWS", "Add", "Command", "CommandError",
           "End", "Error", "Field", "Head", "Load", "Opcode", "Space", "Store", "Window", "decode",
           "encode", "stream"]  # fmt: skip
