"""The OpenCL C that stands in front of every function."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

FILES = ("ek_gpu_prelude.cl", "ek_gpu_elements.cl")


@cache
def prelude() -> str:
    return "".join((files("firmware") / "gpu" / name).read_text() for name in FILES)
