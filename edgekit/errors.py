"""The one exception family that users see.

An `EdgekitError` is something the user can mend; anything else that escapes is a bug of ours.
Codes are stable and grouped by stage:

    E1xx import        E2xx calibration and quantization   E3xx target, plan, code generation
    E4xx bundle        E5xx compilers and linkers          E6xx boards and links
    E7xx command line and files
"""

from __future__ import annotations


class EdgekitError(Exception):
    """A mistake or a limit that the user can do something about.

    Args:
        code: stable identifier such as ``"E103"``.
        message: one line that names the object and, where there are two numbers, both.
        help: what to do next, one line.
        details: further lines, one per offending object (for instance every unsupported node).
    """

    def __init__(
        self, code: str, message: str, *, help: str = "", details: tuple[str, ...] | list[str] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help
        self.details = tuple(details)

    def __str__(self) -> str:
        lines = [f"{self.code} {self.message}", *(f"  {line}" for line in self.details)]
        if self.help:
            lines.append(f"help: {self.help}")
        return "\n".join(lines)


def did_you_mean(word: str, known: list[str]) -> str:
    """A hint such as ``did you mean 'cortex-m4'?``, or the whole list where nothing is close."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(sorted(known))
