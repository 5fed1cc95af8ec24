"""Kernels for Helium (MVE): C with vector operations of firmware/include/ek_mve.h."""
