"""Bytes to and from a running device program: serial ports, processes, memory behind a probe."""
