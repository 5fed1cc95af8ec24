"""Profiled runs on a board: one request a run, then its layers; what the runs say together."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence

from edgekit.devices import protocol
from edgekit.devices.conversation import Conversation, Hello
from edgekit.devices.gpu import A_CPU
from edgekit.devices.profile import UNACCOUNTED, Profile, Run, Work, warnings_of
from edgekit.errors import EdgekitError
from targets import Board

Progress = Callable[[int, int], None]
#: How long the counter is compared with this machine's clock, and what it may be off.
_CLOCK_SECONDS, _CLOCK_TOLERANCE = 0.25, 0.1


def profile(
    session: Conversation,
    inputs: Sequence[bytes],
    repeat: int,
    warm_up: int,
    cold: bool,
    interrupts_off: bool,
    progress: Progress | None,
) -> Profile:
    """See `Session.profile`."""
    board, hello = session.board, session.opened()
    if hello.counter == "none":
        raise EdgekitError(
            "E662",
            f"board '{board.name}' has no counter that counts; it was built to try "
            f"{', '.join(board.counters)}",
            help="a DWT may need a debugger attached, SysTick needs its interrupts; "
            "edgekit validate and run do without",
        )
    # A counter that interrupts extend has to see once that every layer is short enough without.
    warm_up = max(warm_up, 1) if interrupts_off else warm_up
    for n in range(warm_up):
        _report(progress, n, warm_up + repeat)
        _run(session, inputs, 0)
    how = protocol.RUN_COLD * cold | protocol.RUN_BLIND * interrupts_off
    ticks, ran = [], 0
    for n in range(repeat):
        _report(progress, warm_up + n, warm_up + repeat)
        total, ran = _run(session, inputs, how)
        ticks.append((total, _layers(session, hello), _work(session, hello)))
    unit, hz, scale = unit_of(board, hello)
    runs = [
        Run(round(t * scale), tuple(round(x * scale) for x in layers), work)
        for t, layers, work in ticks
    ]
    advise = not interrupts_off and not board.linux
    # The rest of a run on a GPU is transfers, launches and its driver: no layer's, and no wonder.
    apart = 1.0 if board.target.gpu else UNACCOUNTED
    warnings = warnings_of(runs, unit, "; try --interrupts-off" if advise else "", apart)
    if hz and not board.emulated and (wrong := _wrong_clock(session, hello)):
        hz = 0
        warnings.append(wrong)
    device, computed_by = "", tuple[str, ...]()
    if board.target.gpu:
        gpu = session.gpu()
        device, computed_by = f"{gpu.device} ({gpu.api}, driver {gpu.driver})", gpu.layers
        if gpu.is_cpu:
            unit = f"{unit} (a CPU)"
            warnings.append(A_CPU)
        warnings += session.notices()
    return Profile(
        layers=tuple(map(min, zip(*(run.layers for run in runs), strict=True))),
        total=min(run.total for run in runs),
        unit=unit,
        counter=hello.counter,
        hz=hz,
        repeat=repeat,
        board=board.name,
        runs=tuple(runs),
        warm_ups=warm_up,
        cold=_emptied(ran) if cold else "",
        interrupts_off=interrupts_off,
        warnings=tuple(warnings),
        lanes=board.target.accelerator.macs if board.target.accelerator else 0,
        device=device,
        computed_by=computed_by,
    )


def unit_of(board: Board, hello: Hello) -> tuple[str, int, float]:
    """The unit of a board's figures, units per second (0: no time), and units per tick."""
    per_instruction = board.ticks_per_instruction
    if per_instruction is not None:
        return "instructions", 0, 1 / per_instruction
    if hello.counter == "emulator":
        return "instructions", 0, 1.0
    if board.runner:
        return "host ns (emulated)", 0, 1.0
    if hello.counter == "clock":
        return "ns", hello.counter_hz, 1.0
    if board.route == "virtual":
        counted = board.target.cycle_model == "instructions"
        return (
            ("instructions", 0, 1.0) if counted else ("cycles (estimated)", hello.counter_hz, 1.0)
        )
    if board.route == "verilator":
        return "cycles", hello.counter_hz, 1.0
    return "ticks", hello.counter_hz, 1.0


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _run(session: Conversation, inputs: Sequence[bytes], how: int) -> tuple[int, int]:
    """One run; returns ticks of the whole and what became of it.

    It starts from the states' initial contents, on inputs that are sent again: their memory is the
    arena's, and the run before has used it.
    """
    board, hello = session.board, session.opened()
    session.load(inputs)
    session.reset()
    answer = session.request(protocol.PROFILE, bytes([how]), seconds=session.run_timeout)
    status, total, count, ran = struct.unpack("<iQHB", answer)
    session.check_status(status)
    if count < hello.layers:
        raise EdgekitError(
            "E608",
            f"the firmware has room for the times of {count} layers, the model has {hello.layers}",
            help="build with a larger max_layers",
        )
    if ran & protocol.RAN_UNCOUNTED:
        raise EdgekitError(
            "E663",
            f"counter '{hello.counter}' of board '{board.name}' ran backwards or wrapped within a "
            "layer: its ticks mean nothing",
            help="name another counter first in the board's file (counters = [...])",
        )
    return int(total), int(ran)


