"""Profiles as JSON, and as a Chrome trace (chrome://tracing, ui.perfetto.dev)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekit.devices.session import Profile


def profile_json(profile: Profile, layers: Sequence[str]) -> dict[str, Any]:
    """A profile as plain values.

    Args:
        layers: the layers' names, one per entry of ``profile.layers``.

    Returns:
        Keys board, unit, counter, hz (units per second, or null), repeat, total, and layers: a
        list of {name, value, share}, where share is the part of the layers' sum.
    """
    _check(profile, layers)
    whole = sum(profile.layers) or 1
    return {
        "board": profile.board,
        "unit": profile.unit,
        "counter": profile.counter,
        "hz": profile.hz or None,
        "repeat": profile.repeat,
        "total": profile.total,
        "layers": [
            {"name": name, "value": value, "share": round(value / whole, 6)}
            for name, value in zip(layers, profile.layers, strict=True)
        ],
    }


def chrome_trace(profile: Profile, layers: Sequence[str]) -> dict[str, Any]:
    """A profile as a Chrome trace, layers one after the other.

    The format knows only microseconds. Where the profile has no time (instructions), one
    microsecond stands for one instruction, and the process name says so.
    """
    _check(profile, layers)
    scale = 1e6 / profile.hz if profile.hz else 1.0
    note = profile.unit if profile.hz else f"{profile.unit}; 1 us stands for 1"
    events: list[dict[str, Any]] = [
        {
            "name": "process_name",
            "ph": "M",
            "pid": 1,
            "args": {"name": f"{profile.board} ({note})"},
        }
    ]
    start = 0
    for name, value in zip(layers, profile.layers, strict=True):
        events.append(
            {
                "name": name,
                "ph": "X",
                "pid": 1,
                "tid": 1,
                "ts": start * scale,
                "dur": value * scale,
                "args": {profile.unit: value},
            }
        )
        start += value
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _check(profile: Profile, layers: Sequence[str]) -> None:
    if len(layers) != len(profile.layers):
        raise ValueError(f"{len(layers)} names for {len(profile.layers)} layers")
