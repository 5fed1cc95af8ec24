"""Which kernel each layer gets: every candidate's cost, and an objective.

Candidates of a layer differ in time, in flash (constants, code) and in RAM (scratch, and whether
the output may share the input's memory). An objective says what is traded for what:

=========  ====================================================================================
balanced   the least time * RAM^`RAM_POWER` * code^`trade.CODE_POWER`, RAM being that of the peak,
           with constants of at most `FLASH_RATIO` times the model's int8 weights
speed      the fastest
ram        the least RAM at the peak at which the model takes at most `RAM_SLOWDOWN` times the
           instructions of the balanced build; then as balanced
size       the fewest bytes of constants and code
=========  ====================================================================================

Time is estimated cycles, of the whole layer. Within a flash limit the cheapest kernels are taken
first and then upgraded, best ratio of cycles saved per byte first (`codegen.trade`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from codegen import trade
from codegen.kernel import Candidate, Layer, NotApplicable
from codegen.schedules import families
from codegen.templates import templates
from codegen.trade import Bundle, Option
from targets import Target

OBJECTIVES = ("balanced", "speed", "ram", "size")
#: Constants of the balanced and ram builds in proportion to the model's int8 weights.
FLASH_RATIO = 1.25
#: What RAM is worth in the balanced build: a tenth more of it has to save 5 % of the time.
#: The first 16 KB count less, since every board has them.
RAM_POWER, RAM_FREE = 0.5, 16384
#: Limits of RAM that the balanced and ram builds try, up to this multiple of the least, or so
#: many bytes more.
LIMITS, RAM_RATIO, RAM_MORE = 24, 1.5, 4096
#: How many times the balanced build's instructions the ram build may take.
RAM_SLOWDOWN = 1.25
#: Of limits whose builds are worth the same up to this ratio, the least RAM: costs are estimates.
ALIKE = 1.01


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
        every: in the other families too; they are slower, but some have smaller constants, sparse
            weights above all. Where those are asked for by "smallest", only they are offered to
            layers that have them.

    Raises:
        NotApplicable: where no family has one, with every family's reason.
    """
    smallest = layer.sparse_weights == "smallest"
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
                found.append(_in_parts(family.select(layer), layer))
            except NotApplicable as reason:
                why.append(str(reason))
        offered += [Option(c, "; ".join(reasons)) for c in found]
        if offered and not every and not smallest:
            break
        if not found:
            reasons.append(f"{name}: {', '.join(why) or f'no {op} kernel'}")
    if not offered:
        raise NotApplicable("; ".join(reasons))
    sparse = [o for o in offered if "sparse" in o.candidate.spec.params]
    return sparse if smallest and sparse else offered


def _in_parts(candidate: Candidate, layer: Layer) -> Candidate:
    """A portable kernel of TVM's with its outermost loop left to the caller, where threads are."""
    spec = candidate.spec
    if not layer.parts or spec.family != "c99":
        return candidate
    return replace(candidate, spec=replace(spec, params={**spec.params, "parts": True}))


@dataclass(frozen=True)
class Slot:
    """A layer's options, and the RAM in bytes that each would need while it runs.

    `weights` names what the layer multiplies by: layers with the same (stripes of one layer) take
    kernels that read the same constants, which then are there once.
    """

    options: Sequence[Option]
    need: Callable[[Option], int]
    weights: str = ""


def choose(
    slots: Sequence[Slot], objective: str, weight_bytes: int, most_instructions: int = 0
) -> list[Choice]:
    """One option for each slot.

    Args:
        objective: one of `OBJECTIVES`.
        weight_bytes: int8 weights of the model, which limit the constants of "balanced" and "ram".
        most_instructions: what "ram" may take, 0 for no limit.
    """
    flash = int(weight_bytes * FLASH_RATIO)
    if objective in ("speed", "size"):
        taken = _pick(slots, [list(slot.options) for slot in slots], objective, flash)
    else:
        taken = _within(slots, objective, flash, most_instructions)
    return [Choice(o, _runner_up(slot.options, o)) for slot, o in zip(slots, taken, strict=True)]


