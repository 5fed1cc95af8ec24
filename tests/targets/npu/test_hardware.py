"""The hardware under Verilator against the model: bytes, errors, resets, the pace of its bus."""

from __future__ import annotations

import random
from functools import cache

import pytest

from edgekit.devices.emulators.verilated import Result, Verilated
from targets.npu.config import Accelerator
from targets.npu.isa import Error, Load, Opcode, Space, Store, Window, decode, stream
from targets.npu.model import Model
from targets.npu.rtl.registers import Register

from .broken import broken
from .streams import CONFIGURATIONS, EIGHT, TINY, Case, valid

_BUILT = (TINY, EIGHT)
_two = pytest.mark.parametrize("config", _BUILT, ids=lambda c: c.name)
_each = pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda c: c.name)


@cache
def _hardware(config: Accelerator) -> Verilated:
    return Verilated(config)


def _expected(case: Case) -> list[bytes]:
    model = Model(case.config)
    regions = [bytearray(r) for r in case.regions]
    model.run(case.words, regions)
    return [bytes(r) for r in regions]


def _run(case: Case, seed: int) -> Result:
    """One case on a bus whose pace depends on the seed."""
    hardware = _hardware(case.config)
    latency, pressure = ((10, 0), (2, 0), (10, 60), (40, 150))[seed % 4]
    hardware.timing(latency, pressure, seed)
    return hardware.run(case.words, case.regions, most_cycles=1_000_000)


def _same(config: Accelerator, seeds: range) -> None:
    for seed in seeds:
        case = valid(config, seed)
        result = _run(case, seed)
        assert result.error is Error.NONE, (seed, result)
        assert result.regions == _expected(case), seed
        assert result.untouched, seed
        kinds = [c.opcode in (Opcode.LOAD, Opcode.STORE) for c in decode(case.words, config)[1:-1]]
        assert result.counters["transferred"] == sum(kinds)
        assert result.counters["computed"] == len(kinds) - sum(kinds)
    assert _hardware(config).broken == 0


def _refused(config: Accelerator, seeds: range) -> None:
    """Each broken stream ends with its error; then a good one runs."""
    hardware = _hardware(config)
    good = valid(config, 5)
    expected = _expected(good)
    raised = set()
    for seed in seeds:
        case = broken(config, seed)
        if not case.hardware:
            continue
        found = _run(case, seed)
        assert (found.error, found.command) == (case.error, case.command), (seed, case.name)
        raised.add(found.error)
        hardware.reset()
        again = _run(good, seed)
        assert again.error is Error.NONE and again.regions == expected, (seed, case.name)
    assert hardware.broken == 0
    assert raised == {e for e in Error if e not in (Error.NONE, Error.RACE, Error.REGION)}


@_two
def test_same_bytes_as_the_model(config: Accelerator) -> None:
    _same(config, range(100))


@_two
def test_broken_streams_are_refused_and_the_next_one_runs(config: Accelerator) -> None:
    _refused(config, range(160))


@pytest.mark.slow
@_each
def test_same_bytes_as_the_model_many(config: Accelerator) -> None:
    """10,200 streams in all."""
    _same(config, range(1000, 2700))


@pytest.mark.slow
@_each
def test_broken_streams_are_refused_many(config: Accelerator) -> None:
    _refused(config, range(1000, 2000))


