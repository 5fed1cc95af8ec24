"""FPGA resources of a configuration without synthesis: what the ECP5 takes, estimated.

Multipliers and block RAMs follow from the sizes; LUTs and flip-flops are a constant and shares for
each output lane, each rescaling lane and each product from logic. The shares are fitted to what
yosys made of the configurations in tests/targets/npu/test_resources.py, which keeps them within
15 %; `make synth` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

from targets.npu.config import BANKS, BLOCK, TABLE_WORDS, Accelerator
from targets.npu.synthesis import Resources

#: Bits that a block RAM is wide by its words, where single bytes are written, and where only whole
#: words are: one port writes then, the other one reads.
_BYTES = ((512, 32), (1024, 16), (2048, 8), (4096, 4), (8192, 2), (16384, 1))
_WHOLE = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
#: Buffers of the transfer engine.
_BUFFERS = 2
#: LUTs and flip-flops: of front end, transfer engine, registers, loop nest and memory A, of each
#: output lane, of each rescaling lane, of ADD's lookups, and of each product from logic.
_LUT = {"fixed": 7_345, "output": 324, "rescale": 670, "tables": 361, "product": 132}
_FF = {"fixed": 4_953, "output": 345, "rescale": 689, "tables": 303, "product": 47}


@dataclass(frozen=True)
class Device:
    """An FPGA: LUTs, flip-flops, 18x18 multipliers and block RAMs of 18 Kbit."""

    name: str
    lut: int
    ff: int
    dsp: int
    bram: int

    def holds(self, needs: Resources) -> bool:
        """Whether a design fits: a router wants some LUTs left over."""
        return (
            needs.lut <= 0.9 * self.lut
            and needs.ff <= self.ff
            and needs.dsp <= self.dsp
            and needs.bram <= self.bram
        )


#: Lattice's ECP5 family data sheet, FPGA-DS-02012, table 1.1.
DEVICES = (
    Device("ECP5-25k", 24_288, 24_288, 28, 56),
    Device("ECP5-45k", 43_848, 43_848, 72, 108),
    Device("ECP5-85k", 83_640, 83_640, 156, 208),
)


def estimate(config: Accelerator) -> Resources:
    """Cells of the accelerator of a configuration on an ECP5, before placement."""
    products = config.macs if config.lut_multipliers else 0
    counts = {
        "fixed": 1,
        "output": config.out_lanes,
        "rescale": config.requant_lanes,
        "tables": int(config.tables),
        "product": products,
    }
    return Resources(
        lut=sum(_LUT[part] * n for part, n in counts.items()),
        ff=sum(_FF[part] * n for part, n in counts.items()),
        dsp=_multipliers(config),
        bram=_block_rams(config),
    )


def _multipliers(config: Accelerator) -> int:
    """One for each product of 8 bits, four for a rescaling's 32 x 32, one in the loop nest."""
    return (0 if config.lut_multipliers else config.macs) + 4 * config.requant_lanes + 1


def _block_rams(config: Accelerator) -> int:
    lanes = config.requant_lanes
    a = BANKS * _rams(config.a_words // BANKS, 8 * BLOCK, _BYTES)
    w = _rams(config.w_words, 8 * config.word_bytes, _BYTES)
    # Bias, multiplier and shifts of each lane are written by themselves; two lanes' shifts share.
    p = -(-config.p_words // _WHOLE[0][0]) * (2 * lanes + -(-lanes // 2))
    # Two tables for each lane.
    t = 2 * lanes * _rams(TABLE_WORDS // 2, 32, _WHOLE) if config.tables else 0
    return a + w + p + t + _BUFFERS


def _rams(words: int, bits: int, shapes: tuple[tuple[int, int], ...]) -> int:
    """Block RAMs of a memory: the fewest of one shape, in rows and columns."""
    return min(-(-words // deep) * -(-bits // wide) for deep, wide in shapes)
