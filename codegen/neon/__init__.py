"""Kernels for NEON as C with intrinsics: Armv7-A, and AArch64 where no routine in assembly fits."""