def _transfers(config: Accelerator, rng: random.Random) -> Case:
    """LOAD to A and STORE of what was loaded, of any shape, one after the other."""
    commands: list[Load | Store] = []
    out = 0
    for _ in range(rng.randint(1, 4)):
        channels = rng.choice((rng.randint(1, 9), rng.randint(1, 70)))
        blocks = -(-channels // 8)
        count = rng.randint(1, min(40, config.a_words // blocks))
        plane = rng.randint(count, config.a_words // blocks)
        last = (blocks - 1) * plane + count
        base = rng.randint(0, config.a_words - last)
        place = rng.randint(0, 20)
        commands.append(
            Load(place, 0, Space.A, base, count, channels, plane, rng.randint(-128, 127))
        )
        stored = rng.choice((channels, blocks * 8, rng.randint(1, channels)))
        out += rng.randint(0, 5)
        commands.append(Store(out, 1, base, count, stored, plane))
        out += count * stored
    source = rng.randbytes(20 + 40 * 72)
    words = stream(commands, config)
    return Case(config, words, [source, bytes(out + rng.randint(0, 3))], (1,))


@_two
def test_transfers_of_any_shape(config: Accelerator) -> None:
    for seed in range(80):
        case = _transfers(config, random.Random(seed))
        result = _run(case, seed)
        assert result.error is Error.NONE, seed
        assert result.regions == _expected(case) and result.untouched, seed
    assert _hardware(config).broken == 0


@_two
def test_reset_from_any_state(config: Accelerator) -> None:
    """Also with bursts under way; memory is only touched where the stream writes."""
    rng = random.Random(config.name)
    hardware = _hardware(config)
    good = valid(config, 6)
    expected = _expected(good)
    for seed in range(60):
        case = valid(config, 3000 + seed)
        hardware.timing(rng.choice((1, 10, 60)), rng.choice((0, 100)), seed)
        hardware.start(case.words, case.regions)
        hardware.clock(rng.randrange(case.cycles or 1000))
        hardware.reset()
        left = hardware.result()
        assert left.untouched and left.error is Error.NONE
        assert all(
            left.regions[i] == r for i, r in enumerate(case.regions) if i not in case.writable
        )
        again = hardware.run(good.words, good.regions)
        assert again.error is Error.NONE and again.regions == expected, seed
    assert hardware.broken == 0


def test_registers() -> None:
    hardware = _hardware(TINY)
    assert hardware.read(Register.ID).to_bytes(4, "little") == b"EKN1"
    assert hardware.read(Register.CONFIG) == TINY.word
    for number in range(8):
        hardware.write(Register.BASE0 + 4 * number, 0x01020304 * number)
    assert [hardware.read(Register.BASE0 + 4 * n) for n in range(8)] == [
        0x01020304 * n for n in range(8)
    ]
    hardware.write(Register.CONFIG, 0)
    assert hardware.read(Register.CONFIG) == TINY.word and hardware.read(0x7C) == 0


def test_after_an_error_only_a_reset_helps() -> None:
    hardware = _hardware(TINY)
    good = valid(TINY, 7)
    hardware.timing()
    assert hardware.run([0] * 4).error is Error.HEAD
    assert hardware.run(good.words, good.regions).error is Error.HEAD
    assert hardware.clock(1) == 0  # irq
    hardware.reset()
    assert hardware.read(Register.STATUS) == 0
    assert hardware.run(good.words, good.regions).regions == _expected(good)
    assert hardware.read(Register.STATUS) == 2


def test_weights_arrive_almost_a_word_a_cycle() -> None:
    """As bus-bound models need it, with ten cycles from a burst's command to its first word."""
    hardware = _hardware(EIGHT)
    hardware.timing(latency=10)
    weights = bytes(range(256)) * (EIGHT.w_bytes // 256)
    count = 18
    loads = [Load(0, 0, Space.W, 0, EIGHT.w_words)] * count
    counters = hardware.run(stream(loads, EIGHT), [weights]).counters
    assert counters["moved"] == count * EIGHT.w_bytes // 4
    assert counters["cycles"] < 1.04 * counters["moved"] + 100
    assert counters["waited"] == counters["cycles"]


def test_counters_tell_what_the_engines_did() -> None:
    hardware = _hardware(EIGHT)
    hardware.timing(latency=10)
    image = Window(Opcode.MAX, 0, 0, 10, 6, 10, 6, 64, 0, 1, 1, kernel_h=2, kernel_groups=3)
    load = Load(0, 0, Space.A, 0, 60, 8, 0)
    parameters = Load(0, 0, Space.P, 0, 8)
    words = stream([load, parameters, image, load], EIGHT)
    counters = hardware.run(words, [bytes(480)]).counters
    assert counters["steps"] == 60 * 6 and counters["moved"] == 120 + 24 + 120
    assert counters["computed"] == 1 and counters["transferred"] == 3
    assert counters["steps"] + counters["waited"] < counters["cycles"]
    assert counters["moved"] + counters["stalled"] < counters["cycles"]


def test_commands_may_wait_for_later_ones_as_far_as_the_queues_reach() -> None:
    hardware = _hardware(TINY)
    hardware.timing()
    window = Window(Opcode.MAX, 0, 0, 2, 2, 2, 2, 64, 0, 1, 1)
    load, parameters = Load(0, 0, Space.A, 0, 4, 8, 0), Load(0, 0, Space.P, 0, 8)
    waiting = Load(0, 0, Space.A, 32, 4, 8, 0, after=1)
    for more, error in ((4, Error.NONE), (5, Error.TOKEN)):
        words = stream([load, parameters, waiting, *[load] * more, window], TINY)
        found = hardware.run(words, [bytes(96)])
        assert found.error is error
        if error:
            assert found.command == 3
            hardware.reset()
