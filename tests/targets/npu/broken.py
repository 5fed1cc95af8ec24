"""Command streams with one thing wrong, each with the error that it has to give.

`broken(config, seed)` is the way in; `kinds(config)` are its cases one by one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from targets.npu.config import TABLE_WORDS, Accelerator
from targets.npu.footprint import external, footprint, output_span
from targets.npu.isa import (
    COMPUTES,
    KINDS,
    TRANSFERS,
    WINDOWS,
    Add,
    Command,
    Error,
    Field,
    Head,
    Load,
    Opcode,
    Space,
    Store,
    Window,
    decode,
    encode,
    stream,
)

from .streams import Case, valid


class Base:
    """A stream that may run, to be broken."""

    def __init__(self, config: Accelerator, rng: random.Random) -> None:
        self.config, self.rng = config, rng
        self.case = valid(config, rng.randrange(1 << 30), cycles=900)
        self.words = list(self.case.words)
        self.commands = decode(self.words, config)
        self.at = [0]
        for command in self.commands:
            self.at.append(self.at[-1] + command.words)

    def some(self, fits: Callable[[Any], bool] = lambda c: True) -> int | None:
        """Index of a command between HEAD and END for which `fits` holds."""
        found = [i for i, c in enumerate(self.commands[1:-1], 1) if fits(c)]
        return self.rng.choice(found) if found else None

    def poke(self, index: int, field: Field, value: int) -> None:
        """Set a field of a command to what may be no value of it."""
        at, mask = self.at[index] + field.word, (1 << field.width) - 1
        self.words[at] = self.words[at] & ~(mask << field.low) | (value & mask) << field.low

    def set(self, index: int, **values: int) -> None:
        for name, value in values.items():
            self.poke(index, self.commands[index].fields[name], value)

    def set_after(self, index: int, after: int) -> None:
        self.poke(index, Field(0, 16, 16), after)

    def set_length(self) -> None:
        self.words[3] = len(self.words)


@dataclass(frozen=True)
class Fault:
    """Where the words of a `Base` are wrong now."""

    error: Error
    command: int
    hardware: bool = True


Break = Callable[[Base], Fault | None]
_BREAKS: dict[str, Break] = {}


def _kind(function: Break) -> Break:
    _BREAKS[function.__name__] = function
    return function


def kinds(config: Accelerator) -> list[str]:
    """Names of what can be wrong with a configuration's streams."""
    wrong = [n for n in _BREAKS if not n.startswith(("add_", "tables_"))]
    return wrong + [n for n in _BREAKS if n.startswith("tables_" if config.tables else "add_")]


def broken(config: Accelerator, seed: int, kind: str = "") -> Case:
    """A stream to be refused; without `kind`, seeds take turns of all kinds."""
    names = kinds(config)
    name = kind or names[seed % len(names)]
    rng = random.Random(f"{config.name} {seed} {name}")
    for _ in range(100):
        base = Base(config, rng)
        fault = _BREAKS[name](base)
        if fault is not None:
            return replace(
                base.case, words=base.words, error=fault.error, command=fault.command,
                hardware=fault.hardware, name=name,
            )  # fmt: skip
    raise AssertionError(f"{config.name}: no stream for {name}")


# What makes words no commands.


@_kind
def unknown_opcode(b: Base) -> Fault:
    index = b.some() or 1
    code = b.rng.choice([n for n in range(256) if n not in set(Opcode)])
    b.poke(index, Field(0, 0, 8), code)
    return Fault(Error.OPCODE, index)


@_kind
def add_without_tables(b: Base) -> Fault:
    b.words[4:4] = encode(Add(0, 0, 0, 1))
    b.set_length()
    return Fault(Error.OPCODE, 1)


@_kind
def wrong_length(b: Base) -> Fault:
    index = b.rng.randrange(len(b.commands))
    wrong = [n for n in range(256) if n != b.commands[index].words]
    b.poke(index, Field(0, 8, 8), b.rng.choice(wrong))
    return Fault(Error.LENGTH, index)


