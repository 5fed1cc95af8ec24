"""The checks that are made from the tables of fields, against `decode` on random words."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("amaranth")

from targets.npu.config import CONFIGURATIONS
from targets.npu.isa import KINDS, CommandError, Error, Opcode, Window, decode, encode
from targets.npu.rtl.checker import LATENCY, Checker

from .bench import simulate

_CONFIG = CONFIGURATIONS["npu64"]
_HEAD = [Opcode.HEAD | 4 << 8, 0x314E4B45, _CONFIG.word]


def _random_words(rng: random.Random) -> list[int]:
    """A command that may be right, or has a bit or a field wrong."""
    opcode = rng.choice([o for o in Opcode if o not in (Opcode.HEAD, Opcode.END)])
    kind = KINDS[opcode]
    words = [opcode | kind.words << 8] + [0] * (kind.words - 1)
    for field in kind.fields.values():
        some = (field.least, field.limit, rng.randint(field.least, field.limit), 0, 1)
        value = rng.choice(some if rng.random() < 0.1 else [v for v in some if v >= field.least])
        words[field.word] |= (value & ((1 << field.width) - 1)) << field.low
    if rng.random() < 0.3:
        words[rng.randrange(1, kind.words)] ^= 1 << rng.randrange(32)
    return words


def _wrong(words: list[int]) -> bool:
    """Whether `decode` finds COUNT in a stream of this command."""
    end = encode(KINDS[Opcode.END]())
    try:
        decode([*_HEAD, 5 + len(words), *words, *end], _CONFIG)
    except CommandError as refused:
        assert refused.error is Error.COUNT
        return True
    return False


def test_counts_that_decode_refuses_are_found() -> None:
    rng = random.Random(1)
    dut: Any = Checker(_CONFIG)
    cases = [_random_words(rng) for _ in range(250)]
    window = Window(Opcode.CONV, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1)
    cases += [encode(window), encode(Window(**{**vars(window), "taps": 3}))]
    expected = [_wrong(words) for words in cases]
    assert 40 < sum(expected) < len(cases) - 40

    async def drive(ctx: Any) -> None:
        for words, wrong in zip(cases, expected, strict=True):
            await _send(ctx, dut, words)
            assert ctx.get(dut.count) == wrong, [hex(w) for w in words]
            assert not ctx.get(dut.head) and not ctx.get(dut.short)

    simulate(dut, drive)


def test_a_head_for_this_configuration_and_length() -> None:
    dut: Any = Checker(_CONFIG)
    good = [*_HEAD, 77]

    async def drive(ctx: Any) -> None:
        ctx.set(dut.length, 77)
        for word, bit, head, short in ((0, 0, 0, 0), (1, 1, 1, 0), (2, 1 << 31, 1, 0),
                                       (3, 1 << 31, 0, 1)):  # fmt: skip
            words = list(good)
            words[word] ^= bit
            await _send(ctx, dut, words)
            found = (ctx.get(dut.head), ctx.get(dut.short), ctx.get(dut.count))
            assert found == (head, short, 0)

    simulate(dut, drive)


async def _send(ctx: Any, dut: Any, words: list[int]) -> None:
    """A word a cycle, then as many cycles as the front end waits."""
    opcode = words[0] & 0xFF
    ctx.set(dut.begin, 1)
    await ctx.tick()
    ctx.set(dut.begin, 0)
    ctx.set(dut.opcode, opcode)
    ctx.set(dut.kind, sum((opcode in k.opcodes) << i for i, k in enumerate(dut.kinds)))
    for at, word in enumerate(words[1:], 1):
        ctx.set(dut.valid, 1)
        ctx.set(dut.at, at)
        ctx.set(dut.word, word)
        await ctx.tick()
    ctx.set(dut.valid, 0)
    for _ in range(LATENCY - 1):
        await ctx.tick()
