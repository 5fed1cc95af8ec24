"""Profiles as JSON, and as a Chrome trace (chrome://tracing, ui.perfetto.dev)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edgekit.devices.profile import Profile


def profile_json(profile: Profile, layers: Sequence[str]) -> dict[str, Any]:
    """A profile as plain values.

    Args:
        layers: the layers' names, one per entry of ``profile.layers``.

    Returns:
        Keys board, unit, counter, hz (units per second, or null), repeat, warm_ups, total (one
        measured run, the fastest), total_min, total_median, total_max, cold and interrupts_off
        (whether they were asked for), cold_how (what was emptied), warnings, and layers: a list of
        {name, value, share, min, median, max}, where value is the minimum and share its part of
        the minima's sum. On boards with an accelerator also lanes (its multiply-accumulates per
        cycle), and each layer has its counters in the fastest run as {steps, waited, moved,
        stalled} under accelerator; on boards with a GPU also device, and each layer has by, the
        variant that computed it and why others could not.
    """
    _check(profile, layers)
    whole = sum(profile.layers) or 1
    return {
        "board": profile.board,
        "unit": profile.unit,
        "counter": profile.counter,
        "hz": profile.hz or None,
        "repeat": profile.repeat,
        "warm_ups": profile.warm_ups,
        "total": profile.total,
        "total_min": profile.whole.min,
        "total_median": profile.whole.median,
        "total_max": profile.whole.max,
        "cold": bool(profile.cold),
        "cold_how": profile.cold,
        "interrupts_off": profile.interrupts_off,
        "warnings": list(profile.warnings),
        **({"lanes": profile.lanes} if profile.work else {}),
        **({"device": profile.device} if profile.device else {}),
        "layers": [
            {
                "name": name,
                "value": value,
                "share": round(value / whole, 6),
                **asdict(profile.layer(i)),
                **({"accelerator": asdict(profile.work[i])} if profile.work else {}),
                **({"by": profile.computed_by[i]} if profile.computed_by else {}),
            }
            for i, (name, value) in enumerate(zip(layers, profile.layers, strict=True))
        ],
    }


def chrome_trace(
    profile: Profile, layers: Sequence[str], arena: Sequence[int] = ()
) -> dict[str, Any]:
    """A profile as a Chrome trace, layers one after the other.

    Args:
        arena: bytes of the arena in use during each layer, where they are known: a counter track.

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
    work = [asdict(w) for w in profile.work] or [{} for _ in layers]
    for name, value, did in zip(layers, profile.layers, work, strict=True):
        events.append(
            {
                "name": name,
                "ph": "X",
                "pid": 1,
                "tid": 1,
                "ts": start * scale,
                "dur": value * scale,
                "args": {profile.unit: value, **did},
            }
        )
        start += value
    if arena:
        events += _arena_track([e for e in events if e["ph"] == "X"], arena)
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _arena_track(layers: Sequence[dict[str, Any]], arena: Sequence[int]) -> list[dict[str, Any]]:
    """Counter events at the start of every layer, and one at the end that closes the last step."""
    if len(arena) != len(layers):
        raise ValueError(f"{len(arena)} sizes of the arena for {len(layers)} layers")
    steps = [(e["ts"], n) for e, n in zip(layers, arena, strict=True)]
    last = layers[-1]
    return [
        {"name": "arena", "ph": "C", "pid": 1, "ts": ts, "args": {"bytes in use": n}}
        for ts, n in [*steps, (last["ts"] + last["dur"], steps[-1][1])]
    ]


def _check(profile: Profile, layers: Sequence[str]) -> None:
    if len(layers) != len(profile.layers):
        raise ValueError(f"{len(layers)} names for {len(profile.layers)} layers")
