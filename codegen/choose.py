"""Which kernel each layer gets: every candidate's cost, and an objective.

Candidates of a layer differ in time, in flash (constants) and in RAM (scratch, and whether the
output may share the input's memory). `Objective` says what is traded for what:

=========  ====================================================================================
balanced   the fastest with constants of at most 1.25 times the model's int8 weights and, layer by
           layer, at most 1.2 times the RAM that the thriftiest kernels need
speed      the fastest
ram        the least RAM at the peak, then the fastest within balanced's flash
size       the fewest constants, then the fastest
=========  ====================================================================================

Time is estimated cycles, of the whole layer. Within a flash limit the cheapest kernels are taken
first and then upgraded, best ratio of cycles saved per byte first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from codegen.emit import emit
from codegen.kernel import Candidate, Kernel, Layer, NotApplicable
from codegen.schedules import families
from codegen.templates import templates
from targets import Target

OBJECTIVES = ("balanced", "speed", "ram", "size")
#: Constants of the balanced and ram builds in proportion to the model's int8 weights.
FLASH_RATIO = 1.25
#: RAM of any layer in the balanced build in proportion to the least possible peak.
RAM_RATIO = 1.2
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


@dataclass(frozen=True)
class Choice:
    """The option taken for a layer, and the fastest of the others."""

    option: Option
    runner_up: Option | None

    @property
    def note(self) -> str:
        return "; ".join(filter(None, [self.option.slower, self.option.candidate.note]))


def options(layer: Layer, target: Target, *, every: bool = False) -> list[Option]:
    """All kernels for `layer` in the first of the target's families that has one.

    Args:
        every: in the other families too; they are slower, but some have smaller constants. Where
            sparse weights are asked for by "smallest", this is so in any case.

    Raises:
        NotApplicable: where no family has one, with every family's reason.
    """
    offered: list[Option] = []
    reasons: list[str] = []
    op = layer.node.op
    for name in target.families:
        found: list[Candidate] = []
        why = []
        for template in templates().get(name, {}).values():
            if op in template.ops:
                try:
                    found += template.candidates(layer)
                except NotApplicable as reason:
                    why.append(f"{template.name}: {reason}")
        family = families().get(op, {}).get(name)
        if family is not None:
            try:
                found.append(family.select(layer))
            except NotApplicable as reason:
                why.append(str(reason))
        every = every or layer.sparse_weights == "smallest"
        offered += [Option(c, "; ".join(reasons)) for c in found]
        if offered and not every:
            break
        if not found:
            reasons.append(f"{name}: {', '.join(why) or f'no {op} kernel'}")
    if not offered:
        raise NotApplicable("; ".join(reasons))
    return offered


@dataclass(frozen=True)
class Slot:
    """A layer's options, and the RAM in bytes that each would need while it runs."""

    options: Sequence[Option]
    need: Callable[[Option], int]


def choose(slots: Sequence[Slot], objective: str, weight_bytes: int) -> list[Choice]:
    """One option for each slot.

    Args:
        objective: one of `OBJECTIVES`.
        weight_bytes: int8 weights of the model, which limit the constants of "balanced" and "ram".
    """
    pools = [list(slot.options) for slot in slots]
    if objective in ("balanced", "ram"):
        needs = [[slot.need(o) for o in slot.options] for slot in slots]
        limit = max((min(row) for row in needs), default=0)
        limit = int(limit * RAM_RATIO) if objective == "balanced" else limit
        # The thriftiest option always stays.
        pools = [
            [o for o, n in zip(slot.options, row, strict=True) if n <= max(limit, min(row))]
            for slot, row in zip(slots, needs, strict=True)
        ]
    if objective == "speed":
        taken = [min(pool, key=lambda o: (o.cycles, o.flash)) for pool in pools]
    else:
        taken = [min(pool, key=lambda o: (o.flash, o.cycles)) for pool in pools]
        if objective != "size":
            taken = _upgrade(pools, taken, int(weight_bytes * FLASH_RATIO))
    return [Choice(t, _runner_up(slot.options, t)) for slot, t in zip(slots, taken, strict=True)]


def _upgrade(pools: Sequence[Sequence[Option]], taken: list[Option], limit: int) -> list[Option]:
    """Spend flash up to `limit` where it saves the most cycles per byte."""
    taken = list(taken)
    spent = sum(o.flash for o in taken)
    while True:
        best, at = 0.0, -1
        for i, pool in enumerate(pools):
            for option in pool:
                more = option.flash - taken[i].flash
                saved = taken[i].cycles - option.cycles
                if saved <= 0 or (spent + more > limit and more > 0):
                    continue
                ratio = saved / max(more, 1)
                if ratio > best:
                    best, at, upgrade = ratio, i, option
        if at < 0:
            return taken
        spent += upgrade.flash - taken[at].flash
        taken[at] = upgrade


def _runner_up(pool: Sequence[Option], taken: Option) -> Option | None:
    others = [o for o in pool if o is not taken and o.candidate.cost]
    return min(others, key=lambda o: o.cycles, default=None)
