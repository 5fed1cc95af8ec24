"""Random commands of the compute engine alone, within its memories."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from targets.npu.check import check
from targets.npu.config import BLOCK, Accelerator
from targets.npu.footprint import group_lanes
from targets.npu.isa import Add, CommandError, Opcode, Window, stream
from targets.npu.model import Model

_WINDOWS = (Opcode.CONV, Opcode.CONV, Opcode.DEPTHWISE, Opcode.SUM, Opcode.MAX)


def commands(
    config: Accelerator, seed: int, *, longest: int = 1 << 30, add: bool = True
) -> Iterator[Window | Add]:
    """Commands that the checker lets through and that take at most `longest` cycles."""
    rng = np.random.default_rng(seed)
    while True:
        elementwise = add and config.tables and rng.random() < 1 / 6
        command = _add(config, rng) if elementwise else _window(config, rng)
        if cycles_of(command, config) > longest:
            continue
        try:
            check(stream([command], config), config, [])
        except CommandError:
            continue
        yield command


def cycles_of(command: Window | Add, config: Accelerator) -> int:
    """What docs/ACCELERATOR.md says of a command's time."""
    lanes = config.requant_lanes
    if isinstance(command, Add):
        return max(2, BLOCK // lanes) * command.count + 22 + (lanes < BLOCK)
    slices = group_lanes(command, config) // lanes
    pixels = command.groups * command.out_h * command.out_w
    start = 26 if config.lut_multipliers else 24
    return (pixels - 1) * max(command.steps, slices) + command.steps + slices + start


def execute(model: Model, command: Window | Add) -> None:
    model.run(stream([command], model.config), [])


def _window(config: Accelerator, rng: np.random.Generator) -> Window:
    def draw(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    opcode = Opcode(rng.choice(_WINDOWS))
    conv = opcode is Opcode.CONV
    taps = int(rng.choice([1, 1, 2, 4])) if conv else draw(1, 4)
    kernel = (1, 1) if rng.random() < 0.3 else (draw(1, 4), draw(1, 3))
    lanes = config.out_lanes if conv else config.depthwise_lanes
    groups = draw(1, max(1, min(24, 32 // lanes if rng.random() < 0.7 else 3)))
    out_w, out_h = draw(1, 7), draw(1, 5)
    low, high = (-128, 127) if rng.random() < 0.6 else (draw(-128, 127), draw(-128, 127))
    return Window(
        opcode, a_base=draw(0, config.a_words // 2), a_plane=draw(0, 130),
        in_w=draw(1, 9), in_h=draw(1, 9), out_w=out_w, out_h=out_h,
        o_base=draw(0, config.a_words - 1), o_plane=draw(out_w * out_h, out_w * out_h + 60),
        o_blocks=draw(1, -(-groups * lanes // BLOCK) + 1), groups=groups,
        blocks=draw(1, 4) if conv and taps == 1 else 1, kernel_h=kernel[0],
        kernel_groups=kernel[1], taps=taps, tail=draw(1, taps),
        stride_h=draw(1, 3), stride_w=draw(1, 3), step_h=draw(1, 3), step_w=draw(1, 5),
        pad_top=draw(0, 3), pad_left=draw(0, 5), pad=draw(-128, 127), uniform=draw(0, 1),
        w_base=draw(0, config.w_words // 2), p_base=draw(0, config.p_words - 1),
        zero_point=draw(-128, 127), low=low, high=high,
    )  # fmt: skip


def _add(config: Accelerator, rng: np.random.Generator) -> Add:
    count = int(rng.integers(1, 17))
    a, b, o = (int(rng.integers(0, config.a_words - count + 1)) for _ in range(3))
    low, high, zero_point = (int(v) for v in rng.integers(-128, 128, 3))
    if rng.random() < 0.6:
        low, high = -128, 127
    p = int(rng.integers(0, config.p_words))
    return Add(a, b, rng.choice([a, b, o]).item(), count, p, zero_point, low, high)


def extremes(config: Accelerator, seed: int, *, steps: int = 100_000) -> Iterator[Window | Add]:
    """Commands with fields at their ends, many of which touch words that are not there."""
    rng = np.random.default_rng(seed)
    while True:
        command = _extreme(config, rng)
        work = 0 if isinstance(command, Add) else command.out_w * command.out_h * command.groups
        if isinstance(command, Add) or work * command.steps <= steps:
            yield command


def _extreme(config: Accelerator, rng: np.random.Generator) -> Window | Add:
    words = config.a_words

    def draw(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    def end(low: int, high: int) -> int:
        """Mostly small; either end, or any."""
        near = draw(low, min(high, low + 5))
        return (low, high, draw(low, high), near, near, near)[draw(0, 5)]

    def seldom(low: int, high: int, usual: int) -> int:
        return end(low, high) if rng.random() < 0.1 else usual

    opcode = Opcode(rng.choice([*_WINDOWS, *([Opcode.ADD] if config.tables else [])]))
    if opcode is Opcode.ADD:
        bases = [seldom(0, (1 << 20) - 1, draw(0, words - words // 4)) for _ in range(3)]
        return Add(*bases, end(1, words // 4), draw(0, config.p_words - (rng.random() < 0.9)))
    conv = opcode is Opcode.CONV
    taps = int(rng.choice([1, 1, 2, 4])) if conv else draw(1, 4)
    return Window(
        opcode, a_base=seldom(0, (1 << 20) - 1, draw(0, words // 8)),
        a_plane=seldom(0, (1 << 20) - 1, draw(0, words // 8)),
        in_w=end(1, 4095), in_h=end(1, 4095), out_w=end(1, 60), out_h=end(1, 9),
        o_base=seldom(0, (1 << 20) - 1, draw(words // 4, words - words // 4)),
        o_plane=seldom(0, (1 << 20) - 1, draw(0, words // 8)), o_blocks=draw(1, 4),
        groups=draw(1, max(1, 32 // config.out_lanes)),
        blocks=end(1, 6) if conv and taps == 1 else 1,
        taps=taps, tail=draw(1, taps), uniform=draw(0, 1),
        w_base=seldom(0, (1 << 16) - 1, draw(0, config.w_words // 2)),
        p_base=seldom(0, (1 << 16) - 1, draw(0, config.p_words // 2)),
        kernel_h=seldom(1, 255, draw(1, 3)), kernel_groups=seldom(1, 255, draw(1, 3)),
        stride_h=end(1, 15), stride_w=end(1, 15), step_h=end(1, 63), step_w=end(1, 63),
        pad_top=end(0, 255), pad_left=end(0, 255), pad=draw(-128, 127),
    )  # fmt: skip
