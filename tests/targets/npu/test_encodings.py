"""The manual's table of encodings."""

from __future__ import annotations

from pathlib import Path

from targets.npu.encodings import HEADING, section, update
from targets.npu.isa import KINDS

PAGE = Path(__file__).parents[3] / "docs" / "ACCELERATOR.md"


def test_the_manual_is_current() -> None:
    page = PAGE.read_text()
    assert page == update(page), "python -m targets.npu.encodings docs/ACCELERATOR.md"


def test_every_field_of_every_command_is_there() -> None:
    found = section()
    for opcode, kind in KINDS.items():
        (table,) = [t for t in found.split("### ") if f"{opcode.name} 0x{opcode:02X}" in t]
        assert f": {kind.words} word" in table
        rows = [line for line in table.splitlines() if line.startswith("| ") and "`" in line]
        assert len(rows) == len(kind.fields)
        for name, field in kind.fields.items():
            (row,) = [r for r in rows if f"`{name}`" in r]
            assert row.startswith(f"| {field.word} | {field.low}")
    assert "| 8 | 12-23 | `groups` | 1 | 4,095 |" in found
    assert "| 2 | 8-15 | `fill` | -128 | 127 |" in found


def test_only_the_section_changes() -> None:
    page = f"# Page\nfirst\n\n{HEADING}stale\n\n## Last\nrest\n"
    new = update(page)
    assert new == f"# Page\nfirst\n\n{section()}\n## Last\nrest\n"
    assert update(new) == new
    assert update("# Page\n") == f"# Page\n\n{section()}"
