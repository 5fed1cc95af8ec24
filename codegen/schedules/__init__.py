"""Kernels by operator: one module per operator, found by looking into this folder.

A module offers ``FAMILIES``, a dict from a family's name to a `codegen.kernel.Family`. A module
whose name starts with an underscore holds what several operators share.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from codegen.kernel import Family


@cache
def families() -> dict[str, dict[str, Family]]:
    """Families by operator: ``families()["conv2d"]["arm_dsp"]``."""
    return {
        info.name: importlib.import_module(f"{__name__}.{info.name}").FAMILIES
        for info in pkgutil.iter_modules(__path__)
        if not info.name.startswith("_")
    }