@_kind
def words_after_end(b: Base) -> Fault:
    b.words += [b.rng.choice((0, b.words[-1], b.rng.randrange(1 << 32)))] * b.rng.randint(1, 3)
    b.set_length()
    return Fault(Error.LENGTH, len(b.commands))


@_kind
def no_end(b: Base) -> Fault:
    del b.words[-1]
    b.set_length()
    return Fault(Error.TRUNCATED, len(b.commands) - 1)


@_kind
def cut_within(b: Base) -> Fault | None:
    index = b.some()
    if index is None:
        return None
    del b.words[b.rng.randrange(b.at[index] + 1, b.at[index + 1]) :]
    b.set_length()
    return Fault(Error.TRUNCATED, index)


@_kind
def not_as_long_as_head_says(b: Base) -> Fault:
    b.words[3] = b.rng.choice((0, len(b.words) - 1, len(b.words) + 1, 0xFFFFFFFF))
    return Fault(Error.TRUNCATED, 0)


@_kind
def no_magic(b: Base) -> Fault:
    b.words[1] ^= 1 << b.rng.randrange(32)
    return Fault(Error.HEAD, 0)


@_kind
def for_another_configuration(b: Base) -> Fault:
    b.words[2] ^= 1 << b.rng.randrange(32)
    return Fault(Error.HEAD, 0)


@_kind
def head_missing(b: Base) -> Fault:
    del b.words[:4]
    return Fault(Error.HEAD, 0)


@_kind
def second_head(b: Base) -> Fault:
    index = b.rng.randrange(1, len(b.commands))
    at = b.at[index]
    b.words[at:at] = encode(Head(b.config.word, len(b.words) + 4))
    b.set_length()
    return Fault(Error.HEAD, index)


# Counts.


@_kind
def zero(b: Base) -> Fault | None:
    return _count(b, lambda f: [0] if f.least == 1 else [])


@_kind
def too_large(b: Base) -> Fault | None:
    return _count(b, lambda f: range(f.most + 1, 1 << f.width) if f.most >= 0 else [])


def _count(b: Base, wrong: Callable[[Field], Any]) -> Fault | None:
    index = b.some(lambda c: any(wrong(f) for f in c.fields.values()))
    if index is None:
        return None
    fields = [f for f in b.commands[index].fields.values() if wrong(f)]
    field = b.rng.choice(fields)
    b.poke(index, field, b.rng.choice(wrong(field)))
    return Fault(Error.COUNT, index)


@_kind
def reserved_bit(b: Base) -> Fault | None:
    index = b.some()
    if index is None:
        return None
    free = list(_reserved(b.commands[index]))
    word, bit = b.rng.choice(free)
    b.words[b.at[index] + word] |= 1 << bit
    return Fault(Error.COUNT, index)


def _reserved(command: Command) -> Iterator[tuple[int, int]]:
    used = [0] * command.words
    for field in KINDS[command.opcode].fields.values():
        used[field.word] |= ((1 << field.width) - 1) << field.low
    for word in range(1, command.words):
        yield from ((word, bit) for bit in range(32) if not used[word] >> bit & 1)


@_kind
def head_or_end_waits(b: Base) -> Fault:
    index = b.rng.choice((0, len(b.commands) - 1))
    b.set_after(index, b.rng.randint(1, 65535))
    return Fault(Error.COUNT, index)


@_kind
def tail_above_taps(b: Base) -> Fault | None:
    index = b.some(lambda c: isinstance(c, Window) and c.taps < 4)
    if index is None:
        return None
    b.set(index, tail=b.rng.randint(b.commands[index].taps + 1, 4))
    return Fault(Error.COUNT, index)


@_kind
def three_taps_of_conv(b: Base) -> Fault | None:
    index = b.some(lambda c: c.opcode is Opcode.CONV)
    if index is None:
        return None
    b.set(index, taps=3, tail=1, blocks=1)
    return Fault(Error.COUNT, index)