def _within(
    slots: Sequence[Slot], objective: str, flash: int, most_instructions: int
) -> list[Option]:
    """The least RAM at the peak that is not too slow, or for "balanced" as much as pays."""
    needs = [[slot.need(o) for o in slot.options] for slot in slots]
    least = max((min(row) for row in needs), default=0)
    ceiling = max(int(least * RAM_RATIO), least + RAM_MORE)
    more = sorted({n for row in needs for n in row if least < n <= ceiling})
    limits = [least, *more[:: max(1, -(-len(more) // LIMITS))]]

    def at(limit: int) -> tuple[float, float, list[Option]]:
        # The thriftiest option always stays.
        pools = [
            [o for o, n in zip(slot.options, row, strict=True) if n <= max(limit, min(row))]
            for slot, row in zip(slots, needs, strict=True)
        ]
        taken = _pick(slots, pools, objective, flash, most_instructions)
        if objective == "ram":
            steps = sum(o.instructions or 0 for o in taken)
            return max(steps - most_instructions, 0) if most_instructions else 0, limit, taken
        time = trade.time_by_code([Bundle(dict(enumerate(taken)))])
        over = max(sum(o.flash for o in taken) - flash, 0)
        return over, time * float(limit + RAM_FREE) ** RAM_POWER, taken

    found = [at(limit) for limit in limits]
    over, score, taken = min(found, key=lambda f: f[:2])
    if objective == "ram":
        return taken
    return next(f[2] for f in found if f[0] == over and f[1] <= ALIKE * score)


def _pick(
    slots: Sequence[Slot],
    pools: Sequence[Sequence[Option]],
    objective: str,
    flash: int,
    most_instructions: int = 0,
) -> list[Option]:
    """One option of each pool."""
    groups = _groups(slots, pools)
    if objective == "speed":
        taken = [min(group, key=lambda b: (b.cycles, b.flash)) for group in groups]
    else:
        taken = [min(group, key=lambda b: (b.flash, b.cycles)) for group in groups]
        if objective == "size":
            taken = trade.trim(groups, taken, 0, trade.bytes_of)
        else:
            taken = trade.upgrade(groups, taken, flash)
            taken = trade.trim(groups, taken, flash, trade.time_by_code, most_instructions)
    by_slot = {i: option for bundle in taken for i, option in bundle.options.items()}
    return [by_slot[i] for i in range(len(slots))]


def _groups(slots: Sequence[Slot], pools: Sequence[Sequence[Option]]) -> list[list[Bundle]]:
    """What can be taken for each set of slots with the same weights: the fastest options that read
    the same constants."""
    members: dict[str, list[int]] = {}
    for i, slot in enumerate(slots):
        members.setdefault(slot.weights or f"slot {i}", []).append(i)
    groups = []
    for indices in members.values():
        if len(indices) == 1:
            groups.append([Bundle({indices[0]: option}) for option in pools[indices[0]]])
            continue
        found: dict[tuple[bytes, str, bool], dict[int, Option]] = {}
        for i in indices:
            for option in pools[i]:
                # Variants of one template share their constants, other templates only by chance.
                key = (option.constants_hash, option.variant, option.shared)
                bundle = found.setdefault(key, {})
                if i not in bundle or option.cycles < bundle[i].cycles:
                    bundle[i] = option
        for (constants, variant, shared), bundle in found.items():
            if not shared:  # a smaller stripe may have shared routines only
                bundle |= found.get((constants, variant, True), {}) | bundle
        whole = [Bundle(b) for b in found.values() if len(b) == len(indices)]
        if whole:
            groups.append(whole)
        else:  # nothing that all can share
            groups += [[Bundle({i: option}) for option in pools[i]] for i in indices]
    return groups


def _runner_up(pool: Sequence[Option], taken: Option) -> Option | None:
    others = [o for o in pool if o is not taken and o.candidate.cost]
    return min(others, key=lambda o: o.cycles, default=None)
