"""A processing from a YAML file."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.processing.audio_step import Audio
from edgekit.processing.check import shown
from edgekit.processing.image_step import Image
from edgekit.processing.model import Processing
from edgekit.processing.output_step import Classify, Detect

STEPS: dict[str, type] = {"audio": Audio, "image": Image, "classify": Classify, "detect": Detect}
OTHER = ("input", "calibrate")
#: A file of settings is small; more is not read.
MOST_BYTES = 1 << 16


def load(path: str | Path) -> Processing:
    """Read `path`: a mapping with `audio` or `image`, `classify` or `detect`, `input`, `calibrate`.

    Raises:
        EdgekitError: E184 where the file cannot be read or is no YAML, E185 for unknown settings,
            E181 to E183 for values that make no sense.
    """
    path = Path(path)
    content = _content(path)
    steps = {}
    for key, value in content.items():
        if key in OTHER:
            continue
        if key not in STEPS:
            raise EdgekitError(
                "E185", f"{path.name}: '{key}' is no setting", help=did_you_mean(str(key), _keys())
            )
        steps[key] = _step(path, key, value)
    for first, second in (("audio", "image"), ("classify", "detect")):
        if first in steps and second in steps:
            raise EdgekitError(
                "E185",
                f"{path.name} has both '{first}' and '{second}'",
                help="one step in front of the model and one behind it are possible",
            )
    at = content.get("input")
    if at is not None and not isinstance(at, str):
        raise EdgekitError(
            "E181", f"{path.name}: input is {shown(at)}", help="the name of an input of the model"
        )
    return Processing(
        before=steps.get("audio", steps.get("image")),
        after=steps.get("classify", steps.get("detect")),
        at=at,
        calibrate=content.get("calibrate", "raw"),
    )


def _content(path: Path) -> dict[Any, Any]:
    import yaml  # type: ignore[import-untyped]

    help = "a text file of lines 'setting: value', see docs/PROCESSING.md"
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise EdgekitError("E184", f"{path.name} has more than {MOST_BYTES} bytes", help=help)
        # Aliases of aliases are the bombs of this format, and settings need none.
        if any(isinstance(e, yaml.AliasEvent) for e in yaml.parse(raw, Loader=yaml.SafeLoader)):
            raise EdgekitError("E184", f"{path.name} has aliases (*name)", help=help)
        content = yaml.safe_load(raw)
    except OSError as error:
        raise EdgekitError(
            "E184", f"cannot read '{path}': {error.strerror or error}", help=help
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise EdgekitError("E184", f"{path.name}{line} is no YAML: {first}", help=help) from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise EdgekitError("E184", f"{path.name} holds {kind}, not settings", help=help)
    return content


def _step(path: Path, key: str, value: Any) -> Any:
    settings = {} if value is None else value
    if not isinstance(settings, dict):
        raise EdgekitError(
            "E185",
            f"{path.name}: '{key}' is {shown(settings)}, not settings",
            help=f"write '{key}:' and its settings in indented lines below",
        )
    known = [f.name for f in fields(STEPS[key])]
    for name in settings:
        if name not in known:
            raise EdgekitError(
                "E185",
                f"{path.name}: {key} has no setting '{name}'",
                help=did_you_mean(str(name), known),
            )
    missing = [f.name for f in fields(STEPS[key]) if _required(f) and f.name not in settings]
    if missing:
        raise EdgekitError(
            "E185", f"{path.name}: {key} needs '{missing[0]}'", help=f"settings: {', '.join(known)}"
        )
    return STEPS[key](**{name: _read(v) for name, v in settings.items()})


def _read(value: Any) -> Any:
    """A number such as 1e-6, which is text in YAML 1.1 for want of a point, as a number; so in a
    list."""
    if isinstance(value, list):
        return [v if isinstance(v, list) else _read(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]{1,3}", value):
        return float(value)
    return value


def _required(f: Any) -> bool:
    from dataclasses import MISSING

    return f.default is MISSING and f.default_factory is MISSING


def _keys() -> list[str]:
    return [*STEPS, *OTHER]
