"""Streams that must not run: the checkers in Python and in C say the same, and it is right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pace import every
from tools import need

from targets.npu.check import check
from targets.npu.config import CONFIGURATIONS as NAMED
from targets.npu.config import Accelerator
from targets.npu.footprint import Span, footprint
from targets.npu.isa import (
    COMPUTES,
    TRANSFERS,
    Add,
    Command,
    CommandError,
    Error,
    Field,
    Load,
    Opcode,
    Space,
    Store,
    Window,
    decode,
    stream,
)

from .broken import broken, kinds
from .simulators import Outcome, checked, differences, in_c, library, sanitized
from .streams import CONFIGURATIONS, EIGHT, TINY, WIDE, Case, valid

_each = pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda c: c.name)


def _damaged(config: Accelerator, seed: int) -> Case:
    """A stream of which a few words have other bits, or are gone."""
    rng = random.Random(f"{config.name} {seed}")
    case = valid(config, seed % 10, cycles=400)
    words = list(case.words)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(words))
        kind = rng.random()
        if kind < 0.5:
            words[at] ^= 1 << rng.randrange(32)
        elif kind < 0.7:
            words[at] = rng.choice((0, 0xFFFFFFFF, rng.randrange(1 << 32)))
        elif kind < 0.9:
            words[at] ^= rng.randrange(1 << 16) << 16  # after, or a height
        else:
            del words[at : at + rng.choice((1, 7, 14))]
            if rng.random() < 0.8 and len(words) > 3:
                words[3] = len(words)
        if not words:
            break
    regions = case.regions if rng.random() < 0.7 else case.regions[: rng.randrange(8)]
    return replace(case, words=words, regions=regions)


@pytest.mark.apt
@pytest.mark.parametrize("config", every(3, CONFIGURATIONS), ids=lambda c: c.name)
def test_every_fault_is_found(config: Accelerator) -> None:
    need("gcc")
    _faults(config, range(2))


@pytest.mark.slow
@pytest.mark.apt
@_each
def test_every_fault_is_found_in_many_streams(config: Accelerator) -> None:
    need("gcc")
    _faults(config, range(2, 25))


def _faults(config: Accelerator, seeds: Sequence[int]) -> None:
    cases = [broken(config, seed, kind) for kind in kinds(config) for seed in seeds]
    for case, found in zip(cases, checked(cases, races=True), strict=True):
        assert (found.error, found.command) == (case.error, case.command), case.name
    quiet = [case for case in cases if case.error is not Error.RACE]
    want = [Outcome(case.error, case.command) for case in quiet]
    assert differences(want, in_c(quiet, sanitized(config))) == []
    # The firmware's checker leaves RACE to the compiler's.
    racing = [case for case in cases if case.error is Error.RACE]
    assert racing
    assert all(not o.error for o in in_c(racing, sanitized(config), check_only=True))


def _fuzz(config: Accelerator, seeds: Sequence[int]) -> None:
    cases = [_damaged(config, seed) for seed in seeds]
    ours = checked(cases)
    assert differences(ours, in_c(cases, sanitized(config), check_only=True)) == []
    # Damage finds every kind of error, and leaves some streams whole.
    assert len({o.error for o in ours}) >= 7


@pytest.mark.apt
@pytest.mark.parametrize("config", [TINY, WIDE], ids=lambda c: c.name)
def test_same_errors_of_damaged_streams(config: Accelerator) -> None:
    need("gcc")
    _fuzz(config, range(400))


@pytest.mark.slow
@pytest.mark.apt
@_each
def test_same_errors_of_many_damaged_streams(config: Accelerator) -> None:
    need("gcc")
    _fuzz(config, range(1000, 9000))


@pytest.mark.parametrize("config", NAMED.values(), ids=lambda c: c.name)
def test_reads_every_configuration(config: Accelerator) -> None:
    """The checker in C knows sizes from the word alone; the simulator from its macros."""
    case = valid(config, 1, cycles=900)
    run = library(config, "zig")
    assert [o.error for o in in_c([case], run)] == [Error.NONE]
    for word in range(32):
        other = [w ^ (1 << word if i == 2 else 0) for i, w in enumerate(case.words)]
        assert [o.error for o in in_c([replace(case, words=other)], run)] == [Error.HEAD]


_ALL = [
    Load(4, 0, Space.A, 0, 9, 17, 9),
    Load(0, 0, Space.W, 0, 2, half=1),
    Load(0, 0, Space.P, 0, 4),
    Store(3, 1, 0, 4, 11, 9),
    Window(Opcode.CONV, 0, 9, 3, 3, 2, 2, 32, 4, 1, 1, 2, 1, 1, 1, 1, w_base=2, after=3),
    Window(Opcode.CONV, 0, 9, 3, 3, 2, 2, 48, 4, 1, 1, 1, 2, 1, 2, 2),
    Window(Opcode.DEPTHWISE, 0, 9, 3, 3, 2, 2, 64, 4, 1, 1, 1, 2, 1, 2, 1, uniform=1),
    Add(0, 9, 96, 5),
]


def _same(cases: list[Case], config: Accelerator) -> list[Outcome]:
    ours = checked(cases)
    assert differences(ours, in_c(cases, library(config, "zig"), check_only=True)) == []
    return ours


def test_the_ends_of_every_field() -> None:
    """Each field's least and largest value, what is beside them, and all bits."""
    words = stream(_ALL, TINY)
    whole = Case(TINY, words, [bytes(999), bytes(99)], (1,))
    assert checked([whole], races=True)[0].error is Error.NONE
    cases, at = [], 4
    for command in _ALL:
        for field in (*command.fields.values(), Field(0, 16, 16)):
            ones = (1 << field.width) - 1
            for value in {0, 1, ones, ones >> 1, field.limit & ones, field.limit + 1 & ones}:
                other = list(words)
                other[at + field.word] &= ~(ones << field.low)
                other[at + field.word] |= value << field.low
                cases.append(replace(whole, words=other))
        at += command.words
    found = {o.error for o in _same(cases, TINY)}
    assert found == {Error.NONE, Error.COUNT, Error.ADDRESS, Error.TOKEN, Error.REGION}


