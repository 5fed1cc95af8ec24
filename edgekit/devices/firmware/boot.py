"""What a chip's ROM wants to find in flash before, or right after, the vector table.

A board file names it with ``boot``. Each kind becomes assembler text for one of two sections that
the linker script knows: `.ek_boot` in front of the vectors, `.ek_image` behind them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

from elftools.elf.elffile import ELFFile

from edgekit.errors import EdgekitError
from edgekit.toolchain import Compiler
from edgekit.toolchain.cache import cache_dir, key_of, write_atomic
from targets import Board

_STAGE2_BYTES = 252
_IMXRT_IVT, _IMXRT_VECTORS = 0x1000, 0x2000
_DIRECT_BOOT = 0xAEDB041D


def boot_source(board: Board, compiler: Compiler, ports: Path) -> Path | None:
    """An assembler file with the board's boot image; None where its ROM wants nothing.

    Args:
        ports: the folder firmware/ports.

    Raises:
        EdgekitError: E512 where the chip's memory does not suit the kind.
    """
    if not board.boot:
        return None
    text = _KINDS[board.boot](board, compiler, ports).encode()
    path = cache_dir() / "boards" / key_of([text])[:32] / "boot.S"
    if not path.exists():
        write_atomic(path, text)
    return path


def _section(name: str, data: bytes) -> str:
    rows = [data[i : i + 16] for i in range(0, len(data), 16)]
    lines = "".join(f"    .byte {', '.join(f'{b:#04x}' for b in row)}\n" for row in rows)
    return f'    .section {name}, "a"\n    .balign 4\n{lines}'


def stage2_crc(data: bytes) -> int:
    """The RP2040 ROM's checksum of the second stage: CRC-32 with polynomial 0x04C11DB7, from all
    ones, neither reflected nor inverted at the end (RP2040 Datasheet, 2.8.1.3.1)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C1_1DB7 if crc >> 31 else 0)) & 0xFFFF_FFFF
    return crc


def _rp2040(board: Board, compiler: Compiler, ports: Path) -> str:
    """The second stage, padded, and its checksum: 256 bytes, then the vector table."""
    _needs_start(board, 0x1000_0000)
    elf = ELFFile(io.BytesIO(compiler.compile(ports / "boot" / "rp2040.S").read_bytes()))
    code = bytes(elf.get_section_by_name(".stage2").data())
    if len(code) > _STAGE2_BYTES:
        raise RuntimeError(f"the second stage has {len(code)} B, at most {_STAGE2_BYTES} fit")
    stage2 = code.ljust(_STAGE2_BYTES, b"\0")
    return _section(".ek_boot", stage2 + struct.pack("<I", stage2_crc(stage2)))


def _rp2350(board: Board, compiler: Compiler, ports: Path) -> str:
    """The least IMAGE_DEF block, in the first 4 KB: "executable, secure, Arm, RP2350", no more
    items, the next block is this one (RP2350 Datasheet, 5.9.5.1). The vector table is then the
    start of the image."""
    _needs_start(board, 0x1000_0000)
    block = struct.pack("<5I", 0xFFFF_DED3, 0x1021_0142, 0x0000_01FF, 0, 0xAB12_3579)
    return _section(".ek_image", block)


def flexspi_block(size: int) -> bytes:
    """The FlexSPI NOR configuration block of i.MX RT (i.MX RT1060 Reference Manual, 9.6.3): how the
    ROM reads quad serial flash of `size` bytes with command EBh at 100 MHz."""
    block = bytearray(512)
    lookup = [
        _lut(1, 0, 0xEB, 2, 2, 24),  # command on one line; 24 address bits on four
        _lut(12, 2, 6, 9, 2, 4),  # six dummy cycles; read on four lines
    ]
    struct.pack_into("<4sI", block, 0x000, b"FCFB", 0x5601_0400)  # tag, version 1.4.0
    struct.pack_into("<3B", block, 0x00C, 1, 3, 3)  # sample by the DQS pad; chip select times
    struct.pack_into("<3B", block, 0x044, 1, 4, 6)  # serial NOR, four lines, 100 MHz
    struct.pack_into("<I", block, 0x050, size)
    struct.pack_into("<2I", block, 0x080, *lookup)
    struct.pack_into("<2I", block, 0x1C0, 256, 4096)  # page and sector
    struct.pack_into("<I", block, 0x1D0, 65536)  # block
    return bytes(block)


def _lut(op0: int, pads0: int, value0: int, op1: int, pads1: int, value1: int) -> int:
    """Two instructions of FlexSPI's lookup table; `pads` are the logarithm of the lines."""
    return op0 << 10 | pads0 << 8 | value0 | (op1 << 10 | pads1 << 8 | value1) << 16


def _imxrt(board: Board, compiler: Compiler, ports: Path) -> str:
    """Configuration block at 0, image vector table and boot data at 0x1000 (9.7.1), vectors at
    0x2000."""
    _needs_start(board, 0x6000_0000)
    ivt = board.flash.start + _IMXRT_IVT
    return (
        _section(".ek_boot", flexspi_block(board.flash.size).ljust(_IMXRT_IVT, b"\xff"))
        + "    .word 0x412000D1\n"  # tag 0xD1, 32 bytes, version 0x41
        + "    .word __vectors_start\n"
        + f"    .word 0, 0, {ivt + 32:#x}, {ivt:#x}, 0, 0\n"  # boot data; this table
        + f"    .word {board.flash.start:#x}, {board.flash.size:#x}, 0, 0xFFFFFFFF\n"
        + f"    .space {_IMXRT_VECTORS - _IMXRT_IVT - 48}, 0xFF\n"
    )


def _esp32c3(board: Board, compiler: Compiler, ports: Path) -> str:
    """Two magic words: the ROM maps flash and jumps behind them (ESP32-C3 Technical Reference
    Manual, 7.3 "direct boot")."""
    _needs_start(board, 0x4200_0000)
    return _section(".ek_boot", struct.pack("<2I", _DIRECT_BOOT, _DIRECT_BOOT))


def _needs_start(board: Board, start: int) -> None:
    if board.flash.start != start:
        raise EdgekitError(
            "E512",
            f"board '{board.name}': boot = \"{board.boot}\" needs its first flash region at "
            f"{start:#x}, '{board.flash.name}' is at {board.flash.start:#x}",
            help="see docs/ADDING_A_BOARD.md, 'boot'",
        )


_KINDS: dict[str, Callable[[Board, Compiler, Path], str]] = {
    "rp2040": _rp2040,
    "rp2350": _rp2350,
    "imxrt": _imxrt,
    "esp32c3": _esp32c3,
}
