"""Where the test models and data lie that are not part of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"

#: Skips a test where those files are missing.
needs_shared = pytest.mark.skipif(
    not (SHARED / "models").is_dir(), reason="needs the models and data of ../shared"
)
