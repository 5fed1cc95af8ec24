"""Traces of power analysers with known contents, in the forms that they export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Signal:
    """A pin's changes, seconds and levels, and currents: amperes from each time on."""

    changes: tuple[tuple[float, bool], ...]
    currents: tuple[tuple[float, float], ...]

    def level(self, at: np.ndarray) -> np.ndarray:
        times = np.array([t for t, _ in self.changes])
        levels = np.array([False, *(high for _, high in self.changes)])
        return levels[np.searchsorted(times, at, side="right")]

    def amperes(self, at: np.ndarray) -> np.ndarray:
        times = np.array([t for t, _ in self.currents])
        values = np.array([self.currents[0][1], *(i for _, i in self.currents)])
        return values[np.searchsorted(times, at, side="right")]


def runs_of(
    layers: Sequence[float], amperes: Sequence[float], runs: int, idle: float = 1e-3,
    start: float = 0.002,
) -> Signal:  # fmt: skip
    """`runs` runs of layers that take so many seconds and so many amperes, a pause between."""
    changes, currents, now = [], [(0.0, idle)], start
    for _ in range(runs):
        high = False
        for seconds, current in zip(layers, amperes, strict=True):
            high = not high
            changes.append((now, high))
            currents.append((now, current))
            now += seconds
        changes.append((now, not high))
        currents.append((now, idle))
        now += 0.001
        if not high:  # an even number of layers ends high
            changes.append((now, False))
        now += 0.0017
    return Signal(tuple(changes), tuple(currents))


def sample(signal: Signal, rate: float, phase: float, end: float) -> tuple[np.ndarray, ...]:
    """Seconds, amperes and levels at `rate` per second."""
    at = np.arange(phase / rate, end, 1 / rate)
    return at, signal.amperes(at), signal.level(at)


def ppk2(path: Path, at: np.ndarray, amperes: np.ndarray, level: np.ndarray, bundled: bool = True,
         pin: int = 0) -> Path:  # fmt: skip
    """As nRF Connect's Power Profiler exports: milliseconds, microamperes, eight pins."""
    heads = ["D0-D7"] if bundled else [f"D{i}" for i in range(8)]
    lines = [",".join(["Timestamp(ms)", "Current(uA)", *heads])]
    for t, i, high in zip(at, amperes, level, strict=True):
        pins = [str(int(high)) if k == pin else "0" for k in range(8)]
        lines.append(f"{1e3 * t:.6f},{1e6 * i:.3f}," + ("" if bundled else ",").join(pins))
    path.write_text("\n".join(lines) + "\n")
    return path


def joulescope(path: Path, at: np.ndarray, amperes: np.ndarray, level: np.ndarray,
               volts: float) -> Path:  # fmt: skip
    """Seconds, amperes, volts and a general-purpose input."""
    lines = ["#time,current,voltage,power,gpi0"]
    lines += [
        f"{t:.9f},{i:.9g},{volts:.6g},{i * volts:.9g},{int(high)}"
        for t, i, high in zip(at, amperes, level, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def otii(path: Path, at: np.ndarray, amperes: np.ndarray, level: np.ndarray, volts: float) -> Path:
    """Semicolons, decimal commas, units in the header."""
    lines = ['"Timestamp (s)";"Main current - Arc (mA)";"Main voltage - Arc (V)";"GPI 1 - Arc"']
    lines += [
        f"{t:.7f};{1e3 * i:.6f};{volts:.3f};{int(high)}".replace(".", ",")
        for t, i, high in zip(at, amperes, level, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path
