"""A device that is lost, at a launch or while a tuner works."""

from __future__ import annotations

import pytest
from gpu_core import BUNDLE, HALF, Run, right, sample, timed

from edgekit.bundle import Bundle

pytestmark = pytest.mark.apt


@pytest.mark.parametrize("bundle", [BUNDLE, HALF], ids=["whole", "half"])
@pytest.mark.parametrize("what", ["die", "slow"])
@pytest.mark.parametrize("launch", range(1, 13))
def test_a_device_that_is_lost_at_any_launch(
    run: Run, what: str, launch: int, bundle: Bundle
) -> None:
    """Its bytes are right, it is said once, and the CPU goes on."""
    for extra in ("", " discrete"):
        found = run(f"{what}={launch}{extra}", bundle=bundle)
        assert found.exact
        launches = found.runs[-1][3]
        assert found.statuses.count(14) <= 1
        if launch > launches:
            assert found.statuses == [0, 0, 0]
            continue
        assert found.runs[-1][2] == 0
        assert found.said[-1] == "the device is lost: the CPU computes from now on"
        if 14 in found.statuses:
            assert found.layers[0] == "fast"


def test_what_kills_the_device_is_not_tried_again(run: Run) -> None:
    first = run("die=1", kept=True)
    assert first.layers[0].startswith("CPU: the device was lost")
    second = run(kept=True)
    assert second.exact and second.layers[0] == "exact; fast: the device was lost"


@pytest.mark.parametrize("launch", range(15, 24))
def test_lost_while_a_tuner_works(run: Run, launch: int) -> None:
    found = run(f"die={launch}", timed=True)
    assert sum(verdict == 6 for verdict, *_ in timed(found).values()) == 1
    assert found.text.split("again 0 ")[1].startswith(right(sample(10)).hex())
