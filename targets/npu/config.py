"""Sizes of an accelerator: one value that the compiler, the simulators and the hardware read."""

from __future__ import annotations

from dataclasses import dataclass

#: Channels of a block: an activation word is one pixel of one block.
BLOCK = 8
#: Banks of the activation memory, and so the pixels that one cycle can read.
BANKS = 4
#: Bytes of a channel's parameters in external memory: bias, multiplier, shifts.
PARAMETER_BYTES = 12
#: Words of the two tables of an elementwise command.
TABLE_WORDS = 512
#: Base address registers that LOAD and STORE choose from.
REGIONS = 8
VERSION = 1
#: The sizes that a configuration must say, and the range of each.
SIZES = {
    "out_lanes": (1, 32),
    "requant_lanes": (1, BLOCK),
    "a_words": (64, 1 << 20),
    "w_words": (16, 1 << 16),
    "p_channels": (16, 1 << 16),
}


@dataclass(frozen=True)
class Accelerator:
    """Parameters of the hardware. Every size is a power of two.

    `out_lanes` output channels times `BLOCK` input channels are multiplied in each cycle;
    `requant_lanes` results are rescaled in each cycle. `a_words` are words of `BLOCK` bytes of the
    activation memory, `w_words` words of `word_bytes` bytes of the weight memory, `p_channels` the
    channels whose parameters fit. `lut_multipliers` builds the products from logic and keeps the
    FPGA's multipliers for rescaling. Without `tables` there is no ADD.
    """

    name: str
    out_lanes: int
    requant_lanes: int
    a_words: int
    w_words: int
    p_channels: int
    tables: bool = True
    lut_multipliers: bool = False

    def __post_init__(self) -> None:
        for key, (low, high) in SIZES.items():
            value = getattr(self, key)
            if not low <= value <= high or value & (value - 1):
                raise ValueError(f"{self.name}: {key} is {value}, a power of two {low} to {high}")
        if self.requant_lanes > self.depthwise_lanes:
            raise ValueError(
                f"{self.name}: requant_lanes is {self.requant_lanes}, at most the "
                f"{self.depthwise_lanes} channels of a depthwise group"
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates per cycle."""
        return self.out_lanes * BLOCK

    @property
    def depthwise_lanes(self) -> int:
        """Channels of one group of a depthwise, sum or maximum command."""
        return min(self.out_lanes, BLOCK)

    @property
    def word_bytes(self) -> int:
        """Bytes of a word of the weight memory: `BLOCK` for each output lane."""
        return self.out_lanes * BLOCK

    @property
    def a_bytes(self) -> int:
        return self.a_words * BLOCK

    @property
    def w_bytes(self) -> int:
        return self.w_words * self.word_bytes

    @property
    def p_words(self) -> int:
        """Words of the parameter memory: `requant_lanes` channels each."""
        return self.p_channels // self.requant_lanes

    @property
    def word(self) -> int:
        """The register CONFIG and the second word of a HEAD command."""
        return (
            VERSION
            | _log2(self.out_lanes) << 4
            | _log2(self.requant_lanes) << 7
            | _log2(self.a_words) << 9
            | _log2(self.w_words) << 14
            | _log2(self.p_channels) << 19
            | int(self.tables) << 24
        )

    @property
    def defines(self) -> dict[str, str]:
        """Macros with which firmware/npu/ek_npu_sim.c is compiled."""
        sizes = {
            "OUT_LANES": self.out_lanes,
            "REQUANT_LANES": self.requant_lanes,
            "A_WORDS": self.a_words,
            "W_WORDS": self.w_words,
            "P_CHANNELS": self.p_channels,
            "TABLES": int(self.tables),
        }
        return {f"EK_NPU_{name}": str(value) for name, value in sizes.items()}


def _log2(value: int) -> int:
    return value.bit_length() - 1


#: The configurations that have a name. npu16 fits an ECP5-25k, the others are for an ECP5-85k.
CONFIGURATIONS = {
    a.name: a
    for a in (
        Accelerator("npu8", 1, 1, 1 << 10, 1 << 8, 1 << 7, tables=False, lut_multipliers=True),
        Accelerator("npu16", 2, 1, 1 << 12, 1 << 10, 1 << 9),
        Accelerator("npu64", 8, 4, 1 << 14, 1 << 10, 1 << 10),
        Accelerator("npu128", 16, 4, 1 << 14, 1 << 9, 1 << 10),
        Accelerator("npu256", 32, 8, 1 << 14, 1 << 8, 1 << 10, lut_multipliers=True),
    )
}
