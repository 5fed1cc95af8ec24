"""A small model for GPUs, measured on PoCL: to try the tuner, never for the times."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gpu_device import device
from gpu_model import compile_small

from edgekit.output import Output, open_output


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Output:
    device()  # skips where there is no PoCL
    base = tmp_path_factory.mktemp("tuning")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_GPU_FOLDER", str(base))
        patch.setenv("EDGEKIT_STATE_DIR", str(base / "state"))
        return compile_small(base / "out")


@pytest.fixture
def folder(compiled: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    """An output folder of this test alone, with a folder of its own for what programs keep."""
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setenv("EDGEKIT_GPU_FOLDER", str(kept))
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))
    shutil.copytree(compiled.path, tmp_path / "out")
    return open_output(tmp_path / "out")
