"""The accelerator alone in a simulator: a harness in C++."""

from pathlib import Path

#: C++ for Verilator: `bench_*` functions for ctypes.
HARNESS = Path(__file__).parent / "accelerator.cpp"
