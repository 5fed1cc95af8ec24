"""The accelerator behind its registers: results, times, errors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from edgekit.devices.emulators.accelerator import (
    BASE,
    BUSY,
    COMPUTED,
    CONFIG,
    CONTROL,
    CYCLES,
    DONE,
    ERROR,
    ID,
    LENGTH,
    MOVED,
    RESET,
    STALLED,
    START,
    STATUS,
    STEPS,
    STREAM,
    TRANSFERRED,
    WAITED,
    AcceleratorModel,
)
from targets.npu.config import Accelerator
from targets.npu.isa import MAGIC, Error, Load, Space, Store, decode, stream
from targets.npu.timing import timing

from ...targets.npu.simulators import in_numpy
from ...targets.npu.streams import CONFIGURATIONS, EIGHT, Case, valid

_START, _SIZE = 0x4000_0000, 1 << 16


class _Bench:
    """An accelerator with a memory and a clock that the test sets."""

    def __init__(self, config: Accelerator, instant: bool = False) -> None:
        self.bytes = ctypes.create_string_buffer(_SIZE)
        self.now = 0
        self.bases: list[int] = []
        self.model = AcceleratorModel(config, self, instant)
        self.shared: Callable[[int, int], int] | None = None
        self.memory_busy = (0, 0)

    def cycles_now(self) -> int:
        return self.now

    def share_memory(self, burst: Callable[[int, int], int] | None, busy: tuple[int, int]) -> None:
        self.shared, self.memory_busy = burst, busy

    def host_memory(self, address: int) -> tuple[int, int] | None:
        offset = address - _START
        return (
            (ctypes.addressof(self.bytes) + offset, _SIZE - offset) if 0 <= offset < _SIZE else None
        )

    def put(self, case: Case) -> list[int]:
        """Stream and regions into memory, registers set; where the regions begin."""
        at, places, self.bases = 0, [], []
        stream = b"".join(w.to_bytes(4, "little") for w in case.words)
        for number, data in enumerate([stream, *case.regions]):
            places.append(at)
            self.bytes[at : at + len(data)] = data
            register = STREAM if number == 0 else BASE + 4 * (number - 1)
            if number:
                self.bases.append(_START + at)
            self.model.write(register, _START + at)
            at += len(data) + -len(data) % 4 + 4
        self.model.write(LENGTH, len(case.words))
        return places[1:]

    def start(self) -> None:
        self.model.write(CONTROL, START)


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda c: c.name)
def test_a_stream_leaves_what_it_leaves_in_numpy(config: Accelerator) -> None:
    bench = _Bench(config)
    for seed in range(5):
        case = valid(config, seed)
        places = bench.put(case)
        bench.start()
        (expected,) = in_numpy([case])
        found = [bench.bytes[p : p + len(r)] for p, r in zip(places, case.regions, strict=True)]
        assert found == list(expected.regions)
        bench.now += 100_000
        assert bench.model.read(STATUS) == DONE


def test_commands_are_done_when_the_estimate_says() -> None:
    case, bench = valid(EIGHT, 3), _Bench(EIGHT)
    assert (bench.model.read(ID), bench.model.read(CONFIG)) == (MAGIC, EIGHT.word)
    assert bench.model.read(STATUS) == 0
    bench.put(case)
    bench.now = 1000
    bench.start()
    expected = timing(decode(case.words, EIGHT), EIGHT, stream=_START, bases=bench.bases)
    for at in range(expected.cycles + 10):
        bench.now = 1000 + at
        over = at >= expected.cycles
        assert bench.model.read(STATUS) == (DONE if over else BUSY)
        for register, engine in (COMPUTED, expected.computes), (TRANSFERRED, expected.transfers):
            done = sum(expected.spans[i].finish <= at for i in engine)
            assert bench.model.read(register) == done
        assert bench.model.read(CYCLES) == min(at, expected.cycles)
    total = expected.total
    found = [bench.model.read(r) for r in (STEPS, WAITED, MOVED, STALLED)]
    assert found == [total.steps, total.waited, total.moved, total.stalled]
    assert total.steps == sum(expected.steps) and total.moved == sum(expected.moved)


def test_a_start_while_it_runs_is_not_taken() -> None:
    bench = _Bench(EIGHT)
    bench.put(valid(EIGHT, 3))
    bench.start()
    bench.now = 20
    bench.start()
    assert bench.model.read(CYCLES) == 20


def test_where_nobody_counts_cycles_all_is_done_at_once() -> None:
    case, bench = valid(EIGHT, 3), _Bench(EIGHT, instant=True)
    bench.put(case)
    bench.start()
    assert bench.model.read(STATUS) == DONE
    commands = bench.model.read(COMPUTED) + bench.model.read(TRANSFERRED)
    assert commands == len(decode(case.words, EIGHT)) - 2


def test_a_refused_stream_is_an_error_until_reset() -> None:
    case, bench = valid(EIGHT, 3), _Bench(EIGHT)
    bench.put(case)
    before = bytes(bench.bytes)
    at = 4 * 4  # the first command after HEAD
    bench.bytes[at] = b"\x77"
    bench.start()
    assert bench.model.read(STATUS) == ERROR | Error.OPCODE << 8 | 1 << 16
    bench.bytes[at] = before[at]
    bench.start()
    assert bench.model.read(STATUS) & ERROR
    bench.model.write(CONTROL, RESET)
    assert bench.model.read(STATUS) == 0
    bench.start()
    assert bench.model.read(STATUS) == BUSY


@pytest.mark.parametrize("register", [STREAM, BASE])
def test_an_address_without_memory_is_an_error(register: int) -> None:
    case = next(c for c in (valid(EIGHT, s) for s in range(20)) if _reads_region_0(c))
    bench = _Bench(EIGHT)
    bench.put(case)
    bench.model.write(register, 0x2000_0000)
    bench.start()
    error = bench.model.read(STATUS) >> 8 & 0xFF
    assert error == (Error.TRUNCATED if register == STREAM else Error.REGION)


def _reads_region_0(case: Case) -> bool:
    return any(getattr(c, "region", -1) == 0 for c in decode(case.words, case.config))


def test_every_accelerator_has_its_own_memories() -> None:
    """Two boards whose programs take turns: each finds what its own streams have left."""
    load = stream([Load(0, 0, Space.A, 5, 1, 8)], EIGHT)
    store = stream([Store(8, 0, 5, 1, 8)], EIGHT)
    benches = [_Bench(EIGHT, instant=True) for _ in range(2)]
    contents = (b"01234567", b"abcdefgh")
    for words in load, store:
        for bench, data in zip(benches, contents, strict=True):
            (place,) = bench.put(Case(EIGHT, words, [data + bytes(8)], (0,)))
            bench.start()
            assert bench.model.read(STATUS) == DONE
    for bench, data in zip(benches, contents, strict=True):
        assert bench.bytes[place + 8 : place + 16] == data
