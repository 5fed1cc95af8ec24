"""A system-on-chip around the accelerator: CPU, one external memory, UART (docs/ACCELERATOR.md).

`soc.v` joins VexRiscv, the accelerator's Verilog, `memory.v`, `wishbone_port.v` and `uart.v`;
`main.cpp` makes a process of it.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
#: The module that joins all others.
TOP = "soc"
VERILOG = tuple(
    FOLDER / f"{name}.v" for name in ("soc", "memory", "wishbone_port", "uart", "clock_gate")
)
#: Which names of the hardware `MAIN` uses.
PUBLIC = FOLDER / "soc.vlt"
MAIN = FOLDER / "main.cpp"
