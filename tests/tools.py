"""Tools that tests need from outside: skipped where missing, but never in CI."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest


def need(*commands: str) -> None:
    """Skip the test where a command is not installed; fail it where CI promised them all."""
    missing = [c for c in commands if shutil.which(c) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed, but CI=true: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def working(command: str) -> str:
    """The first of that name in PATH that answers --version: a launcher may have nothing to launch.

    Skips or fails as `need` where there is none.
    """
    for folder in os.get_exec_path():
        path = shutil.which(command, path=folder)
        if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"not installed, or not working, but CI=true: {command}")
    pytest.skip(f"not installed, or not working: {command}")


def need_modules(*modules: str) -> None:
    """`need` for Python packages of the extra "packages"."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"not installed, but CI=true: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; pip install 'edgekit[packages]'")


def need_cpu(kind: str) -> None:
    """Skip the test where this is no x86-64 of `kind`: "baseline" or "x86_64_v3"."""
    info = Path("/proc/cpuinfo")
    features = {"baseline": set(), "x86_64_v3": {"avx2", "bmi2", "fma"}}[kind]
    if platform.machine() != "x86_64" or not info.exists():
        pytest.skip("needs an x86-64 under Linux")
    if missing := features - set(info.read_text().split()):
        pytest.skip(f"this CPU has no {', '.join(sorted(missing))}")
