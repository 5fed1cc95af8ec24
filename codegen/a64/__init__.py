"""Kernels for AArch64 in assembly: Armv8.0 NEON (family a64), with dot products (a64_dot)."""
