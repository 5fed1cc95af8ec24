"""What several folders of tests share: the digits sample, compiled once per run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from edgekit import pipeline
from edgekit.output import Output, open_output
from samples.digits import CALIBRATION, MODEL

_PATIENCE_SECONDS = 300

# A draw that takes long on a busy machine is no failure; Hypothesis's profile for CI says so too.
if "CI" not in os.environ:
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Output:
    """The digits model compiled for the Cortex-M4; read only, all xdist workers share it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder, claim = shared / "digits", shared / "digits.claim"
    try:
        claim.mkdir()
    except FileExistsError:
        _wait_for(folder, shared / "digits.failed")
        return open_output(folder)
    try:
        return pipeline.compile(MODEL, output=folder, calibration=CALIBRATION).output
    except BaseException:
        (shared / "digits.failed").touch()
        raise


def _wait_for(folder: Path, failed: Path) -> None:
    """Another worker compiles; the folder appears only when it is whole."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not folder.is_dir():
        if failed.exists() or time.monotonic() > end:
            pytest.fail("another worker could not compile the digits sample")
        time.sleep(0.05)