@_kind
def packed_blocks(b: Base) -> Fault | None:
    """Blocks besides the one that there may be."""
    index = b.some(lambda c: c.opcode in WINDOWS)
    if index is None:
        return None
    if b.commands[index].opcode is Opcode.CONV:
        b.set(index, taps=b.rng.choice((2, 4)))
    b.set(index, blocks=b.rng.randint(2, 4095))
    return Fault(Error.COUNT, index)


@_kind
def store_of_another_memory(b: Base) -> Fault | None:
    index = b.some(lambda c: isinstance(c, Store))
    if index is None:
        return None
    b.set(
        index, **b.rng.choice(({"space": 1}, {"space": 2}, {"space": 3}, {"fill": 1}, {"half": 1}))
    )
    return Fault(Error.COUNT, index)


@_kind
def load_with_a_field_of_another_memory(b: Base) -> Fault | None:
    index = b.some(lambda c: isinstance(c, Load))
    if index is None:
        return None
    c = b.commands[index]
    values = [{"half": 1}]
    if c.space != Space.A:
        values = [{"plane": 1}, {"fill": -1}, {"channels": 2}, {"offset": c.offset + 2},
                  {"offset": c.offset + 1}]  # fmt: skip
        if c.space != Space.W:
            values.append({"half": 1})
    b.set(index, **b.rng.choice(values))
    return Fault(Error.COUNT, index)


# Addresses.


def _too_far(b: Base, size: int, length: int, width: int) -> int:
    """A first word with which `length` words leave a memory of `size`, in a field of `width`."""
    most = (1 << width) - 1
    return b.rng.choice(
        [v for v in (size - length + 1, size, most, most - length) if 0 <= v <= most]
    )


def _transfer_beyond(b: Base, space: Space, size: int) -> Fault | None:
    index = b.some(lambda c: c.opcode in TRANSFERS and c.space == space)
    if index is None:
        return None
    span = footprint(b.commands[index], b.config)[0]
    base = _too_far(b, size, span.end - span.start, 20)
    if base + span.end - span.start <= size:
        return None
    b.set(index, base=base)
    return Fault(Error.ADDRESS, index)


@_kind
def transfer_beyond_a(b: Base) -> Fault | None:
    return _transfer_beyond(b, Space.A, b.config.a_words)


@_kind
def transfer_beyond_w(b: Base) -> Fault | None:
    return _transfer_beyond(b, Space.W, b.config.w_words)


@_kind
def transfer_beyond_p(b: Base) -> Fault | None:
    return _transfer_beyond(b, Space.P, b.config.p_channels)


@_kind
def tables_transfer_beyond_t(b: Base) -> Fault | None:
    return _transfer_beyond(b, Space.T, TABLE_WORDS)


@_kind
def add_load_without_tables(b: Base) -> Fault:
    b.words[4:4] = encode(Load(0, b.case.writable[0], Space.T, 0, 1))
    b.set_length()
    return Fault(Error.ADDRESS, 1)


@_kind
def planes_beyond_a(b: Base) -> Fault | None:
    """The first block is inside, a later one is not, perhaps by more than 20 bits can say."""
    index = b.some(lambda c: c.opcode in TRANSFERS and c.space == Space.A and c.channels > 8)
    if index is None:
        return None
    b.set(index, plane=b.rng.choice((b.config.a_words, (1 << 20) - 1)))
    return Fault(Error.ADDRESS, index)


@_kind
def output_beyond_a(b: Base) -> Fault | None:
    index = b.some(lambda c: isinstance(c, Window))
    if index is None:
        return None
    span = output_span(b.commands[index], b.config)
    base = _too_far(b, b.config.a_words, span.end - span.start, 20)
    if base + span.end - span.start <= b.config.a_words:
        return None
    b.set(index, o_base=base)
    return Fault(Error.ADDRESS, index)


