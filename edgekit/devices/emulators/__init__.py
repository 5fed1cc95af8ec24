"""Boards that are programs on this machine: virtual cores, and machines of QEMU."""
