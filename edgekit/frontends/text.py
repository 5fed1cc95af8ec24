"""What other libraries' exceptions say, in one line."""

from __future__ import annotations

import re


def first_line(error: BaseException) -> str:
    """The first line that says something of the exception at the root, without colours."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
