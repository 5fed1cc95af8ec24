"""The CFU in Amaranth's simulator against SPEC's formulas and against the model of `isa`."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from pace import every

pytest.importorskip("amaranth", reason="needs the extra fpga")

from amaranth.sim import Simulator

from edgekit.ops import fixedpoint as fp
from targets.cfu.isa import Model, Op, output, rescale, signed
from targets.cfu.rtl import Cfu, Rescaler

EXTREMES = (0, 1, -1, 2, -2, 2**31 - 1, -(2**31), 2**30, -(2**30), 2**30 - 1, 255, -256)
MULTIPLIERS = (0, 1, 2**30, 2**31 - 1, 2**30 + 1)
BYTES = (-128, -127, -1, 0, 1, 126, 127)


def simulate(dut: Any, bench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def operands(rng: random.Random) -> tuple[int, int, int]:
    """An accumulator, a multiplier and a right shift, often at an edge."""
    acc = rng.choice((rng.choice(EXTREMES), signed(rng.getrandbits(32)), rng.randint(-5000, 5000)))
    multiplier = rng.choice((rng.choice(MULTIPLIERS), rng.randrange(2**30, 2**31)))
    return acc, multiplier, rng.choice((0, 1, 31, rng.randrange(32)))


def test_rescale_is_spec() -> None:
    rng = random.Random(1)
    cases = [operands(rng) for _ in range(20_000)]
    cases += [(a, m, e) for a in EXTREMES for m in MULTIPLIERS for e in range(32)]
    # Ties of the second rounding: (acc * 2^30 + 2^30) >> 31 is acc / 2.
    cases += [(2 * (k * 2**e + 2 ** (e - 1)), 2**30, e) for e in range(1, 9) for k in range(-9, 9)]
    acc, multiplier, right = (np.array(column, np.int64) for column in zip(*cases, strict=True))
    want = fp.multiply_by_quantized_multiplier(acc, multiplier, -right)
    assert [rescale(*case) for case in cases] == want.tolist()


def test_rescaler_is_spec() -> None:
    rng = random.Random(2)
    cases = [operands(rng) for _ in range(1500)]
    cases += [(a, m, e) for a in EXTREMES for m in MULTIPLIERS for e in (0, 1, 2, 30, 31)]
    dut = Rescaler()
    settings = [(rng.choice(BYTES), *sorted(rng.sample(BYTES, 2))) for _ in range(4)]
    made: list[int] = []

    async def bench(ctx: Any) -> None:
        for part, (zero_point, low, high) in enumerate(settings):
            ctx.set(dut.zero_point, zero_point)
            ctx.set(dut.low, low)
            ctx.set(dut.high, high)
            waiting = cases[part::4] + [None] * 8
            while waiting:
                ctx.set(dut.advance, rng.random() < 0.9)
                if ctx.get(dut.advance) and ctx.get(dut.out_valid):
                    made.append(ctx.get(dut.out))
                case = waiting[0]
                ctx.set(dut.valid, case is not None)
                if case is not None:
                    bias = signed(rng.getrandbits(32))
                    ctx.set(dut.acc, signed(case[0] - bias))
                    ctx.set(dut.bias, bias)
                    ctx.set(dut.multiplier, case[1])
                    ctx.set(dut.right, case[2])
                if ctx.get(dut.advance):
                    waiting.pop(0)
                await ctx.tick()

    simulate(dut, bench)
    want = [min(max(rescale(*case) + zero_point, low), high)
            for part, (zero_point, low, high) in enumerate(settings)
            for case in cases[part::4]]  # fmt: skip
    assert made == want


def program(rng: random.Random, pixels: int, length: int) -> list[tuple[Op, int, int, int]]:
    """Random instructions as (op, funct7, rs1, rs2), RESULTs often one after the other."""
    commands = []
    while len(commands) < length:
        op = rng.choice((Op.DOT, Op.DOT, Op.LANES, Op.BIAS, Op.SCALE, Op.RESULT))
        op = rng.choice((op,) * 30 + (Op.CLEAR, Op.OUTPUT))
        for _ in range(rng.randint(1, 9)):
            function = rng.randrange(pixels) << 2 | rng.randrange(4)
            a, b = (rng.choice((rng.getrandbits(32), 0x80808080, 0x7F7F7F7F)) for _ in range(2))
            if op == Op.SCALE:
                _, a, b = operands(rng)
            elif op == Op.BIAS:
                a = rng.choice((rng.getrandbits(32), rng.randint(-5000, 5000) & 0xFFFFFFFF))
            elif op == Op.OUTPUT:
                a = output(rng.choice(BYTES), *sorted(rng.sample(BYTES, 2)))
            commands.append((op, function, a, b))
    # Memories that nobody wrote to have no value.
    start = [(Op.BIAS, c, 0, 0) for c in range(4)] + [(Op.SCALE, c, 2**30, 20) for c in range(4)]
    return [(Op.OUTPUT, 0, output(-128, -128, 127), 0), *start, *commands]


@pytest.mark.parametrize(("pixels", "haste"), every(3, [(2, 0.8), (8, 1.0), (8, 0.5)]))
def test_random_programs(pixels: int, haste: float) -> None:
    """Commands as fast as they are taken, or with pauses on both sides of the bus."""
    rng = random.Random(pixels)
    commands = program(rng, pixels, 3000)
    model, dut = Model(pixels), Cfu(pixels)
    want = [model.run(*command) for command in commands]
    answers: list[int] = []
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        given = 0
        while len(answers) < len(commands):
            # A command that is offered stays until it is taken, as on the CPU's bus.
            if given < len(commands) and (ctx.get(dut.cmd_valid) or rng.random() < haste):
                op, function, a, b = commands[given]
                ctx.set(dut.cmd_valid, 1)
                ctx.set(dut.cmd_function, op | function << 3)
                ctx.set(dut.cmd_a, a)
                ctx.set(dut.cmd_b, b)
            ctx.set(dut.rsp_ready, rng.random() < haste)
            # Where this is low, VexRiscv offers the next instruction as a command.
            assert ctx.get(dut.cmd_ready) or ctx.get(dut.cmd_valid)
            taken = ctx.get(dut.cmd_valid) & ctx.get(dut.cmd_ready)
            if ctx.get(dut.rsp_valid) and ctx.get(dut.rsp_ready):
                answers.append(ctx.get(dut.rsp_data))
            await ctx.tick()
            cycles += 1
            given += taken
            if taken:
                ctx.set(dut.cmd_valid, 0)
            assert cycles < 100_000, "no answer"

    simulate(dut, bench)
    assert answers == want


def test_cycles() -> None:
    """What docs/CFU.md promises: one command per cycle, RESULT's word after 12, then one in 4."""
    dut = Cfu()
    accepted: list[int] = []
    answered: list[int] = []
    commands = [Op.DOT] * 6 + [Op.RESULT] * 4

    async def bench(ctx: Any) -> None:
        ctx.set(dut.rsp_ready, 1)
        given = 0
        for cycle in range(60):
            ctx.set(dut.cmd_valid, given < len(commands))
            ctx.set(dut.cmd_function, commands[min(given, len(commands) - 1)])
            if ctx.get(dut.cmd_valid) and ctx.get(dut.cmd_ready):
                accepted.append(cycle)
                given += 1
            if ctx.get(dut.rsp_valid):
                answered.append(cycle)
            await ctx.tick()

    simulate(dut, bench)
    assert accepted[:7] == list(range(7))
    assert answered[:6] == list(range(1, 7))
    assert answered[6] - accepted[6] == 12
    assert np.diff(answered[6:]).tolist() == [4, 4, 4]