def test_every_bit() -> None:
    words = stream(_ALL, TINY)
    whole = Case(TINY, words, [bytes(999), bytes(99)], (1,))
    cases = []
    for at in range(len(words)):
        for bit in range(32):
            other = list(words)
            other[at] ^= 1 << bit
            cases.append(replace(whole, words=other))
    assert {o.error for o in _same(cases, TINY)} == set(Error) - {Error.RACE}


_AT_THE_END = Window(Opcode.MAX, TINY.a_words - 4, 0, 4, 3, 4, 1, 0, 4, 1, 1)
_MUCH = Window(
    Opcode.CONV, 0, 0, 1, 1, 1, 1, 9, 1, 1, 2048, 128, 128, 128, uniform=1
)  # fmt: skip


@pytest.mark.parametrize(
    "command, error",
    [
        (_AT_THE_END, Error.NONE),  # the image's other rows are beyond, and not read
        (replace(_AT_THE_END, a_base=_AT_THE_END.a_base + 1), Error.ADDRESS),
        (replace(_AT_THE_END, a_base=9999, pad_top=1), Error.NONE),
        (replace(_AT_THE_END, pad_top=1, kernel_h=2), Error.NONE),
        (replace(_AT_THE_END, pad_top=1, kernel_h=3), Error.ADDRESS),
        # 2^32 words of weights.
        (_MUCH, Error.ADDRESS),
        (replace(_MUCH, groups=1, blocks=1, kernel_h=1, kernel_groups=64), Error.NONE),
        (replace(_MUCH, groups=1, blocks=1, kernel_h=1, kernel_groups=65), Error.ADDRESS),
    ],
)
def test_the_ends_of_the_memories(command: Window, error: Error) -> None:
    assert _same([Case(TINY, stream([command], TINY), [], ())], TINY)[0].error is error


