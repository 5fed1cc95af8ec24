"""What tests of GPU boards share: a small model, compiled once in each process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gpu_device import device
from gpu_model import compile_small

from edgekit.output import Output


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Output]:
    device()  # skips where there is no PoCL
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_GPU_FOLDER", str(tmp_path_factory.mktemp("kept")))
        patch.setenv("EDGEKIT_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield compile_small(tmp_path_factory.mktemp("gpu") / "out")
