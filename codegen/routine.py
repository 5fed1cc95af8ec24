"""Routines as text: the instructions of one C function, with structured loops.

What instruction sets share: `codegen.a64.routine` and `codegen.thumb.routine` add constants, calls
and costs of theirs. Loops are structured, hence the number of executed instructions is known for
any trip counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

OPPOSITE = {
    "eq": "ne", "ne": "eq", "hs": "lo", "lo": "hs", "hi": "ls", "ls": "hi",
    "ge": "lt", "lt": "ge", "gt": "le", "le": "gt",
}  # fmt: skip


@dataclass
class Block:
    """Lines and loops in order; `loop` is "" for the routine itself."""

    loop: str
    items: list[str | Block] = field(default_factory=list)

    def flat(self) -> Iterator[str]:
        """Instructions and labels in order, those of loops too."""
        for item in self.items:
            if isinstance(item, str):
                yield item
            else:
                yield from item.flat()


class StructuredRoutine:
    """Instructions of one function under a stem; `parameters` are C declarations in order.

    `name` is the stem with a hash of the text, so that equal routines are one function and
    different ones never clash.
    """

    #: What stands in front of the condition in a conditional branch.
    branch = "b"

    def __init__(self, stem: str, *parameters: str) -> None:
        self.stem = stem
        self.parameters = parameters
        self.body = Block("")
        self._stack = [self.body]
        self._labels = 0

    def __call__(self, *lines: str) -> None:
        """Append instructions."""
        self._stack[-1].items += lines

    def label(self) -> int:
        """A new label's number; place it as ``f"{n}:"``, jump to ``f"{n}f"`` or ``f"{n}b"``."""
        self._labels += 1
        return self._labels

    @contextmanager
    def loop(self, name: str, counter: str, step: int = 1) -> Iterator[None]:
        """Repeat until `counter`, lowered by `step` at the end of each round, is zero."""
        with self.part(name) as first:
            yield
            self(f"subs {counter}, {counter}, #{step}", f"{self.branch}ne {first}b")

    @contextmanager
    def until(self, name: str, left: str, right: str, condition: str = "ne") -> Iterator[None]:
        """Repeat while `left` `condition` `right` at the end of a round ("ne", "lo", ...)."""
        with self.part(name) as first:
            yield
            self(f"cmp {left}, {right}", f"{self.branch}{condition} {first}b")

    @contextmanager
    def part(self, name: str) -> Iterator[int]:
        """Instructions that run `name` times each time; yields the label before them.

        For jumps that leave instructions out and loops of another structure, whose branches the
        caller writes.
        """
        first = self.label()
        block = Block(name, [f"{first}:"])
        self._stack[-1].items.append(block)
        self._stack.append(block)
        yield first
        self._stack.pop()

    @contextmanager
    def when(self, name: str, condition: str) -> Iterator[None]:
        """Instructions that run if `condition` ("ne", "lo", ...) holds; `name` counts them.

        The trips of `name` are 1 or 0 for each time that the condition is met or not.
        """
        after = self.label()
        self(f"{self.branch}{OPPOSITE[condition]} {after}f")
        with self.part(name):
            yield
        self(f"{after}:")

    # ---- results

    @property
    def lines(self) -> list[str]:
        """All instructions and labels in order."""
        return list(self.body.flat())

    @property
    def name(self) -> str:
        text = "\n".join((*self.parameters, *self.lines))
        return f"ek_{self.stem}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"

    @property
    def code_bytes(self) -> int:
        """Bytes of the assembled routine: 4 for each instruction, though some of Thumb-2 have 2."""
        return 4 * sum(not line.endswith(":") for line in self.lines)
