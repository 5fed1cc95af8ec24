"""A board's firmware: model sources, device program and port, compiled and linked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.firmware.boot import boot_source
from edgekit.devices.firmware.bringup import board_macros, bringup_sources
from edgekit.devices.firmware.counter import DESCRIPTOR
from edgekit.errors import EdgekitError
from edgekit.toolchain import ElfSizes, find_compiler, link, read_sizes
from edgekit.toolchain.cache import cache_dir, key_of, source_key, write_atomic
from edgekit.toolchain.link import STACK_BYTES
from edgekit.version import __version__
from targets import Board, Target, linux

_DEVICE = ("ek_device.c", "ek_link.c", "ek_counter.c", "ek_port.c")
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
    defines = {
        "EK_CLOCK_HZ": f"{board.clock_hz}u",
        "EK_UART_BASE": f"{board.uart.base:#x}u",
        "EK_UART_CLOCK_HZ": f"{board.uart.clock_hz or board.clock_hz}u",
        "EK_BAUD": f"{board.uart.baud}u",
    } | board_macros(board)
    if board.uart.tx_pin >= 0:
        defines["EK_UART_TX_PIN"] = f"{board.uart.tx_pin}u"
        defines["EK_UART_RX_PIN"] = f"{board.uart.rx_pin}u"
    if board.usb_device:
        vendor, product = board.usb[0].split(":")
        defines |= {"EK_USB_VENDOR": f"0x{vendor}u", "EK_USB_PRODUCT": f"0x{product}u"}
    defines |= {f"EK_COUNTER_{n.upper()}": "" for n in board.counters if n != "cmsdk-timer"}
    if "cmsdk-timer" in board.counters and board.timer:
        defines["EK_COUNTER_CMSDK"] = f"{board.timer.base:#x}u"
    if board.linux:
        defines["EK_COUNTER_PORT"] = ""
        defines |= hwcap_defines(board.target)
    if "emulator" in board.counters:
        defines["EK_COUNTER_EMULATOR"] = str(DESCRIPTOR)
    if board.target.gpu:
        defines |= {"EK_GPU": "", "EK_UART_OUT": "63"}
    if board.accelerator_base >= 0:
        defines["EK_NPU_BASE"] = f"{board.accelerator_base:#x}u"
    if board.target.has_cfu:
        defines["EK_CFU"] = ""
    return defines


def hwcap_defines(target: Target) -> dict[str, str]:
    """What a program asks the CPU for at start: pairs of a bit of `HWCAPS` and its name."""
    bits = linux.HWCAPS.get(target.architecture, {})
    pairs = [f'{{UINT64_C({bits[name]:#x}),"{name}"}}' for name in target.hwcaps]
    return {"EK_HWCAPS": ",".join(pairs)} if pairs else {}


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
    transport: str = "uart",
    trigger: bool = False,
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
        max_layers: room for that many layers' times, 8 bytes of RAM each.
        opt: optimisation level of the model's sources; the device program is built with -Os.
        transport: one of `targets.TRANSPORTS`, for which a file of firmware/ports implements
            ek_uart.h.
        trigger: build with EK_TRIGGER, a pin that moves at layer edges (docs/PROFILING.md).

    Raises:
        EdgekitError: E501, E502, E503, E504; E664 where the board has no pin for that.
    """
    cc = find_compiler(compiler, board.target)
    root = firmware_folder()
    macros = {**board_defines(board), **transport_defines(transport), **(defines or {})}
    if profile:
        macros |= {"EK_PROFILE": "", "EK_MAX_LAYERS": f"{max_layers}u"}
    if trigger:
        macros |= _trigger(board, macros)
    folders = [*include, *(root / name for name in ("include", "npu", "app"))]
    objects = cc.objects(sources, include=folders, defines=macros, opt=opt)
    if blob is not None:
        objects.append(cc.compile(_blob_source(blob)))
    boot = boot_source(board, cc, root / "ports")
    if boot is not None:
        objects.append(cc.compile(boot))
    device = [
        *(root / "device" / name for name in _DEVICE),
        driver(root / "ports", board, transport),
        *bringup_sources(board, root / "ports"),
        *_core_sources(root, board),
        *_port_sources(root / "ports", board),
    ]
    names = ("include", "device", "ports", "ports/linux", "npu", "app", "linux")
    folders = [root / name for name in names]
    if board.libc:  # for the start-up code alone: a model's objects are the same with any
        macros[f"EK_LIBC_{board.libc.upper()}"] = ""
    macros["EK_FIRMWARE_VERSION"] = f'"{__version__}"'
    texts = [b for path in device for b in source_key(path, folders) or [path.read_bytes()]]
    settings = [cc.version, repr(board.regions), f"{stack_bytes}", *map("=".join, macros.items())]
    compiled = [p.read_bytes() for p in objects]
    build_id = int(key_of(["build", *settings, "--", *texts, "--", *compiled])[:16], 16)
    macros["EK_BUILD_ID"] = f"{build_id:#x}ull"
    objects += cc.objects(device, include=folders, defines=macros, opt="-Os")
    elf = link(cc, objects, board, output=output, stack_bytes=stack_bytes)
    return Firmware(elf, read_sizes(elf), build_id)


def _port_sources(ports: Path, board: Board) -> list[Path]:
    """Start-up code and what belongs to it."""
    folder = ports / ("loaded" if board.target.gpu else board.target.port)
    found = sorted(p for p in folder.iterdir() if p.suffix in SOURCES)
    if board.target.gpu:  # a process under Linux too
        found += [ports / "linux" / name for name in ("ek_signal.c", "memory.c")]
    return found


def _core_sources(root: Path, board: Board) -> list[Path]:
    """The accelerator's counters for the profiler, and the caches of the core beside it."""
    accelerated = board.accelerator_base >= 0
    found = [root / "device" / "ek_accelerator.c"] if accelerated else []
    if accelerated or board.core == "VexRiscv":
        found.append(root / "ports" / "vexriscv.c")
    return found


def _trigger(board: Board, macros: Mapping[str, str]) -> dict[str, str]:
    """EK_TRIGGER, where the board's macros name a pin; raises EdgekitError E664 otherwise."""
    if "EK_TRIGGER_SET" not in macros:
        raise EdgekitError(
            "E664",
            f"board '{board.name}' names no pin for a power analyser",
            help="a [trigger] table in the board's file does: docs/PROFILING.md",
        )
    return {"EK_TRIGGER": ""}


def transport_defines(transport: str) -> dict[str, str]:
    """Macros of a transport: RTT's rings have room for a whole frame of the link protocol."""
    if transport != "rtt":
        return {}
    return {"EK_RTT_UP_BYTES": "1024u", "EK_RTT_DOWN_BYTES": "512u"}


def driver(folder: Path, board: Board, transport: str) -> Path:
    """The source of the transport; raises EdgekitError E507 where there is none for the board."""
    drivers = {"uart": f"uart_{board.uart.kind}", "usb": f"usb_{board.usb_device}"}
    name = drivers.get(transport, transport)
    path = folder / f"{name}.c"
    if not path.is_file():
        raise EdgekitError(
            "E507",
            f"board '{board.name}': there is no driver {path.name} for its transport '{transport}'",
            help="docs/ADDING_A_BOARD.md says what a driver is",
        )
    return path


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
