"""Packages that add operators to edgekit.

A package says so by an entry point of the group ``edgekit.operators`` whose value is the package's
name. Three of its modules are looked at, each by the room that it belongs to: ``operator`` (what
the operator means), ``kernel`` (how it is computed), ``importer`` (which nodes of ONNX files become
it). docs/ADDING_AN_OPERATOR.md has a complete one.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType

from edgekit.errors import EdgekitError

GROUP = "edgekit.operators"


@cache
def plugin_modules(part: str) -> dict[str, ModuleType]:
    """Module `part` ("operator", "kernel" or "importer") of every package that has one, by the
    entry point's name.

    Raises:
        EdgekitError: E192 where a package cannot be loaded.
    """
    found: dict[str, ModuleType] = {}
    for entry in entry_points(group=GROUP):
        module = f"{entry.value}.{part}"
        try:
            if importlib.util.find_spec(module) is not None:
                found[entry.name] = importlib.import_module(module)
        except Exception as error:  # whatever somebody else's package does on import
            raise EdgekitError(
                "E192",
                f"operators '{entry.name}': {module} cannot be loaded: "
                f"{type(error).__name__}: {error}",
                help="mend or uninstall the package that adds them",
            ) from error
    return found
