"""The GPU section of a bundle: what is written is read back, and nothing that is wrong is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bundles import TINY, reseal
from gpu_bundles import SMALL, TOP, WITH_GPU, WRONG, gpu_bundles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.bundle import Bundle, read_bundle, write_bundle
from edgekit.bundle.gpu import Gpu
from edgekit.errors import EdgekitError


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(gpu_bundles())
def test_round_trip(bundle: Bundle) -> None:
    data = write_bundle(bundle)
    assert read_bundle(data) == bundle
    assert write_bundle(read_bundle(data)) == data


def test_the_hash_covers_the_section() -> None:
    other = replace(SMALL, constants=SMALL.constants[:-1] + b"\0")
    assert len({b.hash for b in (TINY, WITH_GPU, replace(TINY, gpu=other))}) == 3


def test_constants_lie_at_multiples_of_128() -> None:
    data = write_bundle(WITH_GPU)
    assert data.index(SMALL.constants) % 128 == 0


@pytest.mark.parametrize(("gpu", "said"), WRONG)
def test_refused(gpu: Gpu, said: str) -> None:
    with pytest.raises(EdgekitError, match=said) as caught:
        read_bundle(write_bundle(replace(TINY, gpu=gpu)))
    assert caught.value.code == "E405"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_under_a_right_checksum_is_refused_or_harmless(data: Any) -> None:
    """Any word of the file but the footer, changed: E405, or a bundle that can be written."""
    good = write_bundle(WITH_GPU)
    at = data.draw(st.integers(2, len(good) // 4 - 5)) * 4
    word = data.draw(st.one_of(st.sampled_from([0, 1, 4, 2**31, TOP]), st.integers(0, TOP)))
    damaged = reseal(good[:at] + word.to_bytes(4, "little") + good[at + 4 :])
    try:
        write_bundle(read_bundle(damaged))
    except EdgekitError as error:
        assert error.code in ("E405", "E401")
