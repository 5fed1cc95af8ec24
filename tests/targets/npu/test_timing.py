"""Estimated cycles against the hardware's, command by command and in whole streams."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.devices.emulators.verilated import Verilated
from targets.npu.config import CONFIGURATIONS, Accelerator
from targets.npu.costs import BUS, Counters, engine_cycles
from targets.npu.durations import array_cycles, bus_words, runs_of, steps_of, words_written
from targets.npu.isa import Add, Command, End, Head, Load, Opcode, Space, Store, Window, decode
from targets.npu.isa import stream as words_of
from targets.npu.progress import Progress
from targets.npu.timing import timing

from .streams import CONFIGURATIONS as SMALL
from .streams import EIGHT, Case, valid

NPU64 = CONFIGURATIONS["npu64"]
#: Where the bench of `Verilated` puts a stream: bursts end at multiples of their size.
_STREAM, _GUARD = 64, 64


def _bases(case: Case) -> list[int]:
    """Where the bench puts the regions."""
    found, at = [], _STREAM + 4 * len(case.words) + _GUARD
    for region in case.regions:
        found.append(at)
        at = (at + len(region) + _GUARD + 3) // 4 * 4
    return found


def _estimate(case: Case) -> Counters:
    commands = decode(case.words, case.config)
    return timing(commands, case.config, stream=_STREAM, bases=_bases(case)).total


def _compare(config: Accelerator, seeds: range) -> None:
    hardware = Verilated(config)
    errors, simulated, estimated = [], 0, 0
    for seed in seeds:
        case = valid(config, seed)
        counters = hardware.run(case.words, case.regions).counters
        found = _estimate(case)
        assert (found.steps, found.moved) == (counters["steps"], counters["moved"])
        assert (found.computed, found.transferred) == (
            counters["computed"], counters["transferred"],
        )  # fmt: skip
        simulated, estimated = simulated + counters["cycles"], estimated + found.cycles
        errors.append(abs(found.cycles / counters["cycles"] - 1))
    assert max(errors) < 0.05
    assert abs(estimated / simulated - 1) < 0.02


def test_random_streams_take_the_cycles_that_the_hardware_takes() -> None:
    _compare(EIGHT, range(60))


@pytest.mark.slow
@pytest.mark.parametrize("config", SMALL, ids=lambda c: c.name)
def test_so_they_do_in_every_configuration(config: Accelerator) -> None:
    _compare(config, range(60, 200))


def _conv(**changes: int) -> Window:
    sizes = {
        "a_base": 0, "a_plane": 125, "in_w": 5, "in_h": 25, "out_w": 5, "out_h": 25,
        "o_base": 2000, "o_plane": 125, "o_blocks": 8, "groups": 8, "blocks": 8,
    }  # fmt: skip
    return Window(Opcode.CONV, **(sizes | changes))


def test_what_follows_from_counts() -> None:
    """A pointwise layer of 64 to 64 channels: an output group a step; two cycles to rescale it."""
    conv = _conv()
    assert steps_of(conv) == 8 * 125 * 8
    assert array_cycles(conv, NPU64) == 8 * 125 * 8 + 2
    assert array_cycles(_conv(blocks=1), NPU64) == (8 * 125 - 1) * 2 + 1 + 2
    assert words_written(conv, NPU64) == 8 * 125
    assert words_written(_conv(o_blocks=3), NPU64) == 3 * 125
    add = Add(0, 100, 200, 50)
    assert (steps_of(add), words_written(add, NPU64)) == (100, 50)
    assert engine_cycles(conv, NPU64) > array_cycles(conv, NPU64)
    assert engine_cycles(End(), NPU64) == 0


@pytest.mark.parametrize(
    ("offset", "count", "channels", "words", "runs"),
    [
        (0, 10, 8, 20, 20),
        (0, 10, 4, 10, 10),
        (0, 12, 3, 9, 9 + 9),  # three of four pixels begin within a word
        (0, 8, 1, 2, 8),
        (1, 4, 8, 9, 9 + 3),  # the first pixel's word begins where the transfer does
        (2, 1, 2, 1, 1),
        (0, 3, 10, 8, 8 + 2),  # the second pixel's two blocks begin within words
    ],
)
def test_runs_of_bytes(offset: int, count: int, channels: int, words: int, runs: int) -> None:
    load = Load(offset, 0, Space.A, 0, count, channels, 100)
    assert (bus_words(load, NPU64), runs_of(load, NPU64)) == (words, runs)
    # One by one: a run ends where a bus word, a block or a pixel does.
    ends = {b + 1 for b in range(offset, offset + count * channels) if (b + 1) % 4 == 0}
    ends |= {
        offset + p * channels + min(c, channels)
        for p in range(count)
        for c in range(8, channels + 8, 8)
    }
    assert runs == len(ends)


def test_a_command_starts_when_it_may() -> None:
    """Engines run beside each other; `after` and the order of an engine hold."""
    commands: list[Command] = [
        Load(0, 0, Space.W, 0, 64),
        _conv(after=1),
        Load(0, 0, Space.W, 64, 64),
        _conv(w_base=64, after=2),
        Store(0, 1, 2000, 125, 64, 125, after=2),
    ]
    whole = decode(words_of(commands, NPU64), NPU64)
    first, conv, second, other, store = timing(whole, NPU64).spans[1:-1]
    assert conv.start >= first.finish and other.start >= max(conv.finish, second.finish)
    assert second.finish < conv.finish  # beside it
    assert store.start >= other.finish
    assert first.cycles >= 64 * 16 + BUS.latency


def test_commands_that_wait_for_each_other_are_found() -> None:
    commands: list[Command] = [Load(0, 0, Space.W, 0, 1, after=1), _conv(after=1)]
    whole = decode(words_of(commands, NPU64), NPU64)
    with pytest.raises(ValueError, match="wait for each other"):
        timing(whole, NPU64)
    progress = Progress(whole, NPU64)
    progress.advance(100_000)
    assert progress.stuck == 1 and not progress.over


def test_another_master_delays_and_is_delayed() -> None:
    """While a transfer has the memory, a burst of eight words waits for two of 64."""
    load: list[Command] = [Load(0, 0, Space.W, 0, 512)]
    whole = decode(words_of(load, NPU64), NPU64)
    alone = timing(whole, NPU64).cycles
    progress = Progress(whole, NPU64)
    delays = []
    for cycle in range(1000, 3000, 200):
        _, free = progress.burst(cycle, 8)
        delays.append(free - cycle)
    assert 64 <= np.mean(delays) <= 2 * 64 + BUS.latency + 8
    assert progress.finish().cycles >= alone + 10 * 8
    quiet = Progress(whole, NPU64)
    quiet.finish()
    first, free = quiet.burst(alone + 100, 8)
    assert (first, free) == (alone + 100 + BUS.latency, alone + 100 + BUS.latency + 8)


def test_counters_rise_evenly() -> None:
    whole = decode(words_of([_conv()], NPU64), NPU64)
    found = timing(whole, NPU64)
    half = found.at((found.spans[1].start + found.spans[1].finish) // 2)
    assert half.steps == pytest.approx(4000, abs=5) and not half.done and half.computed == 0
    assert found.total.done and found.total.steps == 8000
    assert isinstance(whole[0], Head)
