"""A second opinion on a joint plan: whatever one program does, the states of the others stay.

It knows nothing of how the plan was made. Each program alone is replayed byte by byte
(`codegen.memory_check`). Then every byte of the arena is marked with the program whose state it is,
and no call, input or initial content of another program may write there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from codegen import memory_check
from codegen.memory_check import PlanError
from codegen.program import Program

#: What the arena and the start of every buffer in it are aligned to.
_ALIGN = 8


def check(programs: Sequence[Program], arena_bytes: int) -> None:
    """Raise PlanError where `programs` cannot take turns in an arena of `arena_bytes`."""
    owners = np.zeros(arena_bytes, np.int32)
    for i, program in enumerate(programs, 1):
        if program.arena_bytes > arena_bytes:
            raise PlanError(
                f"'{program.name}' reaches to byte {program.arena_bytes} of {arena_bytes}"
            )
        memory_check.check(program)
        for state in program.states:
            t = state.tensor
            place = owners[t.offset : t.offset + t.nbytes]
            if place.any():
                other = programs[int(place.max()) - 1]
                raise PlanError(
                    f"state '{t.name}' of '{program.name}' lies in a state of '{other.name}'"
                )
            place[:] = i
    for i, program in enumerate(programs, 1):
        for what, offset, nbytes in _writes(program):
            if offset % _ALIGN:
                raise PlanError(f"'{program.name}' {what} at byte {offset}: not aligned")
            hit = owners[offset : offset + nbytes]
            foreign = hit[(hit != 0) & (hit != i)]
            if foreign.size:
                other = programs[int(foreign[0]) - 1]
                raise PlanError(f"'{program.name}' {what} over a state of '{other.name}'")


def _writes(program: Program) -> Iterator[tuple[str, int, int]]:
    """(what is written, offset, bytes): everything that an inference or a reset writes."""
    for t in program.inputs:
        yield f"takes its input '{t.name}'", t.offset, t.nbytes
    for state in program.states:
        t = state.tensor
        yield f"resets its state '{t.name}'", t.offset, t.nbytes
    for call in program.calls:
        for a in call.arguments:
            if a.role in ("output", "scratch"):
                yield f"has '{call.layer}' write its {a.role}", a.offset, a.nbytes
