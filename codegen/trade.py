"""What kernels cost in time and in flash, and trading one for the other over a whole model.

Kernels of several layers may call the same routines, so what one of them adds in code depends on
the others: `trim` takes routines away one at a time and sees what that does to the whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from codegen.emit import emit
from codegen.kernel import Candidate, Kernel

#: What code is worth: a tenth less of it may cost 5 % of the time. The first kilobytes, which the
#: runtime and any layer take, count less.
CODE_POWER, CODE_FREE = 0.5, 4096
#: Bytes of a Thumb-2 instruction and of a statement of C, about.
INSTRUCTION, STATEMENT = 3.6, 9.0
_UNKNOWN = 1 << 60


@dataclass(frozen=True)
class Option:
    """A kernel that could run a layer.

    `slower` says why families before this one's do not apply, "" where it is of the first.
    """

    candidate: Candidate
    slower: str = ""

    @cached_property
    def kernel(self) -> Kernel:
        return emit(self.candidate.spec)

    @property
    def flash(self) -> int:
        """Bytes of constants."""
        return sum(data.nbytes for data in self.candidate.constants.values())

    @cached_property
    def constants_hash(self) -> bytes:
        """Equal where two options read the same constants."""
        digest = hashlib.sha256()
        for name, data in sorted(self.candidate.constants.items()):
            digest.update(name.encode() + str(data.dtype).encode() + data.tobytes())
        return digest.digest()

    @property
    def cycles(self) -> int:
        return self.candidate.cost.cycles if self.candidate.cost else _UNKNOWN

    @property
    def instructions(self) -> int | None:
        return self.candidate.cost.instructions if self.candidate.cost else None

    @property
    def variant(self) -> str:
        """What a report calls it: the template, or the family."""
        return str(self.candidate.spec.params.get("template", self.candidate.spec.family))

    @property
    def shared(self) -> bool:
        """Whether its routine is one that other layers may share, at some cost in time."""
        return bool(self.candidate.spec.params.get("shared"))

    @cached_property
    def code(self) -> dict[str, float]:
        """Bytes of code, about, by function: the kernel's own, and what others may share."""
        kernel = self.kernel
        own = {kernel.name: _size(kernel.text)}
        return own | {name: _size(text) for name, text in kernel.parts.items()}


@dataclass(frozen=True)
class Bundle:
    """Options of layers that read the same constants, by layer."""

    options: dict[int, Option]

    @cached_property
    def flash(self) -> int:
        """Bytes of constants, which are there once."""
        return next(iter(self.options.values())).flash

    @cached_property
    def cycles(self) -> int:
        return sum(option.cycles for option in self.options.values())

    @cached_property
    def instructions(self) -> int:
        return sum(option.instructions or 0 for option in self.options.values())

    @cached_property
    def code(self) -> dict[str, float]:
        return {n: size for o in self.options.values() for n, size in o.code.items()}


def upgrade(groups: Sequence[Sequence[Bundle]], taken: list[Bundle], limit: int) -> list[Bundle]:
    """Spend flash up to `limit` bytes of constants where it saves the most cycles per byte."""
    taken = list(taken)
    spent = sum(bundle.flash for bundle in taken)
    while True:
        best, at = 0.0, -1
        for i, group in enumerate(groups):
            for bundle in group:
                more = bundle.flash - taken[i].flash
                saved = taken[i].cycles - bundle.cycles
                if saved <= 0 or (spent + more > limit and more > 0):
                    continue
                ratio = saved / max(more, 1)
                if ratio > best:
                    best, at, chosen = ratio, i, bundle
        if at < 0:
            return taken
        spent += chosen.flash - taken[at].flash
        taken[at] = chosen


def trim(
    groups: Sequence[Sequence[Bundle]],
    taken: list[Bundle],
    limit: int,
    score: Callable[[Iterable[Bundle]], float],
    most_instructions: int = 0,
) -> list[Bundle]:
    """Give up routines as long as that lowers `score`.

    Args:
        limit: bytes of constants that may be spent (or what `taken` spends, if that is more).
        most_instructions: what all may take together, 0 for no limit.
    """
    limit = max(limit, sum(bundle.flash for bundle in taken))
    best = score(taken)

    def allowed(trial: list[Bundle]) -> bool:
        steps, before = (sum(b.instructions for b in t) for t in (trial, taken))
        return sum(b.flash for b in trial) <= limit and (
            not most_instructions or steps <= max(most_instructions, before)
        )

    while True:
        for trial in _changes(groups, taken):
            if (found := score(trial)) < best and allowed(trial):
                best, taken = found, trial
                break
        else:
            return taken


def _changes(groups: Sequence[Sequence[Bundle]], taken: list[Bundle]) -> Iterator[list[Bundle]]:
    """What else could be taken: without one of the functions, largest first; or with one that is
    not there yet, in all layers that it serves."""
    code = _code(taken)
    for name in sorted(code, key=lambda n: (-code[n], n)):
        if (trial := _without(name, groups, taken)) is not None:
            yield trial
    serves: dict[str, dict[int, Bundle]] = {}
    for i, group in enumerate(groups):
        for bundle in group:
            for name in bundle.code.keys() - code.keys():
                best = serves.setdefault(name, {}).get(i)
                if best is None or bundle.cycles < best.cycles:
                    serves[name][i] = bundle
    for name in sorted(n for n, layers in serves.items() if len(layers) > 1):
        yield [serves[name].get(i, bundle) for i, bundle in enumerate(taken)]


def time_by_code(taken: Iterable[Bundle]) -> float:
    """Cycles of all kernels whose cost is known, by a power of their code."""
    taken = list(taken)
    cycles = sum(o.cycles for b in taken for o in b.options.values() if o.candidate.cost)
    return cycles * (sum(_code(taken).values()) + CODE_FREE) ** CODE_POWER


def bytes_of(taken: Iterable[Bundle]) -> float:
    """Bytes of constants and code."""
    taken = list(taken)
    return sum(b.flash for b in taken) + sum(_code(taken).values())


def _code(taken: Iterable[Bundle]) -> dict[str, float]:
    return {name: size for bundle in taken for name, size in bundle.code.items()}


def _without(
    name: str, groups: Sequence[Sequence[Bundle]], taken: Sequence[Bundle]
) -> list[Bundle] | None:
    """What is taken where function `name` is given up, None where a layer cannot."""
    code = _code(taken)
    cycles = sum(b.cycles for b in taken if b.cycles < _UNKNOWN)
    # What a byte of code is worth in cycles, about here.
    price = CODE_POWER * cycles / (sum(code.values()) + CODE_FREE)
    trial = []
    for group, bundle in zip(groups, taken, strict=True):
        if name not in bundle.code:
            trial.append(bundle)
            continue
        others = [b for b in group if name not in b.code]
        if not others:
            return None

        def cost(b: Bundle) -> float:
            return b.cycles + price * sum(size for n, size in b.code.items() if n not in code)

        trial.append(min(others, key=cost))
    return trial


def _size(text: str) -> float:
    """Bytes of a function, about: its instructions, or its statements where it is C."""
    assembly = text.partition("#else")[0]
    lines = re.findall(r'^ +"([^"]*)\\n"', assembly, re.MULTILINE)
    if lines:
        return INSTRUCTION * sum(not line.endswith(":") for line in lines)
    return STATEMENT * text.count(";")
