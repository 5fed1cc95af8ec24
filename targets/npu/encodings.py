"""The table of encodings in docs/ACCELERATOR.md, from the fields of `targets.npu.isa`.

``python -m targets.npu.encodings docs/ACCELERATOR.md`` writes it anew there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from targets.npu.isa import KINDS, Command, Field, Opcode, Space

HEADING = "## Encodings\n"
_HOW = (
    "`python -m targets.npu.encodings docs/ACCELERATOR.md` writes this section from "
    "`targets/npu/isa.py`.\n"
    "Word 0 of every command: opcode in bits 0-7, length in words in bits 8-15, `after` in bits "
    "16-31 (0 in HEAD and END).\n"
    "Signed fields are two's complement. Bits without a field are zero. `space`: "
    + ", ".join(f"{s.name} {s.value}" for s in Space)
    + ".\n"
)


def section() -> str:
    """The whole section as Markdown, its heading included."""
    alike: dict[type[Command], list[str]] = {}
    by_fields: dict[int, type[Command]] = {}
    # As in a stream: HEAD first, END last.
    order = (Opcode.HEAD, *sorted(set(KINDS) - {Opcode.HEAD, Opcode.END}), Opcode.END)
    for opcode, kind in ((o, KINDS[o]) for o in order):
        first = by_fields.setdefault(id(kind.fields), kind)  # LOAD and STORE have the same ones
        alike.setdefault(first, []).append(f"{opcode.name} 0x{opcode.value:02X}")
    parts = [HEADING + _HOW]
    for kind, names in alike.items():
        title = f"### {', '.join(names)}: {_count(kind.words)}\n"
        parts.append(title + _table(kind) if kind.fields else title)
    return "\n".join(parts)


def _table(kind: type[Command]) -> str:
    lines = ["| word | bits | field | from | to |", "|---|---|---|---|---|"]
    for name, field in sorted(kind.fields.items(), key=lambda f: (f[1].word, f[1].low)):
        lines.append(
            f"| {field.word} | {_bits(field)} | `{name}` | {field.least:,} | {field.limit:,} |"
        )
    return "\n".join(lines) + "\n"


def _bits(field: Field) -> str:
    high = field.low + field.width - 1
    return str(high) if field.width == 1 else f"{field.low}-{high}"


def _count(words: int) -> str:
    return "1 word" if words == 1 else f"{words} words"


def update(page: str) -> str:
    """`page` with its section of encodings made anew, at the end where it has none."""
    start = page.find("\n" + HEADING) + 1
    if not start:
        return page.rstrip("\n") + "\n\n" + section()
    end = page.find("\n## ", start)
    rest = "" if end < 0 else page[end:]
    return page[:start] + section() + rest


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(update(path.read_text()))
