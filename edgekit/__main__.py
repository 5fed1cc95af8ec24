"""``python -m edgekit``."""

from edgekit.cli import script

script()
