"""Cycles of Cortex-M7 and M33, which may start two instructions in one cycle.

Instructions issue in order. Each waits until what it reads is ready and the unit that it needs is
free; the second of a cycle must also be allowed beside the first. A block is scheduled for itself:
results that are not ready at its end make nobody wait, and the first instruction of a block never
joins the last one before it. docs/CYCLES.md has the assumptions and their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgekit.devices.emulators.instructions import Instruction

#: Units of which a core has more than one.
_M7_UNITS = {"alu": 2, "load": 2}
_M33_UNITS: dict[str, int] = {}


@dataclass(frozen=True)
class Core:
    """What a dual-issue core needs for an instruction.

    Attributes:
        refill: cycles more where the last instruction of a block branches away.
        units: how many there are of a unit, 1 where it is not named.
        uses: the units that an instruction takes in its cycle.
        latency: cycles from issue until an instruction that reads the result in its own execution
            stage can issue.
        early: how many cycles before that an operand is needed (True: an address or a shifted
            operand), or later (an accumulator).
        alone: whether nothing can issue beside it.
        first_only: whether it cannot be the second of a pair.
        issue: cycles that it keeps the issue stage.
        predicts: whether branches go where they did last time, before their flags are known.
    """

    refill: int
    units: Mapping[str, int]
    uses: Callable[[Instruction], tuple[str, ...]]
    latency: Callable[[Instruction], int]
    early: Callable[[Instruction, int, Instruction], int]
    alone: Callable[[Instruction], bool]
    first_only: Callable[[Instruction], bool]
    issue: Callable[[Instruction], int]
    predicts: bool


def cycles_of(instructions: Sequence[Instruction], core: Core) -> int:
    """Cycles of straight-line code that falls through."""
    now, slots = 0, 0
    used: dict[str, int] = {}
    ready: dict[int, tuple[int, Instruction]] = {}
    end = 0
    for instruction in instructions:
        start = now
        waits = () if core.predicts and instruction.kind == "branch" else instruction.reads
        for register in waits:
            if register in ready:
                when, writer = ready[register]
                start = max(start, when + core.early(instruction, register, writer))
        units = core.uses(instruction)
        joins = (
            start == now
            and slots == 1
            and not core.alone(instruction)
            and not core.first_only(instruction)
            and all(used.get(u, 0) < core.units.get(u, 1) for u in units)
        )
        if not joins:
            if slots:
                start = max(start, now + 1)
            now, slots, used = start, 0, {}
        slots = 2 if core.alone(instruction) else slots + 1
        for unit in units:
            used[unit] = used.get(unit, 0) + 1
        now += core.issue(instruction) - 1
        end = now + 1
        for register in instruction.writes:
            ready[register] = (now + core.latency(instruction), instruction)
        if slots == 2:
            now, slots, used = now + 1, 0, {}
    return end


# ---- Cortex-M7

_M7_LATENCY = {
    "load": 1,
    "multiply": 2,
    "accumulate": 2,
    "multiply long": 2,
    "accumulate long": 2,
    "saturate": 2,
    "float": 3,
    "float multiply-add": 6,
    "float divide": 16,
}
_M7_ISSUE = {"divide": 6, "barrier": 3, "special register": 3}
_MULTIPLIES = ("multiply", "accumulate", "multiply long", "accumulate long")
_FLOATS = ("float", "float multiply-add", "float divide")
_ALONE = ("load many", "store many", "divide", "barrier", "special register")


def _m7_uses(i: Instruction) -> tuple[str, ...]:
    if i.kind in _MULTIPLIES:
        return ("multiplier",)
    if i.kind in _FLOATS:
        return ("float",)
    if i.kind in ("load", "store"):
        return (i.kind,)
    if i.kind in ("branch", "call"):
        return ("branch",)
    if i.kind in ("media", "saturate"):
        return ("alu", "media")
    return ("alu", "shifter") if i.shifted else ("alu",)


def _m7_latency(i: Instruction) -> int:
    if i.narrow_load or (i.kind == "load" and i.words == 2):
        return 2
    return _M7_LATENCY.get(i.kind, 1)


def _m7_early(reader: Instruction, register: int, writer: Instruction) -> int:
    if register in reader.address:
        # A base that an access updates is known as early as it is needed.
        return 0 if writer.memory and register in writer.address else 1
    if reader.shifted or reader.kind == "saturate":
        return 1
    if reader.kind == "store":
        return -1
    if register == reader.accumulator:
        return -3 if reader.kind == "float multiply-add" else -1
    return 0


def _m7_issue(i: Instruction) -> int:
    if i.kind in ("load many", "store many"):
        return max(1, (i.words + 1) // 2)  # 64 bits a cycle
    return _M7_ISSUE.get(i.kind, 1)


M7 = Core(
    refill=0,  # branches are predicted
    units=_M7_UNITS,
    uses=_m7_uses,
    latency=_m7_latency,
    early=_m7_early,
    alone=lambda i: i.kind in _ALONE or (i.memory and i.words == 2),
    first_only=lambda i: i.kind in ("media", "saturate"),
    issue=_m7_issue,
    predicts=True,
)

# ---- Cortex-M33

_M33_ISSUE = {"divide": 6, "float multiply-add": 3, "float divide": 14, "barrier": 3,
              "special register": 2}  # fmt: skip
_M33_LATE = ("load", *_MULTIPLIES, *_FLOATS)


def _m33_early(reader: Instruction, register: int, writer: Instruction) -> int:
    # Products are added in the third stage, where the last one has just been.
    return -1 if register == reader.accumulator and reader.kind == "accumulate" else 0


def _m33_issue(i: Instruction) -> int:
    if i.kind in ("load many", "store many"):
        return 1 + i.words
    return _M33_ISSUE.get(i.kind, 1) + (i.words - 1 if i.kind in ("load", "store") else 0)


M33 = Core(
    refill=1,  # branches are resolved in the second of three stages
    units=_M33_UNITS,
    uses=lambda i: ("memory",) if i.memory else ("third stage",) if i.kind in _MULTIPLIES else (),
    latency=lambda i: 2 if i.kind in _M33_LATE else 1,
    early=_m33_early,
    alone=lambda i: i.bytes != 2 or i.kind in (*_ALONE, *_FLOATS),
    first_only=lambda i: False,
    issue=_m33_issue,
    predicts=False,
)

CORES = {"cortex-m7": M7, "cortex-m33": M33}
