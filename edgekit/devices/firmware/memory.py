"""How much of a board's memories a linked program takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from edgekit.errors import EdgekitError
from targets import Board

_ALLOCATED = 2


@dataclass(frozen=True)
class RegionUse:
    """A memory of the board: `kind` "flash" or "ram", bytes in all, bytes that are taken."""

    name: str
    kind: str
    size: int
    used: int


def memory_by_region(elf: Path, board: Board) -> tuple[RegionUse, ...]:
    """What the program takes of each memory, in the order of the board's file.

    Sections count where they are when the program runs, the reservation of the stack included;
    what is copied to RAM at the start counts in flash too. Gaps for alignment are not counted.
    Empty under Linux, which gives a program its memory.

    Raises:
        EdgekitError: E506 where it is no ELF file.
    """
    if board.target.port == "linux":
        return ()
    try:
        with elf.open("rb") as file:
            image = ELFFile(file)
            sections = [
                (int(s["sh_addr"]), int(s["sh_size"]))
                for s in image.iter_sections()
                if s["sh_flags"] & _ALLOCATED and s["sh_size"]
            ]
            copies = [
                (int(s["p_paddr"]), int(s["p_filesz"]))
                for s in image.iter_segments()
                if s["p_type"] == "PT_LOAD" and s["p_paddr"] != s["p_vaddr"]
            ]
    except (OSError, ELFError) as error:
        raise EdgekitError("E506", f"cannot read {elf} as an ELF file: {error}") from error
    return tuple(
        RegionUse(
            r.name,
            r.kind,
            r.size,
            sum(size for address, size in [*sections, *copies] if r.holds(address)),
        )
        for r in board.regions
    )
