"""The operator table: one module per operator, found by looking into this folder.

A module that defines ``OPERATOR = SomeOperator()`` is in the table; nothing is listed by hand.
Packages add operators of their own (`edgekit.plugins`).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from edgekit.errors import EdgekitError
from edgekit.ops.base import Operator
from edgekit.plugins import plugin_modules


@cache
def _all() -> dict[str, Operator]:
    """Every operator by name, sorted."""
    found: dict[str, Operator] = {}
    for info in pkgutil.iter_modules(__path__):
        entry = getattr(importlib.import_module(f"{__name__}.{info.name}"), "OPERATOR", None)
        if entry is not None:
            found[entry.name] = entry
    for plugin, module in plugin_modules("operator").items():
        entry = getattr(module, "OPERATOR", None)
        if not isinstance(entry, Operator) or entry.name in found:
            raise EdgekitError(
                "E192",
                f"operators '{plugin}': {module.__name__} has no OPERATOR, or one whose name "
                f"'{getattr(entry, 'name', '')}' is taken",
                help="OPERATOR is an instance of a subclass of edgekit.ops.base.Operator",
            )
        found[entry.name] = entry
    return dict(sorted(found.items()))


@cache
def operators() -> dict[str, Operator]:
    """The operators of canonical graphs by name, sorted; not what only the compiler makes."""
    return {name: op for name, op in _all().items() if not op.internal}


def operator(name: str) -> Operator:
    """The operator called `name`.

    Raises:
        GraphError: where there is none (a bug: importers report unsupported operators themselves).
    """
    from edgekit.graph import GraphError

    try:
        return _all()[name]
    except KeyError:
        raise GraphError(f"unknown operator '{name}'") from None