@_kind
def image_beyond_a(b: Base) -> Fault | None:
    """An image whose last pixel that the window reads lies outside."""
    index = b.some(lambda c: isinstance(c, Window))
    if index is None:
        return None
    read = words_read(b.commands[index], b.config)
    if not read.size:
        return None
    first, last = int(read.min()), int(read.max())
    base = _too_far(b, b.config.a_words - first, last - first + 1, 20)
    if base + last < b.config.a_words:
        return None
    b.set(index, a_base=base)
    return Fault(Error.ADDRESS, index)


def words_read(c: Window, config: Accelerator) -> np.ndarray:
    """The words of A that a window reads, as distances from its a_base."""
    y, x, ky, kg, t = np.ix_(
        *map(np.arange, (c.out_h, c.out_w, c.kernel_h, c.kernel_groups, c.taps))
    )
    iy = y * c.stride_h - c.pad_top + ky * c.step_h
    ix = x * c.stride_w - c.pad_left + kg * c.step_w + t
    live = (t < c.tail) | (kg < c.kernel_groups - 1)
    inside = (iy >= 0) & (iy < c.in_h) & (ix >= 0) & (ix < c.in_w) & live
    blocks = c.blocks
    if c.opcode is not Opcode.CONV:
        blocks = -(-c.groups * config.depthwise_lanes // 8)
    pixels = (iy * c.in_w + ix)[inside]
    return np.unique(pixels[:, None] + np.arange(blocks) * c.a_plane)


@_kind
def weights_beyond_w(b: Base) -> Fault | None:
    index = b.some(lambda c: c.opcode in (Opcode.CONV, Opcode.DEPTHWISE))
    if index is None:
        return None
    c = b.commands[index]
    base = _too_far(b, b.config.w_words, c.groups * c.steps, 16)
    if base + c.groups * c.steps <= b.config.w_words:
        return None
    b.set(index, w_base=base)
    return Fault(Error.ADDRESS, index)


@_kind
def parameters_beyond_p(b: Base) -> Fault | None:
    index = b.some(lambda c: c.opcode in COMPUTES)
    if index is None:
        return None
    b.set(index, p_base=b.rng.choice((b.config.p_words, 65535)))
    return Fault(Error.ADDRESS, index)


@_kind
def tables_add_beyond_a(b: Base) -> Fault | None:
    index = b.some(lambda c: isinstance(c, Add))
    if index is None:
        return None
    count = b.commands[index].count
    base = _too_far(b, b.config.a_words, count, 20)
    if base + count <= b.config.a_words:
        return None
    b.set(index, **{b.rng.choice(("a_base", "b_base", "o_base")): base})
    return Fault(Error.ADDRESS, index)


# Waiting.


def _engines(b: Base) -> list[list[int]]:
    return [[i for i, c in enumerate(b.commands) if c.opcode in e] for e in (TRANSFERS, COMPUTES)]


@_kind
def waits_for_too_many(b: Base) -> Fault | None:
    engines = _engines(b)
    which = b.rng.randrange(2)
    if not engines[which]:
        return None
    index = b.rng.choice(engines[which])
    there = len(engines[1 - which])
    b.set_after(index, b.rng.choice((there + 1, 65535)))
    return Fault(Error.TOKEN, index)


@_kind
def wait_for_each_other(b: Base) -> Fault | None:
    transfers, computes = _engines(b)
    if not transfers or not computes:
        return None
    i, j = b.rng.randrange(len(transfers)), b.rng.randrange(len(computes))
    b.set_after(transfers[i], j + 1)
    b.set_after(computes[j], i + 1)
    return Fault(Error.TOKEN, min(transfers[i], computes[j]))


@_kind
def waits_for_a_later_one(b: Base) -> Fault | None:
    """There is what it waits for, but behind it: the hardware may get that far, or not."""
    engines = _engines(b)
    which = b.rng.randrange(2)
    found = [
        (index, sum(i < index for i in engines[1 - which]))
        for index in engines[which]
        if engines[1 - which] and index < engines[1 - which][-1]
    ]
    if not found:
        return None
    index, before = b.rng.choice(found)
    b.set_after(index, b.rng.randint(before + 1, len(engines[1 - which])))
    return Fault(Error.TOKEN, index, hardware=False)


# What only checkers find.


@_kind
def outside_the_region(b: Base) -> Fault | None:
    index = b.some(lambda c: c.opcode in TRANSFERS)
    if index is None:
        return None
    c = b.commands[index]
    outside = external(c, b.config)
    room = len(b.case.regions[c.region]) - outside.nbytes
    align = 1 if c.space == Space.A else 4
    offset = b.rng.choice((room // align * align + align, 0xFFFFFFFC))
    b.set(index, offset=offset)
    return Fault(Error.REGION, index, hardware=False)


@_kind
def no_such_region(b: Base) -> Fault | None:
    count = len(b.case.regions)
    index = b.some(lambda c: c.opcode in TRANSFERS)
    if index is None or count == 8:
        return None
    b.set(index, region=b.rng.randint(count, 7))
    return Fault(Error.REGION, index, hardware=False)


def _instead(b: Base, *commands: Command) -> None:
    """These commands, on a region 0 to load from and a region 1 to store to."""
    b.words = stream(commands, b.config)
    b.case = replace(b.case, regions=[bytes(4096), bytes(4096)], writable=(1,))


@_kind
def output_on_its_image(b: Base) -> Fault | None:
    index = b.some(lambda c: isinstance(c, Window))
    if index is None:
        return None
    read = words_read(b.commands[index], b.config)
    span = output_span(b.commands[index], b.config)
    base = b.commands[index].a_base + int(b.rng.choice(read)) if read.size else b.config.a_words
    if base + span.end - span.start > b.config.a_words:
        return None
    b.set(index, o_base=base)
    return Fault(Error.RACE, index, hardware=False)


@_kind
def planes_overlap(b: Base) -> Fault | None:
    index = b.some(lambda c: isinstance(c, Load) and c.channels > 8 and c.count > 1)
    if index is None:
        return None
    b.set(index, plane=b.rng.randrange(b.commands[index].count))
    return Fault(Error.RACE, index, hardware=False)


@_kind
def tables_add_on_its_operand(b: Base) -> Fault:
    count = b.rng.randint(2, 20)
    place, by = 40, b.rng.choice((1, -1, count - 1, 1 - count))
    other = b.rng.choice((place, 80, place + by))
    operands = [place, other]
    b.rng.shuffle(operands)
    _instead(b, Add(*operands, place + by, count))
    return Fault(Error.RACE, 1, hardware=False)


@_kind
def computes_before_it_is_loaded(b: Base) -> Fault:
    rng, size = b.rng, b.config.out_lanes
    window = Window(Opcode.CONV, 0, 0, 4, 4, 4, 4, 32, 16, 4, 1)
    loads = [
        Load(0, 0, Space.A, rng.randrange(16), 1),
        Load(0, 0, Space.W, 0, 1),
        Load(0, 0, Space.P, rng.randrange(size), 1),
    ]
    rng.shuffle(loads)
    last = rng.randint(1, 3)
    # One too few: the last one runs beside the window.
    _instead(b, *loads[:last], replace(window, after=last - 1))
    return Fault(Error.RACE, last + 1, hardware=False)


@_kind
def stores_before_it_is_computed(b: Base) -> Fault:
    rng = b.rng
    blocks = -(-b.config.out_lanes // 8)
    window = Window(Opcode.MAX, 0, 0, 4, 4, 4, 4, 32, 16, blocks, 1)
    other = replace(window, o_base=32 + 16 * 2)
    store = Store(0, 1, 32 + rng.randrange(16), 1, rng.randint(1, 8))
    if chance_of_two := rng.randrange(2):
        _instead(b, other, window, replace(store, after=1))
    else:
        _instead(b, window, store)
    return Fault(Error.RACE, 2 + chance_of_two, hardware=False)


__all__ = ["broken", "kinds", "words_read"]
