"""Pieces of C, and the templates of the package's text files."""

from __future__ import annotations

import functools
import re
from importlib.resources import files

_PER_LINE = 16
_KEY = re.compile(r"@([A-Z][A-Z0-9_]*)@")


def byte_array(name: str, data: bytes, align: int) -> str:
    """``uint8_t NAME[N] = {...};`` at a multiple of `align` bytes."""
    rows = (
        "    " + ", ".join(f"0x{b:02x}" for b in data[i : i + _PER_LINE])
        for i in range(0, len(data), _PER_LINE)
    )
    return (
        f"uint8_t {name}[{len(data)}] __attribute__((aligned({align}))) = {{\n"
        + ",\n".join(rows)
        + "\n};\n"
    )


def one_line(text: str) -> str:
    """A name from a model file, for comments and manifests: no control characters, no comment's
    end or beginning, no quotes."""
    return re.sub(r'[\x00-\x1f\x7f"\\]|\*/|/\*', "_", text)


@functools.cache
def template(name: str) -> str:
    """The text of a file of `edgekit/packages/templates`."""
    return (files("edgekit.packages") / "templates" / name).read_text(encoding="utf-8")


def fill(name: str, /, **values: object) -> str:
    """A template with every ``@KEY@`` replaced; a key without a value is a KeyError."""
    return _KEY.sub(lambda match: str(values[match[1].lower()]), template(name))
