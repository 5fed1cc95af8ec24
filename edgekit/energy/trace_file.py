"""CSV files of power analysers: Nordic PPK2, Joulescope, Otii, and what else has a header.

A header names the columns, with units in parentheses or brackets where they are not SI. Separators
are commas, semicolons (then with decimal commas, too) or tabs.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.errors import EdgekitError, did_you_mean

#: What each role is called in the exports of known analysers, in lower case without units.
_ROLES = {
    "time": r"(time|timestamp|t|seconds)\b",
    "current": r"(i|amps|(\w+ )*current)\b",
    "voltage": r"(v|volts|voltage_v|(\w+ )*voltage)\b",
    "trigger": r"(d\d+(-d?\d+)?$|gpio?( ?\d+)?\b|trigger|digital|logic|general.?purpose)",
}
_UNITS = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "current": {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "na": 1e-9},
    "voltage": {"v": 1.0, "mv": 1e-3, "uv": 1e-6},
}
_NAMED = re.compile(r"^(?P<name>.*?)\s*[(\[]\s*(?P<unit>[^)\]]*?)\s*[)\]]\s*$")
#: One column with a character for each of several pins, the first for the first of them.
_BUNDLE = re.compile(r"^d(\d+)-d?(\d+)$")
_MOST_TRIGGERS = 64


@dataclass(frozen=True)
class PowerTrace:
    """Samples [n] in order: seconds, amperes, volts (None where not recorded), trigger's level."""

    seconds: np.ndarray
    amperes: np.ndarray
    volts: np.ndarray | None
    trigger: np.ndarray

    @property
    def interval(self) -> float:
        """The longest time between two samples, seconds."""
        return float(np.diff(self.seconds).max())


@dataclass(frozen=True)
class Columns:
    """Names of columns, where they are not to be found by themselves."""

    time: str | None = None
    current: str | None = None
    voltage: str | None = None
    trigger: str | None = None


