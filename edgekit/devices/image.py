"""What goes into a board's flash: bytes at addresses, and the symbols that name them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from edgekit.errors import EdgekitError
from edgekit.toolchain.cache import write_atomic
from targets import Board

_MAGIC = "edgekit flash image 1"


@dataclass(frozen=True)
class FunctionSymbol:
    """A function's address (without the Thumb bit) and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class FlashImage:
    """Segments (address, bytes) in order of address; symbols are empty where unknown."""

    segments: tuple[tuple[int, bytes], ...]
    functions: tuple[FunctionSymbol, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all segments."""
        return sum(len(data) for _, data in self.segments)

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
            functions = [
                FunctionSymbol(s.name, s["st_value"] & ~1, s["st_size"])
                for s in (table.iter_symbols() if table else ())
                if s["st_info"]["type"] == "STT_FUNC" and s["st_shndx"] != "SHN_UNDEF"
            ]
    except (OSError, ELFError) as error:
        raise EdgekitError("E506", f"cannot read {path} as an ELF file: {error}") from error
    if not segments:
        raise EdgekitError("E506", f"{path} has nothing to load into flash")
    return FlashImage(tuple(sorted(segments)), tuple(functions))


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
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgekitError(
            "E613",
            f"the stored flash content {path} cannot be read: {error}",
            help="flash the board again",
        ) from error
    return FlashImage(tuple(segments), functions)
