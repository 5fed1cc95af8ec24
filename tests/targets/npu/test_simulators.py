"""The accelerator in numpy and in C: same bytes in every memory, same errors."""

from __future__ import annotations

import pytest
from tools import need

from targets.npu.check import check
from targets.npu.config import CONFIGURATIONS as NAMED
from targets.npu.config import Accelerator

from .simulators import differences, in_c, in_numpy, library, sanitized
from .streams import CONFIGURATIONS, valid

_each = pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda c: c.name)


@pytest.mark.apt
@_each
def test_same_bytes_under_sanitizers(config: Accelerator) -> None:
    need("gcc")
    cases = [valid(config, seed) for seed in range(50)]
    for case in cases:
        check(case.words, config, [len(r) for r in case.regions])
    ours = in_numpy(cases)
    assert differences(ours, in_c(cases, sanitized(config))) == []
    # What is free of races has one result, whichever engine runs ahead; in C none does.
    assert differences(ours, in_numpy(cases, compute_first=True)) == []


@_each
def test_same_bytes_optimized(config: Accelerator) -> None:
    cases = [valid(config, seed) for seed in range(100, 120)]
    assert differences(in_numpy(cases), in_c(cases, library(config, "zig"))) == []


@pytest.mark.slow
@pytest.mark.apt
@_each
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_same_bytes_of_many(config: Accelerator, compiler: str) -> None:
    """10,000 streams in all."""
    if compiler == "gcc":
        need("gcc")
    first = 1000 if compiler == "zig" else 2000
    for start in range(first, first + 850, 50):
        cases = [valid(config, seed) for seed in range(start, start + 50)]
        assert differences(in_numpy(cases), in_c(cases, library(config, compiler))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_same_bytes_of_long_streams(name: str) -> None:
    """Hundreds of commands on memories of the sizes that hardware has."""
    config = NAMED[name]
    cases = [valid(config, seed, cycles=40_000) for seed in range(6)]
    for case in cases:
        check(case.words, config, [len(r) for r in case.regions])
    ours = in_numpy(cases)
    assert differences(ours, in_c(cases, library(config, "zig"))) == []
    assert differences(ours, in_numpy(cases, compute_first=True)) == []
