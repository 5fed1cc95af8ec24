"""Which variants and local sizes are the fastest on one device, measured there.

`tune` measures and chooses; `edgekit.tuning.sweep` does so for many models and boards.
"""

from __future__ import annotations

from edgekit.tuning.tune import Tuned, tune

__all__ = ["Tuned", "tune"]
