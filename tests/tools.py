"""Tools that tests need from outside: skipped where missing, but never in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def need(*commands: str) -> None:
    """Skip the test where a command is not installed; fail it where CI promised them all."""
    missing = [c for c in commands if shutil.which(c) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed, but CI=true: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
