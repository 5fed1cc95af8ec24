"""Profiles as JSON and as a Chrome trace."""

from __future__ import annotations

import json

import pytest

from edgekit.devices.session import Profile
from edgekit.devices.trace import chrome_trace, profile_json

CYCLES = Profile((300, 100), 410, "cycles (estimated)", "dwt", 100_000_000, 5, "virtual")
COUNTS = Profile((300, 100), 410, "instructions", "cmsdk-timer", 0, 5, "qemu")


def test_json() -> None:
    found = json.loads(json.dumps(profile_json(CYCLES, ["conv", "add"])))
    assert found["unit"] == "cycles (estimated)"
    assert found["layers"][0] == {"name": "conv", "value": 300, "share": 0.75}
    assert profile_json(COUNTS, ["conv", "add"])["hz"] is None


def test_trace_has_time_only_where_there_is_one() -> None:
    head, first, second = chrome_trace(CYCLES, ["conv", "add"])["traceEvents"]
    assert (first["dur"], second["ts"], second["dur"]) == (3.0, 3.0, 1.0)
    assert head["args"]["name"] == "virtual (cycles (estimated))"
    head, first, second = chrome_trace(COUNTS, ["conv", "add"])["traceEvents"]
    assert (first["dur"], second["ts"]) == (300, 300)
    assert "1 us stands for 1" in head["args"]["name"]


def test_names_must_fit() -> None:
    with pytest.raises(ValueError, match="1 names for 2 layers"):
        profile_json(CYCLES, ["conv"])
