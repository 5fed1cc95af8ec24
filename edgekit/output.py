"""The folder that `compile` writes and every later command reads.

    OUT/edgekit.json    says that the folder is ours; name, target, hash, the report
    OUT/model.ekb       the bundle
    OUT/graph.txt       the integer graph, for people and for the numpy reference
    OUT/src/            generated C: kernels, the interpreter's table, ahead-of-time entry points
    OUT/src/edgekit/    the runtime that they were made for

It appears under its name only when everything in it is written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgekit.bundle import Bundle, read_bundle
from edgekit.errors import EdgekitError
from edgekit.graph import Graph

MARKER = "edgekit.json"
BUNDLE = "model.ekb"
GRAPH = "graph.txt"
SOURCES = "src"


@dataclass(frozen=True)
class Output:
    """An output folder that has been found to be ours."""

    path: Path

    @cached_property
    def description(self) -> dict[str, Any]:
        """The contents of edgekit.json."""
        data: dict[str, Any] = json.loads((self.path / MARKER).read_text(encoding="utf-8"))
        return data

    @cached_property
    def bundle(self) -> Bundle:
        path = self.path / BUNDLE
        return read_bundle(_read(path), str(path))

    @cached_property
    def graph(self) -> Graph:
        """The integer graph."""
        from edgekit.text import loads

        try:
            return loads(_read(self.path / GRAPH).decode("utf-8"))
        except UnicodeDecodeError:
            raise EdgekitError(
                "E702", f"{self.path / GRAPH} is damaged: not UTF-8", help="compile again"
            ) from None

    def check_kernels(self) -> Bundle:
        """The bundle, if the generated C in this folder has every kernel that it names.

        Raises:
            EdgekitError: E406 with both lists, where bundle and C are of different compilations;
                E40x where the bundle is damaged.
        """
        text = _read(self.sources / "registry.c").decode("utf-8", "replace")
        have = {int(digits, 16) for digits in re.findall(r"UINT64_C\(0x([0-9a-f]{16})\)", text)}
        missing = [k for k in self.bundle.kernels if k not in have]
        if missing:
            raise EdgekitError(
                "E406",
                f"{self.path / BUNDLE} needs {len(missing)} kernels that {self.sources} has not",
                details=[
                    "needed: " + " ".join(f"{k:016x}" for k in self.bundle.kernels),
                    "there:  " + " ".join(f"{k:016x}" for k in sorted(have)),
                ],
                help="bundle and sources are of different compilations: compile again",
            )
        return self.bundle

    @property
    def sources(self) -> Path:
        return self.path / SOURCES

    @property
    def name(self) -> str:
        return str(self.description["name"])

    @property
    def target(self) -> str:
        return str(self.description["target"])


def open_output(path: Path) -> Output:
    """The output folder at `path`.

    Raises:
        EdgekitError: E701 where there is no such folder or it is not ours, E347 where it is one of
            several models.
    """
    marker = path / MARKER
    try:
        description = json.loads(marker.read_text(encoding="utf-8"))
        if isinstance(description, dict) and isinstance(models := description.get("models"), list):
            raise EdgekitError(
                "E347",
                f"'{path}' joins {len(models)} models, and one is wanted",
                details=[str(path / str(name)) for name in models],
                help="name the folder of one of them",
            )
        ours = isinstance(description, dict) and "name" in description and "target" in description
    except (OSError, ValueError):
        ours = False
    if not ours:
        what = "is not a folder that edgekit compile wrote" if path.exists() else "does not exist"
        if marker.is_file():
            what = f"has a damaged {MARKER}, or one that edgekit compile did not write"
        raise EdgekitError(
            "E701", f"'{path}' {what}", help="edgekit compile MODEL --target T -o OUT makes one"
        )
    return Output(path)


def check_writable(path: Path, marker: str = MARKER) -> None:
    """Refuse, before any work is done, a destination that is somebody else's.

    Args:
        marker: the file that says that a folder is ours.

    Raises:
        EdgekitError: E703; E704 where it cannot even be looked at.
    """
    try:
        _check_ours(path, marker)
    except OSError as error:
        raise cannot_write(path, error) from None


def _check_ours(path: Path, marker: str) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise EdgekitError(
            "E703", f"'{path}' exists and is not a folder", help="choose another -o OUT"
        )
    if path.is_dir() and not (path / marker).is_file() and any(path.iterdir()):
        raise EdgekitError(
            "E703",
            f"folder '{path}' has {len(list(path.iterdir()))} entries and none is {marker}: "
            "it is not ours to replace",
            help="choose another -o OUT, or empty the folder",
        )


def write_output(
    path: Path, files: Mapping[str, bytes | str], description: Mapping[str, Any]
) -> Output:
    """Write all files under a temporary name beside `path`, then put them in its place.

    Args:
        files: contents by name relative to the folder.
        description: what goes into edgekit.json.

    Raises:
        EdgekitError: E703 as `check_writable`, E704 where writing fails; `path` is then untouched.
    """
    check_writable(path)
    path = path.absolute()
    write_folder(path, {**files, MARKER: json.dumps(description, indent=1) + "\n"})
    return Output(path)


def write_folder(
    path: Path,
    files: Mapping[str, bytes | str],
    add: Callable[[Path], None] = lambda staging: None,
) -> None:
    """Put a folder of just these files in the place of `path`, whole or not at all.

    Whether what is there may be replaced is the caller's to check.

    Args:
        path: absolute.
        files: contents by name relative to the folder.
        add: called with the folder under its temporary name, to add more to it.

    Raises:
        EdgekitError: E704 where writing fails; `path` is then untouched.
    """
    staging: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.part-", dir=path.parent))
        staging.chmod(0o755)
        for name, data in files.items():
            file = staging / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data.encode() if isinstance(data, str) else data)
        add(staging)
        _replace(staging, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        if staging is not None and staging.exists():
            shutil.rmtree(staging, ignore_errors=True)


def cannot_write(path: Path, error: OSError) -> EdgekitError:
    """E704 for a destination that the operating system refuses."""
    return EdgekitError(
        "E704", f"cannot write '{path}': {error.strerror or error}", help="check rights and space"
    )


def _replace(staging: Path, path: Path) -> None:
    """Rename `staging` to `path`; a folder that is there already is moved aside first."""
    if not path.exists():
        os.replace(staging, path)
        return
    aside = staging.with_name(staging.name + ".old")
    os.replace(path, aside)
    try:
        os.replace(staging, path)
    except OSError:
        os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EdgekitError(
            "E702", f"cannot read {path}: {error.strerror or error}", help="compile again"
        ) from None
