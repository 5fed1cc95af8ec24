"""The compute engine against the model: random commands, errors, and traffic beside it."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth")

from targets.npu.config import Accelerator
from targets.npu.isa import Add, Error, Opcode, Window
from targets.npu.model import Model
from targets.npu.rtl.memory import READ_LATENCY

from .bench import Engine, fill, simulate, words_of
from .commands import commands, cycles_of, execute

_SINGLE = Accelerator("single", 1, 1, 128, 64, 32, tables=False, lut_multipliers=True)
_TWO = Accelerator("two", 2, 1, 128, 64, 32)
_FOUR = Accelerator("four", 4, 4, 64, 16, 32)


@pytest.mark.parametrize(("config", "count"), [(_SINGLE, 8), (_TWO, 10), (_FOUR, 3)])
def test_random_commands_give_the_models_bytes(config: Accelerator, count: int) -> None:
    model, engine = Model(config), Engine(config)
    fill(model, 1)

    async def drive(ctx: Any) -> None:
        await engine.load(ctx, model)
        for command in islice(commands(config, 1, longest=300), count):
            execute(model, command)
            end, cycles, steps = await engine.run(ctx, command)
            assert end is Error.NONE
            assert cycles == cycles_of(command, config), command
            if isinstance(command, Window):
                assert steps == command.steps * command.groups * command.out_h * command.out_w
        assert np.array_equal(await engine.dump(ctx), model.a)

    simulate(engine.dut, drive)


def test_add_at_every_number_of_lanes() -> None:
    for config in (_TWO, replace(_FOUR, requant_lanes=2), _FOUR):
        _adds(config)


def _adds(config: Accelerator) -> None:
    model, engine = Model(config), Engine(config)
    fill(model, 2)
    # In place, on two operands and on one; a clamp.
    some = [Add(3, 20, 3, 5, 1, -7), Add(9, 9, 40, 3, 0, 12, -20, 90), Add(50, 31, 31, 1)]

    async def drive(ctx: Any) -> None:
        await engine.load(ctx, model)
        for command in some:
            execute(model, command)
            assert await engine.run(ctx, command) == (
                Error.NONE, cycles_of(command, config), 2 * command.count
            )  # fmt: skip
        assert np.array_equal(await engine.dump(ctx), model.a)

    simulate(engine.dut, drive)


_CONV = Window(Opcode.CONV, 0, 9, 3, 3, 3, 3, 64, 9, 1, 2, kernel_h=2, blocks=2, pad_top=1)
_POOL = Window(Opcode.MAX, 0, 9, 3, 3, 3, 3, 64, 9, 1, 4, kernel_h=2, taps=2, tail=2, uniform=1)
_OUTSIDE = {
    "image, first word": replace(_CONV, a_base=128, pad_top=0),
    "image, last row": replace(_CONV, a_base=128 - 9 - 8),
    "image, a word after the one that is inside": replace(
        _POOL, a_base=126, in_w=4, in_h=1, out_w=1, out_h=1, kernel_h=1, taps=3, tail=3
    ),
    "image, last plane": replace(_CONV, a_plane=122),
    "image, a plane whose address wraps": replace(_CONV, a_plane=(1 << 20) - 1),
    "image, base and plane": replace(_POOL, a_base=(1 << 20) - 1, a_plane=1, groups=5),
    "weights, first": replace(_CONV, w_base=64),
    "weights, last": replace(_CONV, w_base=64 - 7),
    "weights, largest": replace(_CONV, w_base=(1 << 16) - 1),
    "parameters, first": replace(_CONV, p_base=32),
    "parameters, last": replace(_CONV, p_base=32 - 3),
    "parameters, uniform": replace(_POOL, p_base=32),
    "result, first": replace(_CONV, o_base=128),
    "result, last": replace(_CONV, o_base=128 - 8),
    "result, last word only": replace(_CONV, o_base=128 - 8, out_h=3, out_w=3, groups=1),
    "result, second plane": replace(_CONV, o_plane=1 << 19, groups=8, o_blocks=2),
    "operand a": Add(127, 0, 10, 2),
    "operand b": Add(0, 128, 10, 1),
    "sum": Add(0, 4, 126, 3),
    "sum's parameters": Add(0, 4, 100, 3, p_base=32),
}
_INSIDE = {
    "padding outside of A": replace(_CONV, a_base=0, in_w=3, in_h=1, out_h=1, pad_top=1, blocks=1),
    "blocks that are not written": replace(_CONV, o_plane=1 << 19, groups=8, o_blocks=1),
    "the last words": replace(_CONV, a_base=0, o_base=128 - 9, w_base=64 - 8, p_base=32 - 4),
    "the last pixels": replace(
        _POOL, a_base=124, in_w=4, in_h=1, out_w=1, out_h=1, kernel_h=1, taps=4, tail=4, o_base=0
    ),
    "sums no weights": replace(_POOL, opcode=Opcode.SUM, w_base=(1 << 16) - 1),
    "sum": Add(0, 126, 126, 2),
}


def test_addresses_outside_are_errors_and_the_engine_goes_on() -> None:
    model, engine = Model(_TWO), Engine(_TWO)
    fill(model, 3)

    async def drive(ctx: Any) -> None:
        await engine.load(ctx, model)
        for name, command in _OUTSIDE.items():
            end, _, _ = await engine.run(ctx, command)
            assert end is Error.ADDRESS, name
            await _clear(ctx, engine)
        # What has been written until then is nobody's business, but the rest works as before.
        await engine.load(ctx, model)
        for name, command in _INSIDE.items():
            execute(model, command)
            assert (await engine.run(ctx, command))[0] is Error.NONE, name
        assert np.array_equal(await engine.dump(ctx), model.a)

    simulate(engine.dut, drive)


def test_add_without_tables_is_an_error() -> None:
    engine = Engine(_SINGLE)

    async def drive(ctx: Any) -> None:
        assert (await engine.run(ctx, Add(0, 1, 2, 1)))[0] is Error.ADDRESS

    simulate(engine.dut, drive)


def test_clear_at_any_time_leaves_nothing_behind() -> None:
    """What ran before a clear writes nothing after it, and the next command is exact."""
    model, engine = Model(_TWO), Engine(_TWO)
    dut = engine.dut
    fill(model, 4)
    # Writes every byte that an aborted command may have written.
    over = replace(_CONV, o_base=60, out_w=4, out_h=5, groups=4, blocks=1, kernel_h=1, pad_top=0,
                   in_w=4, in_h=5)  # fmt: skip

    async def drive(ctx: Any) -> None:
        await engine.load(ctx, model)
        for cycles in (*range(1, 7), 9, 14, 21, 26, 27, 28, 29, 30, 31, 40):
            for command in (replace(_CONV, o_base=70), Add(0, 4, 60, 4)):
                await engine.start(ctx, command)
                await ctx.tick().repeat(cycles)
                await _clear(ctx, engine)
                assert ctx.get(dut.ready)
                for _ in range(30):
                    # A write of the engine's would take the port.
                    assert ctx.get(dut.write_ready) and not ctx.get(dut.done)
                    await ctx.tick()
        execute(model, over)
        # The last one is aborted by the next command's start.
        await engine.start(ctx, Add(0, 4, 60, 4))
        await ctx.tick().repeat(12)
        await _clear(ctx, engine)
        assert (await engine.run(ctx, over))[0] is Error.NONE
        assert np.array_equal(await engine.dump(ctx), model.a)

    simulate(engine.dut, drive)


async def _clear(ctx: Any, engine: Engine) -> None:
    ctx.set(engine.dut.clear, 1)
    await ctx.tick()
    ctx.set(engine.dut.clear, 0)


def test_transfers_beside_a_command() -> None:
    """Every granted read is right, every granted write lands, and the command is exact."""
    model, engine = Model(_TWO), Engine(_TWO)
    fill(model, 5)
    dut = engine.dut
    rng = np.random.default_rng(5)
    command = replace(_CONV, taps=2, tail=1, blocks=1, kernel_groups=2, step_w=2, o_base=40)
    written: dict[int, int] = {}

    async def drive(ctx: Any) -> None:
        await engine.load(ctx, model)
        before = model.a.copy()
        execute(model, command)
        ctx.set(dut.command, words_of(command))
        ctx.set(dut.valid, 1)
        reads: list[int | None] = []
        read, write = 100, 64
        busy = False
        while not (busy and ctx.get(dut.ready)):
            ctx.set(dut.read_valid, 1)
            ctx.set(dut.read_address, read)
            ctx.set(dut.write_valid, 1)
            ctx.set(dut.write_address, write)
            ctx.set(dut.write_data, write * 0x0101010101010101)
            ctx.set(dut.write_enable, 0xFF)
            if len(reads) >= READ_LATENCY and (last := reads[-READ_LATENCY]) is not None:
                assert ctx.get(dut.read_data) == int.from_bytes(before[last].tobytes(), "little")
            reads.append(read if ctx.get(dut.read_ready) else None)
            if reads[-1] is not None:
                read = int(rng.integers(100, 128))
            if ctx.get(dut.write_ready):
                written[write] = write
                write = int(rng.integers(64, 100))
            await ctx.tick()
            ctx.set(dut.valid, 0)
            busy = True
        ctx.set(dut.write_valid, 0)
        for address, value in written.items():
            model.a[address] = value
        assert any(r is None for r in reads) and len(written) > 10
        assert np.array_equal(await engine.dump(ctx), model.a)

    simulate(dut, drive)
