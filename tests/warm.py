"""What a fresh cache costs once, whatever is tested: minutes of CPU time in all.

``python tests/warm.py`` pays it beforehand: Yosys's machine code, zig's C++ library (for
Verilator), and zig's runtime library of every core. `.ci/run` does that beside steps that take one
core.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgekit.devices.emulators.verilated import cfu_verilog
from edgekit.toolchain import find_compiler, host_library, link
from edgekit.toolchain.verilator import verilated_library
from targets import boards

#: With a constant: bundles lie behind those.
SOURCE = """
static const volatile int nothing = 0;
int main(void);
int main(void) { return nothing; }
"""
VERILOG = "module wire_(input a, output b); assign b = a; endmodule\n"
HARNESS = '#include "Vtop.h"\nextern "C" int run() { Vtop t; t.eval(); return t.b; }\n'


def main() -> None:
    cfu_verilog()
    verilated_library([VERILOG], top="wire_", harness=[HARNESS])
    with tempfile.TemporaryDirectory(prefix="edgekit-warm-") as folder:
        source = Path(folder, "main.c")
        source.write_text(SOURCE)
        host_library([source])
        for board in {b.target.name: b for b in boards().values()}.values():
            compiler = find_compiler("zig", board.target)
            link(compiler, [compiler.compile(source)], board, entry="main", keep=["main"])


if __name__ == "__main__":
    main()
