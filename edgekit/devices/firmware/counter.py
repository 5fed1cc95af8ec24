"""What programs for this machine's emulators count with."""

#: The descriptor that a program reads its count of instructions from (docs/PROFILING.md): above
#: those that QEMU opens, below every limit of open files.
DESCRIPTOR = 240
