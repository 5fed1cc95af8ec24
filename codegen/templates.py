"""Kernel templates by family, found by looking into the families' folders.

A module in such a folder that has ``TEMPLATES`` offers `codegen.kernel.Template`s; so does a
package that adds operators (`edgekit.plugins`).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from codegen.kernel import Template
from codegen.schedules import families
from edgekit.plugins import plugin_modules

#: Family to the package that holds its templates.
PACKAGES = {
    "thumb_dsp": "codegen.thumb",
    "arm_mve": "codegen.mve",
    "a64_i8mm": "codegen.a64.i8mm",
    "a64_dot": "codegen.a64.dot",
    "a64": "codegen.a64",
    "neon": "codegen.neon",
    "c99": "codegen.portable",
}


@cache
def templates() -> dict[str, dict[str, Template]]:
    """Templates by family and name: ``templates()["thumb_dsp"]["rows_5x1"]``."""
    found = {family: _of(package) for family, package in PACKAGES.items()}
    for module in plugin_modules("kernel").values():
        # Kernels of other packages are portable C unless they say for which family they are.
        family = getattr(module, "FAMILY", "c99")
        found[family] |= {t.name: t for t in module.TEMPLATES}
    return found


def _of(package: str) -> dict[str, Template]:
    folder = importlib.import_module(package)
    modules = [
        importlib.import_module(f"{package}.{info.name}")
        for info in pkgutil.iter_modules(folder.__path__)
    ]
    return {t.name: t for m in modules for t in getattr(m, "TEMPLATES", ())}


def families_of(op: str) -> list[str]:
    """Families that have kernels for operator `op`, by templates or by schedules."""
    written = [f for f, known in templates().items() if any(op in t.ops for t in known.values())]
    return [*written, *families().get(op, {})]
