"""Models of MLPerf Tiny on a GPU; all of them, mcunet's too, are in tests/gpu_models.py."""

from __future__ import annotations

import pytest
from gpu_models import INPUTS, MODELS, PLATFORMS, check
from shared import needs_shared

pytestmark = needs_shared
NAMES = {model.name: model for model in MODELS}


def test_a_model() -> None:
    found = check(NAMES["kws_tflite"], PLATFORMS[0], 2, every=False)
    assert (found.on_cpu, found.differ) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_variant_of_a_model(platform: str) -> None:
    found = check(NAMES["kws_tflite"], platform, INPUTS)
    assert (found.on_cpu, found.differ) == (0, 0)
    assert found.variants > 3 * found.layers
