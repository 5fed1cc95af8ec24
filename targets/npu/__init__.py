"""The accelerator: its parameters, its commands, and (with amaranth) its hardware.

`config` and `isa` are what the compiler, the simulators and the hardware have in common;
docs/ACCELERATOR.md is the reference manual.
"""
