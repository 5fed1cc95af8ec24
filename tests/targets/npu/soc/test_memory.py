"""The external memory of the simulated system: order, content, latency, and whose turn it is."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.toolchain.verilator import verilated_library
from targets.npu import soc

PORTS, WORDS, READ_ONLY, LATENCY, CYCLES = 3, 256, 64, 10, 3000
ALWAYS = 256
_TOP = """
module bench(input clk, input rst, input [2:0] cmd_valid, output [2:0] cmd_ready,
    input [2:0] cmd_we, input [95:0] cmd_addr, input [20:0] cmd_len, output [2:0] r_valid,
    input [2:0] r_ready, output [31:0] r_data, input [2:0] w_valid, output [2:0] w_ready,
    input [95:0] w_data, input [11:0] w_strb);
  memory #(.PORTS(3), .WORDS(256), .READ_ONLY_WORDS(64), .LATENCY(10)) memory (.*);
endmodule
"""


@dataclass(frozen=True)
class Command:
    port: int
    we: int
    word: int
    length: int
    not_before: int = 0


@dataclass(frozen=True)
class Event:
    cycle: int
    kind: int
    port: int
    data: int


TAKEN, READ, WRITTEN = 0, 1, 2


@functools.cache
def library() -> ctypes.CDLL:
    memory = next(p for p in soc.VERILOG if p.name == "memory.v")
    bench = Path(__file__).parent / "memory_bench.cpp"
    return ctypes.CDLL(str(verilated_library([_TOP, memory], top="bench", harness=[bench])))


def run(
    commands: Sequence[Command], ready: int = ALWAYS, seed: int = 1
) -> tuple[list[Event], list[int]]:
    """The events in order, and the strobes of each word that was written."""
    given_ = (ctypes.c_uint32 * (5 * len(commands)))(
        *(x for c in commands for x in (c.port, c.we, 4 * c.word, c.length, c.not_before))
    )
    most = 8 * CYCLES
    events, strobes = (ctypes.c_uint32 * (4 * most))(), (ctypes.c_uint32 * most)()
    count = library().bench(given_, len(commands), ready, seed, events, most, strobes, CYCLES)
    found = [Event(*events[4 * i : 4 * i + 4]) for i in range(count)]
    return found, list(strobes)


def bursts(
    commands: Sequence[Command], events: Sequence[Event]
) -> Iterator[tuple[Command, int, list[Event]]]:
    """Each command as it was taken, the cycle of that, and the events of its words."""
    taken = [(commands[e.data], e.cycle) for e in events if e.kind == TAKEN]
    words = [e for e in events if e.kind != TAKEN]
    at = 0
    for command, cycle in taken:
        yield command, cycle, words[at : at + command.length]
        at += command.length


def check(commands: Sequence[Command], ready: int, seed: int) -> None:
    events, strobes = run(commands, ready, seed)
    assert sum(e.kind == TAKEN for e in events) == len(commands)
    content: dict[int, int] = {}
    end, moves, written = -1, -1, 0
    for command, taken, words in bursts(commands, events):
        assert len(words) == command.length
        assert [w.port for w in words] == [command.port] * command.length
        assert taken >= moves, "taken before the burst before could move"
        moves = max(taken + LATENCY, end + 1)
        assert words[0].cycle >= moves
        if ready == ALWAYS:
            assert [w.cycle for w in words] == list(range(moves, moves + command.length))
        end = words[-1].cycle
        for i, word in enumerate(words):
            address = (command.word + i) % WORDS
            if command.we:
                assert word.kind == WRITTEN
                mask = sum(0xFF << 8 * b for b in range(4) if strobes[written] >> b & 1)
                written += 1
                if address >= READ_ONLY:
                    content[address] = content.get(address, 0) & ~mask | word.data & mask
            else:
                assert word.kind == READ and word.data == content.get(address, 0)


COMMANDS = st.lists(
    st.builds(
        Command,
        port=st.integers(0, PORTS - 1),
        we=st.integers(0, 1),
        word=st.integers(40, 120),
        length=st.integers(1, 64),
        not_before=st.integers(0, 400),
    ),
    min_size=1,
    max_size=12,
)


@given(COMMANDS, st.sampled_from([ALWAYS, 200, 90]), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_bursts_have_their_words_in_order_and_in_time(
    commands: list[Command], ready: int, seed: int
) -> None:
    check(commands, ready, seed)


@pytest.mark.parametrize("length", [1, 8, 10, 11, 64])
def test_latency_passes_while_the_burst_before_moves(length: int) -> None:
    """Eight bursts of one master: the first after the latency, then max(length, latency) each."""
    commands = [Command(2, 0, 64, length) for _ in range(8)]
    events, _ = run(commands)
    end = max(e.cycle for e in events) + 1
    assert end == LATENCY + 7 * max(length, LATENCY) + length


def test_masters_take_turns() -> None:
    """While all want something, each gets every third burst."""
    commands = [Command(port, 0, 64, 8) for port in range(PORTS) for _ in range(6)]
    events, _ = run(commands)
    turns = [e.port for e in events if e.kind == TAKEN]
    assert turns == [1, 2, 0] * 6
