"""Several programs in one arena: they run one after the other, never one within another.

1. States are alive all the time, so in a plan no other buffer ever lies in their bytes. They can be
   taken out, and everything above moved down, without any two other buffers coming to overlap that
   did not; what lies on one side of a state keeps its distances. An argument that begins in a state
   and ends beyond it moves as a whole with it.
2. The joint arena begins with the states of all programs, each in bytes of its own. Behind them all
   programs share the same bytes for the rest: inputs, outputs, activations, scratch.

The arena is the sum of what is kept and the largest rest. `codegen.joint_check` proves the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from codegen.overlap import ALIGN
from codegen.program import Argument, Program, StateTensor, Tensor

#: First byte and the byte behind the last.
Range = tuple[int, int]


@dataclass(frozen=True)
class Joint:
    """Programs with offsets in one arena of `arena_bytes`, of which the first are `kept` by each,
    in the same order, from one inference to the next."""

    programs: tuple[Program, ...]
    kept: tuple[int, ...]
    arena_bytes: int


def join(programs: Sequence[Program]) -> Joint:
    """Relocate `programs` into one arena; each one's ``arena_bytes`` is then how far it reaches."""
    ranges = [kept_ranges(program) for program in programs]
    kept = [sum(end - begin for begin, end in found) for found in ranges]
    rest_at = sum(kept)
    placed = [
        _moved(program, found, at, rest_at)
        for program, found, at in zip(programs, ranges, accumulate(kept, initial=0), strict=False)
    ]
    return Joint(tuple(placed), tuple(kept), max(p.arena_bytes for p in placed))


def kept_ranges(program: Program) -> list[Range]:
    """The bytes that `program` needs for itself all the time, as few as its states allow: ranges
    that begin and end at multiples of ALIGN, and that every argument lies in or out of."""
    places = [(a.offset, a.offset + a.nbytes) for c in program.calls for a in c.arguments
              if a.in_arena]  # fmt: skip
    places += [(t.offset, t.offset + t.nbytes) for t in (*program.inputs, *program.outputs)]
    states = [state.tensor for state in program.states]
    found = _merged([(t.offset, t.offset + t.nbytes) for t in states])
    while True:
        across = [
            place
            for place in places
            for begin, end in found
            if place[0] < end and begin < place[1] and not (begin <= place[0] and place[1] <= end)
        ]
        if not across:
            return found
        found = _merged([*found, *across])


def _merged(ranges: list[Range]) -> list[Range]:
    """Ranges rounded out to ALIGN, those that touch made one, in order."""
    found: list[Range] = []
    for begin, end in sorted((b // ALIGN * ALIGN, -(-e // ALIGN) * ALIGN) for b, e in ranges):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _moved(program: Program, kept: list[Range], kept_at: int, rest_at: int) -> Program:
    """`program` with what is in `kept` from `kept_at` on and everything else from `rest_at` on."""

    def new(offset: int) -> int:
        below = 0  # bytes of kept ranges in front of the offset
        for begin, end in kept:
            if begin <= offset < end:
                return kept_at + below + offset - begin
            if end <= offset:
                below += end - begin
        return rest_at + offset - below

    def argument(a: Argument) -> Argument:
        return replace(a, offset=new(a.offset)) if a.in_arena else a

    def tensor(t: Tensor) -> Tensor:
        return replace(t, offset=new(t.offset))

    def state(s: StateTensor) -> StateTensor:
        return replace(s, tensor=tensor(s.tensor))

    nbytes = sum(end - begin for begin, end in kept)
    shift = rest_at - nbytes
    return replace(
        program,
        calls=tuple(
            replace(call, arguments=tuple(map(argument, call.arguments))) for call in program.calls
        ),
        inputs=tuple(map(tensor, program.inputs)),
        outputs=tuple(map(tensor, program.outputs)),
        states=tuple(map(state, program.states)),
        offsets={name: new(offset) for name, offset in program.offsets.items()},
        arena_bytes=program.arena_bytes + shift,
        arena_lower_bound=program.arena_lower_bound + shift,
    )
