"""``python -m edgekit`` and the console script.

Ctrl-C is looked after before anything else is imported: on a slow disk that takes a second.
"""

from __future__ import annotations

import os
import sys


def script() -> None:
    # numpy is not loaded yet. Its matrices are small here: threads wait for each other longer than
    # they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from edgekit.cli import main
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(main())


if __name__ == "__main__":
    script()
