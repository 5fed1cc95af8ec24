"""targets/npu/model.py against the text of docs/ACCELERATOR.md and against edgekit's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.ops import fixedpoint
from targets.npu.check import order
from targets.npu.config import Accelerator
from targets.npu.footprint import group_lanes
from targets.npu.isa import (
    Add,
    CommandError,
    Error,
    Load,
    Opcode,
    Space,
    Store,
    Window,
    decode,
    stream,
)
from targets.npu.model import Model, rescale

from .streams import CONFIGURATIONS, TINY, valid

_INT32 = st.integers(-(2**31), 2**31 - 1)


def _signed(byte: int) -> int:
    return (int(byte) ^ 0x80) - 0x80


def _wrapped(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def _rescale(acc: int, entry: np.ndarray) -> int:
    """The manual's three lines, in numbers of any size."""
    bias, multiplier, shifts = map(int, entry)
    left, right = shifts & 31, shifts >> 8 & 31
    v = _wrapped(_wrapped(acc + bias) << left)
    h = (v * multiplier + 2**30) >> 31
    nearest = (2 * abs(h) + 2**right) // (2 * 2**right)
    return nearest if h >= 0 else -nearest


def _window(model: Model, c: Window) -> None:
    """The manual's loops, one number at a time."""
    config, a = model.config, model.a
    lanes = group_lanes(c, config)
    for g in range(c.groups):
        for y in range(c.out_h):
            for x in range(c.out_w):
                for n, acc in enumerate(_accumulators(model, c, g, y, x)):
                    channel = g * lanes + n
                    entry = n % config.requant_lanes if c.uniform else channel
                    if channel // 8 >= c.o_blocks:
                        continue
                    q = _rescale(acc, model.p[c.p_base * config.requant_lanes + entry])
                    at = c.o_base + channel // 8 * c.o_plane + y * c.out_w + x
                    a[at, channel % 8] = min(max(q + c.zero_point, c.low), c.high) & 0xFF


