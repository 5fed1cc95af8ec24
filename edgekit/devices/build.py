"""A board's firmware: model sources, device program and port, compiled and linked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import edgekit
from edgekit.errors import EdgekitError
from edgekit.toolchain import ElfSizes, find_compiler, link, read_sizes
from edgekit.toolchain.cache import cache_dir, key_of, write_atomic
from edgekit.toolchain.link import STACK_BYTES
from targets import Board

_DEVICE = ("ek_device.c", "ek_link.c", "ek_counter.c")
SOURCES = (".c", ".S")
_BLOB_SOURCE = """\
    .section .ek_bundle, "a"
    .balign 16
    .incbin "{name}"
"""


@dataclass(frozen=True)
class Firmware:
    """A linked program; `build_id` is what the device answers to HELLO."""

    elf: Path
    sizes: ElfSizes
    build_id: int


def firmware_folder() -> Path:
    """The folder of the C sources."""
    import firmware

    return Path(str(firmware.__file__)).parent


def board_defines(board: Board) -> dict[str, str]:
    """Macros that tell ports and device program about a board."""
    defines = {"EK_CLOCK_HZ": f"{board.clock_hz}u", "EK_UART_BASE": f"{board.uart.base:#x}u"}
    if "dwt" in board.counters:
        defines["EK_COUNTER_DWT"] = ""
    if "cmsdk-timer" in board.counters and board.timer:
        defines["EK_COUNTER_CMSDK"] = f"{board.timer.base:#x}u"
    if "systick" in board.counters:
        defines["EK_COUNTER_SYSTICK"] = ""
    if "mcycle" in board.counters:
        defines["EK_COUNTER_MCYCLE"] = ""
    return defines


def build_firmware(
    sources: Sequence[Path],
    board: Board,
    *,
    include: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    compiler: str = "zig",
    blob: Path | None = None,
    output: Path | None = None,
    profile: bool = True,
    max_layers: int = 128,
    opt: str = "-O2",
    stack_bytes: int = STACK_BYTES,
) -> Firmware:
    """Compile and link a model's sources with the device program of a board.

    Args:
        sources: C files that implement firmware/include/ek_app.h, and all that they need.
        include: their header folders; firmware/include is always there.
        defines: further macros for every file.
        blob: bytes placed 16-byte aligned in flash, from ``ek_bundle_start`` to
            ``ek_bundle_end``; without it the two are equal.
        output: the ELF file to write; None leaves it in the cache.
        profile: build with EK_PROFILE, time stamps at layer edges.
        max_layers: room for that many layers' times, 16 bytes of RAM each.
        opt: optimisation level of the model's sources; the device program is built with -Os.

    Raises:
        EdgekitError: E501, E502, E503, E504.
    """
    cc = find_compiler(compiler, board.target)
    root = firmware_folder()
    macros = {**board_defines(board), **(defines or {})}
    if profile:
        macros |= {"EK_PROFILE": "", "EK_MAX_LAYERS": f"{max_layers}u"}
    folders = [*include, root / "include"]
    objects = cc.objects(sources, include=folders, defines=macros, opt=opt)
    if blob is not None:
        objects.append(cc.compile(_blob_source(blob)))
    build_id = int(key_of(["build", *(p.read_bytes() for p in objects)])[:16], 16)
    device = [
        *(root / "device" / name for name in _DEVICE),
        root / "ports" / f"uart_{board.uart.kind}.c",
        *sorted(p for p in (root / "ports" / board.target.port).iterdir() if p.suffix in SOURCES),
    ]
    macros |= {
        "EK_BUILD_ID": f"{build_id:#x}ull",
        "EK_FIRMWARE_VERSION": f'"{edgekit.__version__}"',
    }
    objects += cc.objects(
        device,
        include=[root / "include", root / "device", root / "ports"],
        defines=macros,
        opt="-Os",
    )
    elf = link(cc, objects, board, output=output, stack_bytes=stack_bytes)
    return Firmware(elf, read_sizes(elf), build_id)


def _blob_source(blob: Path) -> Path:
    """An assembler file that includes the blob, in a folder named by the blob's content."""
    try:
        data = blob.read_bytes()
    except OSError as error:
        raise EdgekitError("E702", f"cannot read {blob}: {error.strerror}") from error
    copy = cache_dir() / "blobs" / key_of([data])[:32] / "blob.bin"
    if not copy.exists():
        write_atomic(copy, data)
    source = copy.with_suffix(".S")
    if not source.exists():
        # Forward slashes: the assembler reads backslashes as escapes.
        write_atomic(source, _BLOB_SOURCE.format(name=copy.as_posix()).encode())
    return source
