"""`codegen.a64.matmul` with SDOT."""

from __future__ import annotations

from codegen.a64.matmul import template

TEMPLATES = (template("a64_dot"),)
