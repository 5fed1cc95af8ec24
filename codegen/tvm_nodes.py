"""TVM's object model by the names of its classes: nothing here imports TVM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CHILDREN = (
    *("body", "seq", "then_case", "else_case", "condition", "value", "indices", "a", "b"),
    *("args", "base", "true_value", "false_value", "min", "extent"),
)


def kind(node: Any) -> str:
    return type(node).__name__


#: The names of `CHILDREN` that nodes of a class have; asking for others costs most of a walk.
_fields: dict[type, tuple[str, ...]] = {}
PLAIN = (int, float, str, bool, type(None))


def walk(root: Any) -> Iterator[Any]:
    """A node and all below it, in preorder."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        cls = type(node)
        if cls not in _fields:
            _fields[cls] = tuple(name for name in CHILDREN if hasattr(node, name))
        below: list[Any] = []
        for name in _fields[cls]:
            child = getattr(node, name)
            below += child if kind(child) in ("Array", "list", "tuple") else (child,)
        waiting += [b for b in reversed(below) if not isinstance(b, PLAIN)]
