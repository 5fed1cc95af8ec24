"""Bytes per section and per symbol of an ELF file or object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from edgekit.errors import EdgekitError

_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4


@dataclass(frozen=True)
class Symbol:
    """A named function or object; `section` is one of .text .rodata .data .bss."""

    name: str
    section: str
    address: int
    bytes: int


@dataclass(frozen=True)
class ElfSizes:
    """Sizes in bytes. `sections` has .text, .rodata, .data, .bss and .stack, each maybe 0."""

    sections: dict[str, int]
    symbols: tuple[Symbol, ...]

    @property
    def flash(self) -> int:
        """Bytes of non-volatile memory: code, constants, and the initial values of .data."""
        return self.sections[".text"] + self.sections[".rodata"] + self.sections[".data"]

    @property
    def ram(self) -> int:
        """Bytes of RAM, the stack's reservation included."""
        return sum(self.sections[name] for name in (".data", ".bss", ".stack"))

    def flash_by_symbol(self) -> dict[str, int]:
        """Flash bytes of every symbol, largest first."""
        sizes: dict[str, int] = {}
        for symbol in self.symbols:
            if symbol.section in (".text", ".rodata", ".data"):
                sizes[symbol.name] = sizes.get(symbol.name, 0) + symbol.bytes
        return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _kind(name: str, flags: int, type_: str) -> str | None:
    if not flags & _SHF_ALLOC:
        return None
    if flags & _SHF_EXECINSTR:
        return ".text"
    if name == ".stack":
        return ".stack"
    if type_ == "SHT_NOBITS":
        return ".bss"
    return ".data" if flags & _SHF_WRITE else ".rodata"


def _rank(symbol: Any) -> tuple[bool, str]:
    return symbol["st_info"]["bind"] == "STB_LOCAL", symbol.name


def read_sizes(path: Path) -> ElfSizes:
    """Read an ELF file's or object's sizes; raises EdgekitError E506 where it is not ELF."""
    sections = dict.fromkeys((".text", ".rodata", ".data", ".bss", ".stack"), 0)
    symbols = []
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            kinds: dict[int, str] = {}
            for index, section in enumerate(elf.iter_sections()):
                kind = _kind(section.name, section["sh_flags"], section["sh_type"])
                if kind:
                    kinds[index] = kind
                    sections[kind] += section["sh_size"]
            table = elf.get_section_by_name(".symtab")
            seen: set[tuple[int, int]] = set()
            # Two names of one place are one thing; a global name wins over a local one.
            for symbol in sorted(table.iter_symbols() if table else (), key=_rank):
                index = symbol["st_shndx"]
                place = (index, symbol["st_value"])
                if symbol["st_size"] and index in kinds and place not in seen:
                    seen.add(place)
                    address = symbol["st_value"]
                    if symbol["st_info"]["type"] == "STT_FUNC":
                        address &= ~1
                    symbols.append(Symbol(symbol.name, kinds[index], address, symbol["st_size"]))
    except (OSError, ELFError) as error:
        raise EdgekitError("E506", f"cannot read {path} as an ELF file: {error}") from error
    return ElfSizes(sections, tuple(symbols))
