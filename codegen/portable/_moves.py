"""Copies between tensors as nested loops: what every movement kernel is made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.kernel import BYTES, Cost
from edgekit.graph import Shape

#: Instructions of a call of memcpy, of a byte that it copies, and of a round of a loop; nobody
#: counted them on a core.
CALL, PER_BYTE, ROUND = 12, 0.5, 6


@dataclass(frozen=True)
class Loop:
    """`size` rounds; round i reads `source` * i (or `source` * table[i]) elements further on, and
    writes `target` * i further on."""

    size: int
    source: int
    target: int
    table: tuple[int, ...] | None = None


def strides_of(shape: Shape) -> list[int]:
    """Elements between neighbours along each axis."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def along(places: np.ndarray, source: int, target: int) -> tuple[Loop, int]:
    """A loop that reads index `places[i]` of an axis with stride `source`, and the first place in
    elements; a table only where no stride does."""
    first = int(places[0])
    steps = np.diff(places)
    if not steps.size or (steps == steps[0]).all():
        step = int(steps[0]) * source if steps.size else 0
        return Loop(len(places), step, target), first * source
    table = tuple(int(i) for i in places)
    return Loop(len(places), source, target, table), 0


def merged(loops: Iterable[Loop]) -> list[Loop]:
    """As few loops as do: rounds of one are left out, neighbours that go straight on are one."""
    found: list[Loop] = []
    for loop in loops:
        if loop.size == 1 and loop.table is None:
            continue
        outer = found[-1] if found else None
        if (
            outer is not None
            and outer.table is None
            and loop.table is None
            and outer.source == loop.source * loop.size
            and outer.target == loop.target * loop.size
        ):
            found[-1] = Loop(outer.size * loop.size, loop.source, loop.target)
        else:
            found.append(loop)
    return found


@dataclass(frozen=True)
class Copy:
    """Elements `source` + sums of loops to `target` + sums of loops; `loops` are `merged`."""

    loops: tuple[Loop, ...]
    source: int = 0
    target: int = 0

    @property
    def run(self) -> int:
        """Elements that lie side by side in both: the innermost loop is one memcpy."""
        last = self.loops[-1] if self.loops else None
        straight = last is not None and last.table is None and last.source == last.target == 1
        return last.size if last is not None and straight else 1

    @property
    def outer(self) -> tuple[Loop, ...]:
        return self.loops[:-1] if self.run > 1 else self.loops

    @property
    def tables(self) -> list[np.ndarray]:
        """int16 or int32, in the order of the loops."""
        found = [np.array(loop.table) for loop in self.loops if loop.table is not None]
        return [t.astype(np.int16 if t.max(initial=0) < 1 << 15 else np.int32) for t in found]

    def reads(self) -> np.ndarray:
        """int64 [rounds]: the first element that each round of the outer loops reads."""
        at = np.array([self.source], np.int64)
        for loop in self.outer:
            index = np.arange(loop.size) if loop.table is None else np.array(loop.table)
            at = (at[:, None] + index * loop.source).ravel()
        return at

    def cost(self, dtype: str) -> Cost:
        rounds = math.prod(loop.size for loop in self.outer)
        inside = CALL + PER_BYTE * self.run * BYTES[dtype] if self.run > 1 else 4
        steps = int(rounds * (ROUND + inside)) + 20
        return Cost(steps, steps * 3 // 2)

    def params(self) -> dict[str, Any]:
        """What the text depends on, as JSON."""
        loops = [[loop.size, loop.source, loop.target, loop.table is not None]
                 for loop in self.loops]  # fmt: skip
        return {"loops": loops, "from": self.source, "to": self.target}


def copy_text(
    p: dict[str, Any], dtype: str, *, x: str = "x", y: str = "y", tables: Sequence[str] = (),
    value: str | None = None, overlaps: bool = False, depth: int = 1,
) -> str:  # fmt: skip
    """C text of a copy.

    Args:
        p: `Copy.params`.
        tables: names of its tables, in the order of the loops.
        value: C text of an element to write, `{}` being the one that is read; None is a copy.
        overlaps: `x` and `y` may share memory as `codegen.overlap` allows.
    """
    loops, names = p["loops"], iter(tables)
    last = loops[-1] if loops else None
    run = value is None and last is not None and not last[3] and last[1] == last[2] == 1
    outer = loops[:-1] if run else loops
    source, target, lines = [], [], []
    for k, (size, from_step, to_step, by_table) in enumerate(outer):
        i = f"i{k}"
        lines.append(f"{'    ' * (depth + k)}for (int32_t {i} = 0; {i} < {size}; ++{i}) {{")
        place = f"{next(names)}[{i}]" if by_table else i
        source += [_term(place, from_step)] if from_step else []
        target += [_term(i, to_step)] if to_step else []
    from_at, to_at = _sum(source, p["from"]), _sum(target, p["to"])
    pad = "    " * (depth + len(outer))
    if run:
        assert last is not None
        function = "memmove" if overlaps else "memcpy"
        nbytes = last[0] * BYTES[dtype]
        lines.append(f"{pad}(void){function}({_plus(y, to_at)}, {_plus(x, from_at)}, {nbytes}u);")
    else:
        lines.append(f"{pad}{y}[{to_at}] = {(value or '{}').format(f'{x}[{from_at}]')};")
    lines += ["    " * (depth + k) + "}" for k in reversed(range(len(outer)))]
    return "\n".join(lines)


def _term(place: str, step: int) -> str:
    return place if step == 1 else f"{place} * {step}" if step > 0 else f"{place} * ({step})"


def _sum(terms: list[str], first: int) -> str:
    return " + ".join([*([str(first)] if first or not terms else []), *terms])


def _plus(name: str, at: str) -> str:
    return name if at == "0" else f"{name} + {at}"


def product(places: Sequence[np.ndarray]) -> np.ndarray:
    """Every combination, in order: int64 [product, len(places)]."""
    return np.array(list(itertools.product(*places)), np.int64)
