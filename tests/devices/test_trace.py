"""Profiles as JSON and as a Chrome trace."""

from __future__ import annotations

import json

import pytest

from edgekit.devices.profile import Profile, Run, Work
from edgekit.devices.trace import chrome_trace, profile_json

CYCLES = Profile((300, 100), 410, "cycles (estimated)", "dwt", 100_000_000, 5, "virtual")
COUNTS = Profile((300, 100), 410, "instructions", "cmsdk-timer", 0, 5, "qemu")


def test_json() -> None:
    found = json.loads(json.dumps(profile_json(CYCLES, ["conv", "add"])))
    assert found["unit"] == "cycles (estimated)"
    flat = {"min": 300, "median": 300, "max": 300}
    assert found["layers"][0] == {"name": "conv", "value": 300, "share": 0.75, **flat}
    assert (found["total_min"], found["total_median"], found["total_max"]) == (410, 410, 410)
    assert not found["cold"] and not found["interrupts_off"]
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


def test_the_arena_is_a_counter_track() -> None:
    events = chrome_trace(CYCLES, ["conv", "add"], arena=[2048, 512])["traceEvents"]
    counters = [e for e in events if e["ph"] == "C"]
    assert [(e["ts"], e["args"]["bytes in use"]) for e in counters] == [
        (0, 2048),
        (3.0, 512),
        (4.0, 512),
    ]
    json.dumps(events, allow_nan=False)
    with pytest.raises(ValueError, match="1 sizes of the arena for 2 layers"):
        chrome_trace(CYCLES, ["conv", "add"], arena=[1])


def test_the_accelerators_counters_are_those_of_the_fastest_run() -> None:
    runs = (
        Run(420, (300, 110), (Work(9, 9, 9, 9), Work(9, 9, 9, 9))),
        Run(410, (305, 100), (Work(200, 60, 40, 5), Work(0, 99, 0, 0))),
    )
    profile = Profile((300, 100), 410, "cycles", "mcycle", 80_000_000, 2, "sim", runs, lanes=64)
    found = profile_json(profile, ["conv", "add"])
    assert found["lanes"] == 64
    work = {"steps": 200, "waited": 60, "moved": 40, "stalled": 5}
    assert found["layers"][0]["accelerator"] == work
    assert chrome_trace(profile, ["conv", "add"])["traceEvents"][1]["args"] == {
        "cycles": 300,
        **work,
    }
    assert profile.utilisation(9600, 300) == 0.5
    assert profile.utilisation(9600, 148) == 1 and profile.utilisation(9600, 30) is None
    assert CYCLES.utilisation(9600, 300) is None and "lanes" not in profile_json(CYCLES, ["a", "b"])
