"""A second opinion on `Program.placed`, from the arguments of the calls alone."""

from __future__ import annotations

from codegen.program import Program


def check_placed(program: Program) -> None:
    """Every byte of the arena that a call, the caller or a state touches lies in one buffer that is
    alive then, and each buffer is touched when it begins and when it ends."""
    placed, calls = program.placed, len(program.calls)
    assert sorted(b.nbytes for b in placed) == sorted(b.nbytes for b in program.buffers)
    assert max(b.offset + b.nbytes for b in placed) <= program.arena_bytes
    touched: dict[int, set[int]] = {i: set() for i in range(len(placed))}

    def touch(step: int, offset: int, nbytes: int, kind: str = "") -> None:
        found = [
            i
            for i, b in enumerate(placed)
            if b.first <= step <= b.last
            and b.offset <= offset
            and offset + nbytes <= b.offset + b.nbytes
        ]
        assert found, f"bytes {offset}..{offset + nbytes} are nobody's at {step}"
        assert not kind or kind in {placed[i].kind for i in found}
        for i in found:
            touched[i].add(step)

    for tensor in program.inputs:
        touch(-1, tensor.offset, tensor.nbytes, "input")
    for state in program.states:
        touch(-1, state.tensor.offset, state.tensor.nbytes, "state")
        touch(calls, state.tensor.offset, state.tensor.nbytes, "state")
    for step, call in enumerate(program.calls):
        for a in call.arguments:
            if a.in_arena:
                touch(step, a.offset, a.nbytes, "scratch" if a.role == "scratch" else "")
    for tensor in program.outputs:
        touch(calls, tensor.offset, tensor.nbytes)
    for i, b in enumerate(placed):
        assert {b.first, b.last} <= touched[i], b
