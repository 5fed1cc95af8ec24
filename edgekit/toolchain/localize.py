"""Symbols of a relocatable object that nobody outside is to see, made local.

What ``objcopy --keep-global-symbols`` does, for compilers that bring no such tool. System V ABI,
"Object Files": in a symbol table local symbols come first, and everything that counts symbols
(relocations, section groups) counts anew.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass

from elftools.elf.constants import SHN_INDICES
from elftools.elf.enums import ENUM_SH_TYPE_BASE

_SYMTAB, _RELA, _REL, _GROUP = (
    ENUM_SH_TYPE_BASE[f"SHT_{name}"] for name in ("SYMTAB", "RELA", "REL", "GROUP")
)
#: Kinds of sections that count symbols by numbers that are not changed here.
_REFUSED = {ENUM_SH_TYPE_BASE["SHT_SYMTAB_SHNDX"], 0x6FFF4C03}  # the latter is LLVM_ADDRSIG
_LOCAL = 0


@dataclass(frozen=True)
class _Layout:
    """How structures lie in a file of one class: little-endian, as all our targets are."""

    #: e_shoff in the header, then e_shentsize and e_shnum.
    header: tuple[int, str, int]
    section: str
    symbol: str
    #: Places of st_name, st_info, st_shndx in a symbol.
    fields: tuple[int, int, int]
    relocation: str
    #: How far the symbol's index is shifted in r_info.
    shift: int


_LAYOUTS = {
    1: _Layout((32, "<I", 46), "<10I", "<IIIBBH", (0, 3, 5), "<II", 8),
    2: _Layout((40, "<Q", 58), "<IIQQQQIIQQ", "<IBBHQQ", (0, 1, 3), "<QQ", 32),
}


def localize(data: bytes, keep: Collection[str]) -> bytes:
    """The object with every symbol that it defines local, but those in `keep`.

    Raises:
        ValueError: it is no object that this knows how to change.
    """
    if len(data) < 64 or data[:4] != b"\x7fELF" or data[4] not in _LAYOUTS or data[5] != 1:
        raise ValueError("not a little-endian ELF object")
    layout = _LAYOUTS[data[4]]
    out = bytearray(data)
    (offset,) = struct.unpack_from(layout.header[1], data, layout.header[0])
    size, count = struct.unpack_from("<HH", data, layout.header[2])
    sections = [
        list(struct.unpack_from(layout.section, data, offset + i * size)) for i in range(count)
    ]
    if any(s[1] in _REFUSED for s in sections):
        raise ValueError("the object has tables of symbols that cannot be changed")
    table = next((i for i, s in enumerate(sections) if s[1] == _SYMTAB), None)
    if table is None:
        raise ValueError("the object has no symbols")
    moved, local = _symbols(out, sections, table, layout, keep)
    sections[table][7] = local
    struct.pack_into(layout.section, out, offset + table * size, *sections[table])
    for i, s in enumerate(sections):
        if s[1] in (_REL, _RELA) and s[6] == table:
            for at in range(s[4], s[4] + s[5], s[9]):
                place, info = struct.unpack_from(layout.relocation, data, at)
                kind = info & ((1 << layout.shift) - 1)
                info = moved[info >> layout.shift] << layout.shift | kind
                struct.pack_into(layout.relocation, out, at, place, info)
        elif s[1] == _GROUP and s[6] == table:
            s[7] = moved[s[7]]
            struct.pack_into(layout.section, out, offset + i * size, *s)
    return bytes(out)


def _symbols(
    out: bytearray,
    sections: list[list[int]],
    table: int,
    layout: _Layout,
    keep: Collection[str],
) -> tuple[list[int], int]:
    """Rewrite the symbol table; returns the new number of every symbol, and how many are local."""
    name, info, section = layout.fields
    at, nbytes, strings = sections[table][4], sections[table][5], sections[sections[table][6]]
    entry = struct.calcsize(layout.symbol)
    symbols = [
        list(struct.unpack_from(layout.symbol, out, at + i)) for i in range(0, nbytes, entry)
    ]
    for symbol in symbols:
        start = strings[4] + symbol[name]
        text = out[start : out.index(0, start)].decode()
        if symbol[section] != SHN_INDICES.SHN_UNDEF and text not in keep:
            symbol[info] &= 0x0F  # binding STB_LOCAL, the type stays
    order = sorted(range(len(symbols)), key=lambda i: symbols[i][info] >> 4 != _LOCAL)
    for place, i in enumerate(order):
        struct.pack_into(layout.symbol, out, at + place * entry, *symbols[i])
    moved = [0] * len(order)
    for place, i in enumerate(order):
        moved[i] = place
    return moved, sum(s[info] >> 4 == _LOCAL for s in symbols)