def read_trace(path: Path, columns: Columns | None = None) -> PowerTrace:
    """Read a trace.

    Raises:
        EdgekitError: E665 where the file cannot be read, with the line; E666 where a column is
            missing, ambiguous, or has an unknown unit.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _parse(file, path.name, columns or Columns())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = getattr(error, "strerror", None) or error
        raise EdgekitError(
            "E665", f"cannot read trace '{path}': {said}", help="expected a CSV file with a header"
        ) from None


def _parse(lines: Iterable[str], name: str, wanted: Columns) -> PowerTrace:
    numbered = enumerate(lines, 1)
    head_line, header = _header(numbered, name)
    separator = max(",;\t", key=header.count)
    titles = [t.strip() for t in next(csv.reader([header], delimiter=separator))]
    found = _Header(titles, name, wanted)
    needed = [*found.numbers.values(), *found.triggers]
    data = {i: array("d") for i in found.numbers.values()}
    levels: dict[int, list[str]] = {i: [] for i in found.triggers}
    for number, line in numbered:
        if not line.strip():
            continue
        row = next(csv.reader([line], delimiter=separator))
        if len(row) <= max(needed):
            raise _bad_line(name, number, f"{len(row)} of {len(titles)} columns", line)
        for i, values in data.items():
            values.append(_number(row[i], separator, name, number, titles[i]))
        for i, texts in levels.items():
            texts.append(row[i].strip())
    seconds = np.array(data[found.numbers["time"]]) * found.scale["time"]
    _check_times(seconds, name, head_line)
    volts = found.numbers.get("voltage")
    return PowerTrace(
        seconds,
        np.array(data[found.numbers["current"]]) * found.scale["current"],
        None if volts is None else np.array(data[volts]) * found.scale["voltage"],
        _trigger(found, levels, name),
    )


def _header(lines: Iterator[tuple[int, str]], name: str) -> tuple[int, str]:
    """The first line that has something in it, without a leading '#'."""
    for number, line in lines:
        if line.strip():
            return number, line.strip().lstrip("#")
    raise EdgekitError("E665", f"trace '{name}' is empty")


class _Header:
    """Which column is what: `numbers` by role, `triggers` in order, `scale` to SI by role."""

    def __init__(self, titles: Sequence[str], name: str, wanted: Columns) -> None:
        self.titles, self.name, self.wanted = titles, name, wanted
        self.numbers: dict[str, int] = {}
        self.scale: dict[str, float] = {}
        for role in _UNITS:
            index = self._find(role, getattr(wanted, role))
            if index is not None:
                self.numbers[role] = index
                self.scale[role] = self._unit(role, titles[index])
        self.triggers = self._triggers()

    def _find(self, role: str, chosen: str | None) -> int | None:
        if chosen is not None:
            return self._by_name(chosen)
        for i, title in enumerate(self.titles):
            if re.match(_ROLES[role], _plain(title)):
                return i
        if role == "voltage":
            return None
        raise self._missing(role)

    def _by_name(self, chosen: str) -> int:
        for i, title in enumerate(self.titles):
            if chosen.strip().lower() in (title.lower(), _plain(title)):
                return i
        raise EdgekitError(
            "E666",
            f"trace '{self.name}' has no column '{chosen}'",
            help=did_you_mean(chosen, list(self.titles)),
        )

    def _missing(self, role: str) -> EdgekitError:
        return EdgekitError(
            "E666",
            f"trace '{self.name}' has no column for the {role}",
            details=["columns: " + ", ".join(self.titles)],
            help=f"name it with --{role}-column",
        )

    def _unit(self, role: str, title: str) -> float:
        named = _NAMED.match(title)
        unit = (named["unit"] if named else "").lower().replace("µ", "u").replace("μ", "u")
        if not unit:
            return 1.0
        if unit not in _UNITS[role]:
            raise EdgekitError(
                "E666",
                f"column '{title}' of trace '{self.name}' has the unit '{unit}', expected one of "
                f"{', '.join(_UNITS[role])}",
                help="rename the column in the header",
            )
        return _UNITS[role][unit]

    def _triggers(self) -> list[int]:
        chosen = self.wanted.trigger
        bundles = [i for i, t in enumerate(self.titles) if _BUNDLE.match(_plain(t))]
        if chosen is not None and re.fullmatch(r"[dD]\d+", chosen) and bundles:
            return bundles[:1]
        if chosen is not None:
            return [self._by_name(chosen)]
        found = [i for i, t in enumerate(self.titles) if re.match(_ROLES["trigger"], _plain(t))]
        if not found:
            raise self._missing("trigger")
        return found[:_MOST_TRIGGERS]


def _plain(title: str) -> str:
    named = _NAMED.match(title)
    return (named["name"] if named else title).strip().lower()


def _number(text: str, separator: str, name: str, line: int, title: str) -> float:
    written = text.strip()
    if separator != ",":
        written = written.replace(",", ".")
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _bad_line(name, line, f"'{title}' is no number", text)
    return value


def _bad_line(name: str, line: int, what: str, text: str) -> EdgekitError:
    return EdgekitError(
        "E665",
        f"trace '{name}', line {line}: {what}: '{text.strip()[:60]}'",
        help="was the export interrupted? remove what is damaged, or export again",
    )


def _check_times(seconds: np.ndarray, name: str, head_line: int) -> None:
    if len(seconds) < 2:
        raise EdgekitError("E665", f"trace '{name}' has {len(seconds)} samples, 2 are needed")
    back = np.flatnonzero(np.diff(seconds) <= 0)
    if len(back):
        at = int(back[0])
        raise EdgekitError(
            "E665",
            f"trace '{name}': sample {at + 2} (line {head_line + at + 2} or later) is at "
            f"{seconds[at + 1]:g} s, the one before at {seconds[at]:g} s",
            help="samples have to be in order; export with more digits where times are rounded",
        )


def _trigger(header: _Header, columns: dict[int, list[str]], name: str) -> np.ndarray:
    """The level of the one pin that was chosen, or that moves."""
    pins: dict[str, np.ndarray] = {}
    for i, texts in columns.items():
        pins |= _pins(header.titles[i], texts, name)
    chosen = header.wanted.trigger
    if chosen is not None and len(pins) > 1:
        pins = {n: x for n, x in pins.items() if n.lower() == chosen.lower()}
    moving = [n for n, x in pins.items() if x.any() and not x.all()]
    if len(moving) == 1:
        return pins[moving[0]]
    if len(pins) == 1:
        return next(iter(pins.values()))
    raise EdgekitError(
        "E666",
        f"trace '{name}' has {len(moving)} pins that move, 1 is needed"
        + (f": {', '.join(moving)}" if moving else f" (there are {', '.join(pins)})"),
        help="name the pin that is wired to the board's trigger with --trigger-column",
    )


def _pins(title: str, texts: Sequence[str], name: str) -> dict[str, np.ndarray]:
    """Levels by pin of one column."""
    bundle = _BUNDLE.match(_plain(title))
    if bundle is None:
        return {title: np.array([_high(t, title, name) for t in texts], bool)}
    first, last = int(bundle[1]), int(bundle[2])
    width = last - first + 1
    wrong = (i for i, t in enumerate(texts) if len(t) != width or t.strip("01"))
    bad = 0 if width < 1 else next(wrong, None)
    if bad is not None:
        raise EdgekitError(
            "E665",
            f"trace '{name}': column '{title}' must have {width} characters 0 or 1 in every line; "
            f"sample {bad + 1} of {len(texts)} has '{texts[bad][:20]}'",
            help="was the file cut off? leave its last line away"
            if bad == len(texts) - 1
            else "spreadsheets drop leading zeros: use the file as the analyser wrote it",
        )
    return {f"D{first + k}": np.array([t[k] == "1" for t in texts], bool) for k in range(width)}


def _high(text: str, title: str, name: str) -> bool:
    try:
        return float(text.replace(",", ".")) > 0.5
    except ValueError:
        raise EdgekitError(
            "E665", f"trace '{name}': '{text[:20]}' in column '{title}' is no level, 0 or 1"
        ) from None
