"""Output folders as contents of packages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekit.devices.find import find_target
from edgekit.devices.firmware.model import RUNTIME, RUNTIME_FOLDER
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, MARKER, SOURCES, Output, open_output
from edgekit.packages.bundles import bundle_files
from edgekit.packages.contents import About, Contents, Model
from edgekit.packages.ctext import one_line

_SOURCES = (".c", ".S")
_HEADERS = (".h", ".hpp", ".inc", ".rs")
_QUOTED = re.compile(r'^([ \t]*#[ \t]*include[ \t]*)"([^"/]+)"', re.MULTILINE)
#: The header that programs for an accelerator bring.
ACCELERATOR = "npu_config.h"
_NOBODY = About()


def read_contents(path: Path, mode: str = "aot", about: About = _NOBODY) -> Contents:
    """What the output folder at `path` has for a package: of one compilation, or of several that
    ``edgekit join`` gave one arena.

    Args:
        mode: one of `edgekit.devices.firmware.model.MODES`.

    Raises:
        EdgekitError: E701 where it is no such folder, E702 where a file cannot be read, E40x where
            a bundle is damaged, E406 where bundle and C are of different compilations, E722 where C
            files are missing, E350 where layers run on an accelerator.
    """
    joint = _joint(path)
    if joint is None:
        outputs, name, about_all = [output := open_output(path)], output.name, output.description
    else:
        outputs = [open_output(path / member) for member in joint["models"]]
        name, about_all = _package_name(path), joint
    sources = path / SOURCES
    models = tuple(_model(output) for output in outputs)
    found = _files(sources)
    if ACCELERATOR in found:
        raise EdgekitError(
            "E350",
            f"'{name}' runs layers on the accelerator of '{outputs[0].target}', for which there is "
            "no package: its registers and caches are a board's",
            help="edgekit flash builds firmware for a board that has it; docs/ACCELERATOR.md says "
            "what a program of your own links",
        )
    names = [model.name for model in models]
    _check_complete(sources, found, names)
    leave = _left_out(names, mode)
    kept = _flat({k: v for k, v in found.items() if k.rpartition("/")[2] not in leave})
    if mode == "interpreter":
        for model in models:
            kept |= bundle_files(model, joint=joint is not None)
    return Contents(
        name=name,
        edgekit=_version(str(about_all.get("edgekit", ""))),
        target=find_target(outputs[0].target),
        mode=mode,
        sources={k: v for k, v in sorted(kept.items()) if k.endswith(_SOURCES)},
        headers={k: v for k, v in sorted(kept.items()) if k.endswith(_HEADERS)},
        models=models,
        arena_bytes=max(model.bundle.arena_bytes for model in models),
        about=about,
    )


def _joint(path: Path) -> dict[str, Any] | None:
    """The description of a joint folder; None where it is no such folder."""
    try:
        description = json.loads((path / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    members = description.get("models") if isinstance(description, dict) else None
    if not isinstance(members, list) or not members:
        return None
    simple = all(isinstance(name, str) and re.fullmatch(r"\w+", name) for name in members)
    return description if simple else None


def _package_name(path: Path) -> str:
    """A C identifier from a folder's name."""
    text = re.sub(r"\W", "_", path.resolve().name, flags=re.ASCII).strip("_") or "models"
    return f"m_{text}" if text[0].isdigit() else text


def _model(output: Output) -> Model:
    bundle = output.check_kernels()
    report = _table(output.description.get("report"))
    stack = _table(report.get("ram")).get("stack")
    return Model(
        name=output.name,
        file=one_line(str(output.description.get("model", ""))) or output.name,
        bundle=bundle,
        bundle_file=(output.path / BUNDLE).read_bytes(),
        stack_bytes=stack if isinstance(stack, int) else 0,
        board=str(report.get("board", "")),
    )


def _table(value: Any) -> dict[str, Any]:
    """A table of a description that somebody may have edited."""
    return value if isinstance(value, dict) else {}


def _files(sources: Path) -> dict[str, bytes]:
    try:
        return {
            path.relative_to(sources).as_posix(): path.read_bytes()
            for path in sorted(sources.rglob("*"))
            if path.is_file()
        }
    except OSError as error:
        raise EdgekitError(
            "E702",
            f"cannot read {error.filename}: {error.strerror or error}",
            help="compile again",
        ) from None


def _check_complete(sources: Path, found: Mapping[str, bytes], names: Iterable[str]) -> None:
    wanted = {"kernels.c", "kernels.h", "registry.c"}
    wanted |= {f"{name}{suffix}" for name in names for suffix in (".c", ".h")}
    wanted |= {f"{RUNTIME_FOLDER}/{name}" for name in (*RUNTIME, "edgekit.h")}
    missing = sorted(wanted - set(found))
    if missing:
        raise EdgekitError(
            "E722",
            f"{sources} has {len(found)} files, but not {', '.join(missing)}",
            help="compile again",
        )


def _left_out(names: Iterable[str], mode: str) -> set[str]:
    """Files of the other mode."""
    if mode == "aot":
        return {*RUNTIME, "registry.c"}
    return {f"{name}{suffix}" for name in names for suffix in (".c", *_HEADERS)}


def _flat(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Name the runtime's folder in includes, so that src/ is the only folder to search."""
    prefix = RUNTIME_FOLDER + "/"
    runtime = {k.removeprefix(prefix) for k in files if k.startswith(prefix)}
    tops = {k for k in files if "/" not in k}

    def named(match: re.Match[str]) -> str:
        file = match[2]
        if file in runtime and file not in tops:
            return f'{match[1]}"{prefix}{file}"'
        return match[0]

    return {
        name: _QUOTED.sub(named, data.decode("utf-8")).encode("utf-8") if name in tops else data
        for name, data in files.items()
    }


def _version(text: str) -> str:
    """Three numbers, as every registry of packages wants them, from a version of Python's."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", text)
    return ".".join(n or "0" for n in numbers.groups()) if numbers else "0.0.0"