def test_no_words() -> None:
    case = replace(valid(TINY, 0, cycles=200), words=[])
    assert checked([case])[0].error is Error.TRUNCATED
    assert in_c([case], library(TINY, "zig"))[0].error is Error.TRUNCATED


def _words_of(span: Span) -> set[tuple[int, int]]:
    return {
        (int(span.space), span.start + b * span.plane + i)
        for b in range(span.blocks)
        for i in range(span.length)
    }


def _races(commands: list[Command], config: Accelerator) -> bool:
    """Whether two commands race, by the transitive closure of all that has an order."""
    indices = [i for i, c in enumerate(commands) if c.opcode in (*TRANSFERS, *COMPUTES)]
    engines = [[i for i in indices if commands[i].opcode in e] for e in (TRANSFERS, COMPUTES)]
    before = np.zeros((len(commands), len(commands)), bool)
    for mine, theirs in (engines, engines[::-1]):
        for a, b in pairwise(mine):
            before[a, b] = True
        for i in mine:
            before[theirs[: commands[i].after], i] = True
    for k in indices:
        before |= np.outer(before[:, k], before[k])
    reads, writes = {}, {}
    for i in indices:
        spans = footprint(commands[i], config)
        reads[i] = set().union(*(_words_of(s) for s in spans))
        writes[i] = set().union(*(_words_of(s) for s in spans if s.writes))
    return any(
        not before[a, b] and not before[b, a] and (writes[a] & reads[b] or writes[b] & reads[a])
        for a in engines[0]
        for b in engines[1]
    )


@pytest.mark.parametrize("config", [TINY, EIGHT], ids=lambda c: c.name)
def test_finds_the_races_that_there_are(config: Accelerator) -> None:
    """Streams of which some commands no longer wait, or wait for less."""
    seen = set()
    for seed in range(40):
        rng = random.Random(seed)
        case = valid(config, seed, cycles=800)
        commands = decode(case.words, config)[1:-1]
        for i in rng.sample(range(len(commands)), rng.randint(0, 2)):
            commands[i] = replace(commands[i], after=rng.randint(0, commands[i].after))
        words = stream(commands, config)
        found = checked([replace(case, words=words)], races=True)[0].error
        race = _races(decode(words, config), config)
        assert found is (Error.RACE if race else Error.NONE), seed
        seen.add(race)
    assert seen == {True, False}


@settings(max_examples=200, deadline=None)
@given(
    *(st.tuples(st.integers(0, 40), st.integers(1, 9), st.integers(1, 6), st.integers(0, 12)),) * 2
)
def test_spans_overlap_where_they_share_a_word(left: tuple, right: tuple) -> None:
    a, b = (Span(0, *s) for s in (left, right))
    assert a.overlaps(b) == b.overlaps(a) == bool(_words_of(a) & _words_of(b))


def test_a_long_stream_is_checked_quickly() -> None:
    """Nothing waits, so that all pairs may run beside each other; images lie far apart."""
    config = NAMED["npu64"]
    window = Window(Opcode.MAX, 0, 0, 4, 4, 4, 4, 32, 16, 1, 1)
    commands: list[Command] = []
    for i in range(1500):
        commands.append(replace(window, a_base=i, o_base=2000 + i))
        commands.append(Load(0, 0, Space.A, 8000 + i, 16, 64, 100))
    check(stream(commands, config), config, [1024])
    late = replace(commands[-1], base=3490)
    with pytest.raises(CommandError) as refused:
        check(stream([*commands[:-1], late], config), config, [1024])
    assert (refused.value.error, refused.value.command) == (Error.RACE, 3000)
