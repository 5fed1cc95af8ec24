"""Boards simulated cycle by cycle: their hardware as a program of this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgekit.devices.emulators.verilated import accelerator_verilog, cfu_verilog
from edgekit.devices.firmware.image import FlashImage
from edgekit.toolchain.verilator import require_fpga, verilated_program
from targets import Board
from targets.npu import soc

_ERASED = b"\xff"


def flash_content(board: Board, image: FlashImage) -> bytes:
    """The board's flash from its first byte to the last one that the image has."""
    content = bytearray()
    for address, data in image.segments:
        at = address - board.flash.start
        content += _ERASED * (at - len(content))
        content[at : at + len(data)] = data
    return bytes(content)


def simulator(board: Board) -> Path:
    """The program that is the board's hardware, in the cache.

    Its arguments are the file with the content of flash; its UART is standard input and output.

    Raises:
        EdgekitError: E750 where the extra is not installed, and what building raises.
    """
    require_fpga("pythondata_cpu_vexriscv")
    parts: list[Path | str] = []
    options = []
    if board.target.has_cfu:
        parts += [_cpu("VexRiscv_FullCfu"), cfu_verilog()]
        options.append("-DCFU")
    else:
        parts.append(_cpu("VexRiscv_Full"))
    if board.target.accelerator:
        parts.append(accelerator_verilog(board.target.accelerator))
        options.append("-DNPU")
    return verilated_program(
        [*soc.VERILOG, *parts, soc.PUBLIC], top=soc.TOP, harness=[soc.MAIN], options=options
    )


def _cpu(name: str) -> str:
    """The CPU's Verilog. It asks for far more to be public than a simulation needs, which keeps
    Verilator from optimizing."""
    spec = importlib.util.find_spec("pythondata_cpu_vexriscv")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "verilog" / f"{name}.v"
    return path.read_text().replace("/* verilator public */", "")
