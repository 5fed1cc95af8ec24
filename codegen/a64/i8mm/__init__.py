"""Kernels for AArch64 with products of int8 matrices (family a64_i8mm)."""
