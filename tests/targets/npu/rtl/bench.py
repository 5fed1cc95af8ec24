"""A compute engine under Amaranth's simulator, its memories those of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from amaranth.sim import Simulator

from targets.npu.config import Accelerator
from targets.npu.isa import Add, Error, Window, encode
from targets.npu.model import Model
from targets.npu.rtl.compute import Compute
from targets.npu.rtl.memory import READ_LATENCY

#: Cycles after which a command that is still not finished never will be.
_PATIENCE = 20_000


def simulate(component: Any, testbench: Callable[[Any], Any]) -> None:
    """Run a testbench, an async function of the simulator's context, to its end."""
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def fill(model: Model, seed: int) -> None:
    """Anything into every memory; parameters of which most make results that are not clamped."""
    rng, config = np.random.default_rng(seed), model.config
    channels = config.p_channels
    model.a[:] = rng.integers(0, 256, model.a.shape, dtype=np.uint8)
    model.w[:] = rng.integers(0, 256, model.w.shape, dtype=np.uint8)
    model.p[:, 0] = rng.integers(-1 << 31, 1 << 31, channels) >> rng.integers(0, 32, channels)
    model.p[:, 1] = rng.integers(0, 1 << 31, channels)
    left = np.where(rng.random(channels) < 0.6, 0, rng.integers(0, 32, channels))
    right = np.where(rng.random(channels) < 0.3, 0, rng.integers(0, 20, channels))
    model.p[:, 2] = left | right << 8
    model.t[:] = rng.integers(-1 << 31, 1 << 31, 512) >> rng.integers(0, 32, 512)


def words_of(command: Window | Add) -> int:
    """The command as the port takes it."""
    return sum(word << 32 * i for i, word in enumerate(encode(command)))


class Engine:
    """Drives the ports of a `Compute` within a testbench."""

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        self.dut: Any = Compute(config)

    async def load(self, ctx: Any, model: Model) -> None:
        """The model's memories, all through the transfer engine's ports."""
        dut = self.dut
        a = [int.from_bytes(row.tobytes(), "little") for row in model.a]
        columns = model.w.reshape(self.config.w_words, -1).view("<u4")
        ctx.set(dut.write_enable, 0xFF)
        ctx.set(dut.write_valid, 1)
        for i, word in enumerate(a):
            ctx.set(dut.write_address, i)
            ctx.set(dut.write_data, word)
            assert ctx.get(dut.write_ready)
            await ctx.tick()
        ctx.set(dut.write_valid, 0)
        await self._fill(ctx, "w", enumerate(columns.tolist()))
        await self._fill(ctx, "p", enumerate((model.p.astype(np.int64) & 0xFFFFFFFF).tolist()))
        if self.config.tables:
            table = (model.t.astype(np.int64) & 0xFFFFFFFF).tolist()
            await self._fill(ctx, "t", ((i, [v]) for i, v in enumerate(table)))

    async def _fill(self, ctx: Any, name: str, rows: Iterator[tuple[int, list[int]]]) -> None:
        enable = getattr(self.dut, f"{name}_enable")
        ctx.set(enable, 1)
        for address, row in rows:
            ctx.set(getattr(self.dut, f"{name}_address"), address)
            for column, value in enumerate(row):
                if name != "t":
                    ctx.set(getattr(self.dut, f"{name}_column"), column)
                ctx.set(getattr(self.dut, f"{name}_data"), value)
                await ctx.tick()
        ctx.set(enable, 0)

    async def start(self, ctx: Any, command: Window | Add) -> None:
        dut = self.dut
        ctx.set(dut.command, words_of(command))
        ctx.set(dut.valid, 1)
        while not ctx.get(dut.ready):
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.valid, 0)

    async def run(self, ctx: Any, command: Window | Add) -> tuple[Error, int, int]:
        """Returns how it ended, the cycles until the engine is ready again, and its steps."""
        dut = self.dut
        await self.start(ctx, command)
        cycles, steps, ends = 1, 0, []
        while not ctx.get(dut.ready):
            assert cycles < _PATIENCE, f"still busy after {cycles} cycles: {command}"
            steps += ctx.get(dut.step)
            if ctx.get(dut.done):
                ends.append(Error.NONE)
            if ctx.get(dut.fault):
                ends.append(Error.ADDRESS)
            await ctx.tick()
            cycles += 1
        assert len(ends) == 1, f"ends {ends}: {command}"
        return ends[0], cycles, steps

    async def read(self, ctx: Any, address: int) -> int:
        """A word of A, which is not asked for at the same time by the engine for ever."""
        dut = self.dut
        ctx.set(dut.read_address, address)
        ctx.set(dut.read_valid, 1)
        while not ctx.get(dut.read_ready):
            await ctx.tick()
        await ctx.tick()
        ctx.set(dut.read_valid, 0)
        for _ in range(READ_LATENCY - 1):
            await ctx.tick()
        return int(ctx.get(dut.read_data))

    async def dump(self, ctx: Any) -> np.ndarray:
        """Memory A, uint8 [a_words, 8], one word a cycle."""
        dut, words = self.dut, []
        ctx.set(dut.read_valid, 1)
        for i in range(self.config.a_words + READ_LATENCY):
            if i >= READ_LATENCY:
                words.append(int(ctx.get(dut.read_data)).to_bytes(8, "little"))
            ctx.set(dut.read_address, min(i, self.config.a_words - 1))
            assert ctx.get(dut.read_ready)
            await ctx.tick()
        ctx.set(dut.read_valid, 0)
        return np.frombuffer(b"".join(words), np.uint8).reshape(-1, 8)
