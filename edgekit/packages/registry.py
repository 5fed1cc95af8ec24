"""Which forms of package there are: the modules of `forms` (sources) and `prebuilt` (libraries)."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.packages import forms, prebuilt


def _name(module: str) -> str:
    return module.replace("_", "-")


#: Names of all forms, in the order of the alphabet.
FORMS = tuple(sorted(_name(m.name) for m in pkgutil.iter_modules(forms.__path__)))
#: Those of compiled libraries, which are made of one or more output folders.
PREBUILT = tuple(sorted(_name(m.name) for m in pkgutil.iter_modules(prebuilt.__path__)))


@dataclass(frozen=True)
class Form:
    """A form of package: what its module defines. Functions take `Contents`, those of prebuilt
    forms `Libraries`.

    Attributes:
        name: what `--as` takes.
        title: what people call it.
        files: the package's files by path relative to its folder (forward slashes).
        archives: suffixes of the archive files that this form comes in.
        root: whether an archive has the files at its root, not below one folder.
        longest: the longest name that this form's rules allow.
        hosted: whether it is for programs under an operating system, too.
        archive_name: what an archive has to be called; None where it does not matter.
        archive_only: whether the form is never a folder: one is where the archive is put.
        info_folder: where in the package its marker lies, ending in a slash; None for its root.
        seal: makes what holds the hashes of all other files; None where there is no such file.
    """

    name: str
    title: str
    files: Callable[[Any], dict[str, bytes]]
    archives: tuple[str, ...]
    root: bool
    longest: int
    hosted: bool
    archive_name: Callable[[Any], str] | None
    archive_only: bool
    info_folder: Callable[[Any], str] | None
    seal: Callable[[Any, Mapping[str, bytes]], dict[str, bytes]] | None

    @property
    def prebuilt(self) -> bool:
        """Whether it is made of libraries."""
        return self.name in PREBUILT


def find_form(name: str) -> Form:
    """The form called `name`, one of `FORMS` or `PREBUILT`; its module is loaded now."""
    package = prebuilt if name in PREBUILT else forms
    module = importlib.import_module(f"{package.__name__}.{name.replace('-', '_')}")
    return Form(
        name,
        module.TITLE,
        module.files,
        getattr(module, "ARCHIVES", (".zip",)),
        getattr(module, "ARCHIVE_ROOT", False),
        getattr(module, "LONGEST_NAME", 63),
        getattr(module, "HOSTED", name in PREBUILT),
        getattr(module, "archive_name", None),
        getattr(module, "ARCHIVE_ONLY", False),
        getattr(module, "info_folder", None),
        getattr(module, "seal", None),
    )
