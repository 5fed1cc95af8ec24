"""Random programs for the memory plan: calls without kernels, with sizes and promises only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from codegen.kernel import Kernel, KernelSpec, Operand
from codegen.memory import Buffer, Plan, Sharing, plan
from codegen.program import Argument, Call, Program, StateTensor, Tensor


@dataclass(frozen=True)
class Step:
    """One call: the values it reads by index (0 is the program's input), and what it makes."""

    reads: tuple[int, ...]
    nbytes: int
    scratch: int
    in_place: bool
    overlap: int | None


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, list[Step]]:
    """Bytes of the program's input, and steps of which each reads one or two earlier values."""
    steps: list[Step] = []
    sizes = st.integers(1, 200)
    for i in range(draw(st.integers(1, 9))):
        first = draw(st.one_of(st.just(i), st.integers(0, i)))
        others = draw(st.lists(st.integers(0, i), max_size=1))
        overlap = draw(st.one_of(st.none(), st.integers(-64, 200)))
        scratch = draw(st.one_of(st.just(0), st.integers(1, 80)))
        steps.append(Step((first, *others), draw(sizes), scratch, draw(st.booleans()), overlap))
    return draw(sizes), steps


def planned(
    source: int, steps: list[Step], states: Sequence[int] = ()
) -> tuple[Plan, list[Buffer], list[Sharing]]:
    """A plan for them, and for `states` of so many bytes that are always alive."""
    sizes = [source, *(s.nbytes for s in steps)]
    last = [max([i for i, s in enumerate(steps) if v in s.reads], default=max(v - 1, -1))
            for v in range(len(sizes))]  # fmt: skip
    last[-1] = len(steps)
    buffers = [Buffer(f"v{v}", n, v - 1, last[v]) for v, n in enumerate(sizes)]
    buffers += [Buffer(f"s{i}", s.scratch, i, i) for i, s in enumerate(steps) if s.scratch]
    buffers += [Buffer(f"h{k}", n, -1, len(steps) + len(states)) for k, n in enumerate(states)]
    sharings = [
        Sharing(f"v{i + 1}", f"v{s.reads[0]}", s.in_place, s.overlap)
        for i, s in enumerate(steps)
        if last[s.reads[0]] == i and s.reads[0] not in s.reads[1:]
        if s.in_place or s.overlap is not None
    ]
    return plan(buffers, sharings), buffers, sharings


def program_of(
    source: int, steps: list[Step], made: Plan, states: Sequence[int] = (), name: str = "chain"
) -> Program:
    """The program of a plan. A call behind the steps makes each state anew in its place, from
    the last value."""
    sizes = [source, *(s.nbytes for s in steps)]

    def argument(role: str, name: str, nbytes: int) -> Argument:
        value = name if name[0] == "v" else ""
        return Argument(role, made.offsets[name], nbytes, value)

    calls = []
    for i, s in enumerate(steps):
        arguments = [argument("input", f"v{v}", sizes[v]) for v in s.reads]
        arguments.append(argument("output", f"v{i + 1}", s.nbytes))
        if s.scratch:
            arguments.append(argument("scratch", f"s{i}", s.scratch))
        operands = tuple(Operand(f"o{k}", "int8", a.nbytes, a.role)
                         for k, a in enumerate(arguments) if a.role != "scratch")  # fmt: skip
        kernel = Kernel(KernelSpec("any", "c99", operands, {}), "", s.scratch)
        calls.append(Call(f"step {i}", "any", kernel, tuple(arguments), s.in_place, s.overlap,
                          (), (), 0, ""))  # fmt: skip

    for k, nbytes in enumerate(states):
        place = Argument("output", made.offsets[f"h{k}"], nbytes, f"h{k}:next")
        arguments = [argument("input", f"v{len(steps)}", sizes[-1]), place]
        kernel = Kernel(KernelSpec("any", "c99", (), {}), "", 0)
        calls.append(Call(f"state {k}", "any", kernel, tuple(arguments), False, None, (), (), 0,
                          ""))  # fmt: skip

    def tensor(name: str, nbytes: int) -> Tensor:
        return Tensor(name, (1, nbytes), "int8", 1.0, 0, made.offsets[name], nbytes)

    kept = tuple(
        StateTensor(tensor(f"h{k}", n), f"h{k}:next", fill=0, initial=0)
        for k, n in enumerate(states)
    )
    return Program(
        name, "cortex-m4", tuple(calls), made.arena_bytes, made.lower_bound, b"",
        (tensor("v0", source),), (tensor(f"v{len(steps)}", sizes[-1]),), kept,
    )  # fmt: skip