def _accumulators(model: Model, c: Window, g: int, y: int, x: int) -> list[int]:
    lanes = group_lanes(c, model.config)
    largest = c.opcode is Opcode.MAX
    acc = [-128 if largest else 0] * lanes
    step = 0
    for ky in range(c.kernel_h):
        for kg in range(c.kernel_groups):
            for b in range(c.blocks):
                iy = y * c.stride_h - c.pad_top + ky * c.step_h
                ix = x * c.stride_w - c.pad_left + kg * c.step_w
                live = c.tail if kg == c.kernel_groups - 1 else c.taps
                block = b if c.opcode is Opcode.CONV else g * lanes // 8
                v = [_pixel(model, c, block, iy, ix + t) for t in range(4)]
                steps = c.kernel_h * c.kernel_groups * c.blocks
                word = model.w[(c.w_base + g * steps + step) % model.config.w_words]
                for n in range(lanes):
                    if c.opcode is Opcode.CONV:
                        share = 8 // c.taps
                        acc[n] += sum(
                            v[j // share][j % share] * _signed(word[n, j])
                            for j in range(8)
                            if j // share < live
                        )
                        continue
                    for t in range(live):
                        value = v[t][g * lanes % 8 + n]
                        if largest:
                            acc[n] = max(acc[n], value)
                        else:
                            weight = word[n, t] if c.opcode is Opcode.DEPTHWISE else 1
                            acc[n] += value * _signed(weight)
                step += 1
    return [_wrapped(value) for value in acc]


def _pixel(model: Model, c: Window, block: int, iy: int, ix: int) -> list[int]:
    if not (0 <= iy < c.in_h and 0 <= ix < c.in_w):
        return [c.pad] * 8
    return [_signed(v) for v in model.a[c.a_base + block * c.a_plane + iy * c.in_w + ix]]


def _add(model: Model, c: Add) -> None:
    lanes = model.config.requant_lanes
    for i in range(c.count):
        for k in range(8):
            s = int(model.t[model.a[c.a_base + i, k]]) + int(
                model.t[256 + int(model.a[c.b_base + i, k])]
            )
            q = _rescale(_wrapped(s), model.p[c.p_base * lanes + k % lanes])
            model.a[c.o_base + i, k] = min(max(q + c.zero_point, c.low), c.high) & 0xFF


def _transfer(model: Model, c: Load | Store, region: np.ndarray) -> None:
    at = c.offset
    if c.space == Space.A:
        for p in range(c.count):
            for channel in range(-(-c.channels // 8) * 8):
                word = c.base + channel // 8 * c.plane + p
                if channel >= c.channels:
                    if isinstance(c, Load):
                        model.a[word, channel % 8] = c.fill & 0xFF
                elif isinstance(c, Load):
                    model.a[word, channel % 8] = region[at]
                    at += 1
                else:
                    region[at] = model.a[word, channel % 8]
                    at += 1
        return
    if c.space == Space.W:
        for i in range(c.base, c.base + c.count):
            for n in range(model.config.out_lanes):
                width = 4 if c.half else 8
                model.w[i, n, :width] = region[at : at + width]
                at += width
        return
    memory = model.p if c.space == Space.P else model.t[:, None]
    for i in range(c.base, c.base + c.count):
        for k in range(memory.shape[1]):
            memory[i, k] = int.from_bytes(region[at : at + 4].tobytes(), "little", signed=True)
            at += 4


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda c: c.name)
def test_does_what_the_manual_says(config: Accelerator) -> None:
    for seed in range(4):
        case = valid(config, 7000 + seed, cycles=700)
        fast, slow = Model(config), Model(config)
        regions = [np.frombuffer(bytearray(r), np.uint8) for r in case.regions]
        fast.run(case.words, regions)
        want = [np.frombuffer(bytearray(r), np.uint8) for r in case.regions]
        commands = decode(case.words, config)
        for command in (commands[i] for i in order(commands)):
            if isinstance(command, Window):
                _window(slow, command)
            elif isinstance(command, Add):
                _add(slow, command)
            elif isinstance(command, Load | Store):
                _transfer(slow, command, want[command.region])
        for ours, theirs in zip(
            (*regions, fast.a, fast.w, fast.p, fast.t),
            (*want, slow.a, slow.w, slow.p, slow.t),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=300, deadline=None)
@given(_INT32, _INT32, st.integers(0, 2**31 - 1), st.integers(0, 31), st.integers(0, 31))
def test_rescale(acc: int, bias: int, multiplier: int, left: int, right: int) -> None:
    entry = np.array([[bias, multiplier, left | right << 8]], np.int32)
    (found,) = rescale(np.array([acc], np.int32), entry)
    assert found == _rescale(acc, entry[0])
    one_way = left if right == 0 or left > right else -right
    entry[0, 2] = max(one_way, 0) | max(-one_way, 0) << 8
    (found,) = rescale(np.array([acc], np.int32), entry)
    summed = fixedpoint.wrap32(acc + bias)
    assert found == fixedpoint.multiply_by_quantized_multiplier(summed, multiplier, one_way)


def test_half_of_2_30_and_a_left_shift_change_nothing() -> None:
    values = np.array([[-(2**30), -129, -1, 0, 1, 77, 2**30 - 1]], np.int32).T
    entry = np.array([[0, 1 << 30, 1]], np.int32)
    np.testing.assert_array_equal(rescale(values, entry), values)


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda c: c.name)
def test_regions_end_the_same_whatever_the_memories_held(config: Accelerator) -> None:
    """What a random stream is for: hardware whose memories start as they like."""
    for seed in range(5):
        case = valid(config, seed)
        ends = []
        for fill in (0, 0xA5):
            model = Model(config)
            for memory in (model.a, model.w, model.p, model.t):
                memory.reshape(-1).view(np.uint8)[:] = fill
            regions = [bytearray(r) for r in case.regions]
            model.run(case.words, regions)
            ends.append(regions)
        assert ends[0] == ends[1]
        changed = {i for i, r in enumerate(ends[0]) if r != case.regions[i]}
        assert changed <= set(case.writable)


def test_memories_keep_their_content() -> None:
    model = Model(TINY)
    source, sink = bytes(range(1, 21)), bytearray(20)
    model.run(stream([Load(0, 0, Space.A, 7, 2, 10, 9, fill=-1)], TINY), [source])
    model.run(stream([Store(0, 1, 7, 2, 10, 9)], TINY), [source, sink])
    assert sink == source
    assert model.a[17].tolist() == [19, 20, *[255] * 6]


def test_refuses_before_it_starts() -> None:
    model = Model(TINY)
    words = stream([Load(0, 0, Space.A, 0, 2), Load(0, 0, Space.A, 255, 2)], TINY)
    with pytest.raises(CommandError, match=r"word 256 of A, which has 256") as refused:
        model.run(words, [bytes([9, 9])])
    assert (refused.value.error, refused.value.command) == (Error.ADDRESS, 2)
    assert not model.a.any()


def test_a_constant_region_is_not_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Model(TINY).run(stream([Store(0, 0, 0, 1, 1)], TINY), [b"x"])
