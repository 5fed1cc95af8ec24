"""OpenCL C on standard input to SPIR-V on standard output, in a process of its own."""

from __future__ import annotations

import os
import sys


def main() -> int:
    import pyclspv

    source = sys.stdin.buffer.read().decode()
    out = os.dup(1)
    os.dup2(2, 1)  # it prints, and standard output is for the module
    try:
        module = bytes(pyclspv.compile(source, False))
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with os.fdopen(out, "wb") as file:
        file.write(module)
    return 0


if __name__ == "__main__":
    sys.exit(main())
