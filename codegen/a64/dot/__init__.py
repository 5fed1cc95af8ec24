"""Kernels for AArch64 with the dot product extension (family a64_dot)."""
