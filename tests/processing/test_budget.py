"""Budgets of models with processing: searched on raw inputs, with the answer behind the scores."""

from __future__ import annotations

from pathlib import Path

import pytest
from processed import clips, network

from edgekit import pipeline
from edgekit.errors import EdgekitError
from edgekit.processing import Audio, Classify, Processing
from edgekit.search.budget import Budget


def test_a_budget_that_cannot_be_kept(tmp_path: Path) -> None:
    """The network is so small that int8 and the narrowest mixture are the same build."""
    step = Audio(window_ms=16, hop_ms=10, mels=20, mfcc=10, clip_ms=100)
    with pytest.raises(EdgekitError, match=r"no mixture") as caught:
        pipeline.compile(
            network(tmp_path, 1, 9, 10),
            output=tmp_path / "out",
            calibration={"audio": clips(12, 1600)},
            processing=Processing(step, Classify(scores=True)),
            budget=Budget(max_flash=5000),
        )
    assert caught.value.code == "E314"
    assert not (tmp_path / "out").exists()
