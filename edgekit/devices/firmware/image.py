"""What goes into a board's flash: bytes at addresses, and the symbols that name them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from edgekit.errors import EdgekitError
from edgekit.toolchain.cache import write_atomic
from targets import Board, linux

#: The control block of firmware/ports/rtt.c.
RTT_SYMBOL = "ek_rtt"
_MAGIC = "edgekit flash image 1"


@dataclass(frozen=True)
class FunctionSymbol:
    """A function's address (without the Thumb bit) and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class FlashImage:
    """Segments (address, bytes) in order of address; symbols are empty where unknown.

    `rtt` is the address of RTT's control block in a program with that transport.
    """

    segments: tuple[tuple[int, bytes], ...]
    functions: tuple[FunctionSymbol, ...] = ()
    rtt: int | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all segments."""
        return sum(len(data) for _, data in self.segments)

    def where(self, address: int) -> str:
        """A code address as text: function and offset where the symbols tell, else hexadecimal."""
        for symbol in self.functions:
            if symbol.address <= address < symbol.address + symbol.size:
                return f"{symbol.name}+{address - symbol.address:#x}"
        return f"{address:#010x}"

    def aligned(self, unit: int) -> FlashImage:
        """The same content in whole units of `unit` bytes, filled up with 0xFF as erased flash is.

        Segments that share a unit become one: many flashes program each unit only once.
        """
        merged: list[tuple[int, bytes]] = []
        for address, data in self.segments:
            start = address - address % unit
            if merged and start < merged[-1][0] + len(merged[-1][1]):
                start, before = merged.pop()
                data = before[: address - start].ljust(address - start, b"\xff") + data
            else:
                data = b"\xff" * (address - start) + data
            merged.append((start, data + b"\xff" * (-len(data) % unit)))
        return replace(self, segments=tuple(merged))

    def check_fits(self, board: Board) -> None:
        """Raises EdgekitError E610 where a segment is not inside one flash of the board."""
        flashes = [r for r in board.regions if r.kind == "flash"]
        for address, data in self.segments:
            if not any(r.holds(address, len(data)) for r in flashes):
                have = ", ".join(f"{r.name} {r.start:#x}..{r.end:#x}" for r in flashes)
                raise EdgekitError(
                    "E610",
                    f"the image has {len(data)} B at {address:#x}, outside the flash of "
                    f"'{board.name}' ({have})",
                    help="it was built for another board; compile it for this one",
                )


def load_elf(path: Path) -> FlashImage:
    """The loadable segments and function symbols of an ELF file; raises EdgekitError E506."""
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            segments = [
                (int(s["p_paddr"]), s.data())
                for s in elf.iter_segments()
                if s["p_type"] == "PT_LOAD" and s["p_filesz"]
            ]
            table = elf.get_section_by_name(".symtab")
            defined = [
                s for s in (table.iter_symbols() if table else ()) if s["st_shndx"] != "SHN_UNDEF"
            ]
            functions = [
                FunctionSymbol(s.name, s["st_value"] & ~1, s["st_size"])
                for s in defined
                if s["st_info"]["type"] == "STT_FUNC"
            ]
            rtt = next((int(s["st_value"]) for s in defined if s.name == RTT_SYMBOL), None)
    except (OSError, ELFError) as error:
        raise EdgekitError("E506", f"cannot read {path} as an ELF file: {error}") from error
    if not segments:
        raise EdgekitError("E506", f"{path} has nothing to load into flash")
    return FlashImage(tuple(sorted(segments)), tuple(functions), rtt)


def load_program(path: Path, board: Board) -> FlashImage:
    """What goes to `board`: an ELF file's segments, or under Linux all of the file, at address 0.

    Raises:
        EdgekitError: E506 where it is not an ELF file, E610 where it is for another board.
    """
    image = load_elf(path)
    if board.linux:
        data = path.read_bytes()
        if data[18:20] != linux.ELF_MACHINES[board.target.architecture].to_bytes(2, "little"):
            raise EdgekitError(
                "E610",
                f"{path} is no program for {board.target.name}, which board '{board.name}' runs",
                help="it was built for another board; compile it for this one",
            )
        image = FlashImage(((0, data),), image.functions)
    image.check_fits(board)
    return image


def load_symbols(path: Path) -> dict[str, int]:
    """Addresses of all defined symbols of an ELF file, the Thumb bit cleared in functions."""
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {
            s.name: s["st_value"] & (~1 if s["st_info"]["type"] == "STT_FUNC" else ~0)
            for s in (table.iter_symbols() if table else ())
            if s.name and s["st_shndx"] != "SHN_UNDEF"
        }


def save_image(image: FlashImage, path: Path) -> None:
    """Write an image as one file, atomically: a line of JSON, then the segments' bytes."""
    payload = b"".join(data for _, data in image.segments)
    header = {
        "magic": _MAGIC,
        "sha256": hashlib.sha256(payload).hexdigest(),
        "segments": [[address, len(data)] for address, data in image.segments],
        "functions": [[s.name, s.address, s.size] for s in image.functions],
        "rtt": image.rtt,
    }
    write_atomic(path, json.dumps(header).encode() + b"\n" + payload)


def load_image(path: Path) -> FlashImage:
    """Read what `save_image` wrote; raises EdgekitError E613 where the file is damaged."""
    try:
        line, _, payload = path.read_bytes().partition(b"\n")
        header: dict[str, Any] = json.loads(line)
        if header["magic"] != _MAGIC or hashlib.sha256(payload).hexdigest() != header["sha256"]:
            raise ValueError("checksum or magic is wrong")
        segments, at = [], 0
        for address, size in header["segments"]:
            segments.append((int(address), payload[at : at + size]))
            at += size
        functions = tuple(FunctionSymbol(*entry) for entry in header["functions"])
        rtt = None if header.get("rtt") is None else int(header["rtt"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgekitError(
            "E613",
            f"the stored flash content {path} cannot be read: {error}",
            help="flash the board again",
        ) from error
    return FlashImage(tuple(segments), functions, rtt)