def _layers(session: Conversation, hello: Hello) -> list[int]:
    """Ticks of each layer in the last run."""
    ticks: list[int] = []
    while len(ticks) < hello.layers:
        part = session.request(protocol.LAYERS, struct.pack("<H", len(ticks)))
        first, count = int.from_bytes(part[:2], "little"), (len(part) - 2) // 8
        if first != len(ticks) or count == 0 or len(part) != 2 + 8 * count:
            raise EdgekitError(
                "E607", f"board '{session.board.name}' answered with other layers than asked for"
            )
        ticks += struct.unpack(f"<{count}Q", part[2:])
    return ticks


def _work(session: Conversation, hello: Hello) -> tuple[Work, ...]:
    """What the accelerator did in each layer of the last run; nothing on boards without one."""
    if session.board.accelerator_base < 0:
        return ()
    work: list[Work] = []
    while len(work) < hello.layers:
        part = session.request(protocol.ACCELERATOR, struct.pack("<H", len(work)))
        first, count = int.from_bytes(part[:2], "little"), (len(part) - 2) // 16
        if first != len(work) or count == 0 or len(part) != 2 + 16 * count:
            raise EdgekitError(
                "E607", f"board '{session.board.name}' answered with other layers than asked for"
            )
        work += [Work(*counters) for counters in struct.iter_unpack("<4I", part[2:])]
    return tuple(work)


def _emptied(ran: int) -> str:
    """What was done to make a run cold, in words."""
    names = [name for bit, name in protocol.RAN_COLD.items() if ran & bit]
    if names:
        return f"emptied before each run: {', '.join(names)}"
    if ran & protocol.RAN_COLD_OFF:
        return "nothing to empty: the core's caches are switched off"
    if ran & protocol.RAN_COLD_UNKNOWN:
        return "nothing was emptied: the port of this CPU cannot empty caches"
    return "nothing to empty: no cache on this core"


def _wrong_clock(session: Conversation, hello: Hello) -> str:
    """A warning where the counter runs at another rate than the board's file says, or ""."""
    before = time.monotonic()
    first = ticks_now(session)
    start = time.monotonic()
    time.sleep(_CLOCK_SECONDS)
    end = time.monotonic()
    counted = ticks_now(session) - first
    slowest, fastest = counted / (time.monotonic() - before), counted / (end - start)
    if slowest * (1 - _CLOCK_TOLERANCE) <= hello.counter_hz <= fastest * (1 + _CLOCK_TOLERANCE):
        return ""
    return (
        f"counter '{hello.counter}' makes {slowest / 1e6:.3g} to {fastest / 1e6:.3g} million ticks "
        f"a second by this machine's clock, board '{session.board.name}' is said to make "
        f"{hello.counter_hz / 1e6:g}: ticks are right, times are left out"
    )


def ticks_now(session: Conversation) -> int:
    """What the board's counter says now."""
    return int.from_bytes(session.request(protocol.NOW), "little")
