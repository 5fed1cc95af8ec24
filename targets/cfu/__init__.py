"""A custom function unit (CFU) for small RISC-V systems: int8 products and exact requantization.

`isa` has its instructions and what they do; `rtl` is the hardware (with amaranth). docs/CFU.md is
the manual.
"""
