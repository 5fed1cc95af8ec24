"""Machine code of pieces of assembly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

from edgekit.toolchain import find_compiler
from targets import target


def machine_code(
    core: str, texts: Sequence[str], folder: Path, head: Sequence[str] = ()
) -> dict[str, bytes]:
    """Of every text, assembled for `core` in one file, a section each: .case0, .case1, ...

    Args:
        texts: instructions with ``"; "`` between them.
        head: directives in front of all.
    """
    lines = [*head]
    for index, text in enumerate(texts):
        lines += [f'.section .case{index}, "ax"', *text.split("; ")]
    source = folder / f"{core}.S"
    source.write_text("\n".join(lines) + "\n")
    with find_compiler("zig", target(core)).compile(source).open("rb") as file:
        elf = ELFFile(file)
        return {
            text: elf.get_section_by_name(f".case{index}").data()
            for index, text in enumerate(texts)
        }
