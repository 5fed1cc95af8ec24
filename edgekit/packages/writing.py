"""A package on disk: a folder or an archive, whole or not there, and never in somebody's place.

A folder that edgekit wrote is replaced when it is exported to again. Files that were added to it
(a build folder, a repository) stay; where one of ours was edited, nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.output import cannot_write, check_writable, write_folder
from edgekit.packages.archives import zipped
from edgekit.packages.contents import Contents
from edgekit.packages.labels import label_of
from edgekit.packages.libraries import Libraries
from edgekit.packages.registry import FORMS, Form, find_form
from edgekit.toolchain.cache import write_atomic

#: Says that a package is ours: form, model, how it was checked, and the hash of every file.
MARKER = "edgekit-package.json"
#: Suffixes that nobody gives to a folder.
_ARCHIVES = (".zip", ".pack", ".tar", ".tgz", ".gz", ".7z")
_SHOWN = 8
#: C99 7.1.2 and C11's, and what POSIX systems add that a model may be called.
_HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar
    wchar wctype malloc memory pthread sched semaphore strings unistd
"""
_C_HEADERS = frozenset(f"{name}.h" for name in _HEADERS.split())


@dataclass(frozen=True)
class Written:
    """A package that was written.

    Attributes:
        files: how many of ours; `nbytes` is their size together, unpacked.
        kept: files that were in the folder and are not ours.
    """

    path: Path
    files: int
    nbytes: int
    kept: tuple[str, ...]


def check_outside(path: Path, output: Path) -> None:
    """E724 where the package would lie inside of the compilation that it is made from."""
    inner, outer = path.resolve(), output.resolve()
    if inner != outer and inner.is_relative_to(outer):
        raise EdgekitError(
            "E724",
            f"'{path}' is inside of '{output}', which edgekit replaces whole when it is made again",
            help="choose an -o beside it",
        )


def write_package(path: Path, form: Form, contents: Contents | Libraries) -> Written:
    """Write the package as a folder, or as an archive where `path` ends like one.

    Raises:
        EdgekitError: E703 where something is there that is not ours; E704 where writing fails;
            E720 where files of ours were edited; E721 for an archive that the form has not; E723
            for a name that the form does not take; E724 for the current folder; E726 for a CPU
            that the form is not for. Nothing is then written.
    """
    _check_name(form, contents)
    if isinstance(contents, Contents) and contents.hosted and not form.hosted:
        others = [name for name in FORMS if find_form(name).hosted]
        raise EdgekitError(
            "E726",
            f"'{contents.name}' was compiled for {contents.target.name}, --as {form.name} is for "
            "microcontrollers",
            help=f"--as {' or '.join(others)}",
        )
    suffix = path.suffix.lower()
    wanted = form.archive_name(contents) if form.archive_name else path.name
    if suffix in form.archives and path.name != wanted:
        raise EdgekitError(
            "E721",
            f"no tool for --as {form.name} takes an archive that is called '{path.name}'",
            help=f"-o {path.with_name(wanted)}",
        )
    if form.archive_only and suffix not in (*form.archives, *_ARCHIVES):
        path, suffix = path / wanted, form.archives[0]
    files = form.files(contents)
    folder = form.info_folder(contents) if form.info_folder else ""
    files[folder + MARKER] = _marker(form, contents, files)
    if form.seal is not None:
        files |= form.seal(contents, files)
    if suffix in form.archives:
        kept: tuple[str, ...] = ()
        _write_archive(path, files, "" if form.root else f"{contents.name}/")
    elif suffix in _ARCHIVES:
        raise EdgekitError(
            "E721",
            f"--as {form.name} is not written as '{path.name}'",
            help=f"-o with a folder, or a file that ends in {' or '.join(form.archives)}",
        )
    else:
        kept = _write_folder(path, files)
    return Written(path, len(files), sum(map(len, files.values())), kept)


def _check_name(form: Form, contents: Contents | Libraries) -> None:
    name = contents.name
    for header in contents.public:
        if header in _C_HEADERS:
            raise EdgekitError(
                "E723",
                f"the header '{header}' would hide that of the C library from a whole project",
                help="compile a model file of another name: the header is called after it",
            )
    if len(name) > form.longest or not name[:1].isalnum():
        raise EdgekitError(
            "E723",
            f"the name '{name}' has {len(name)} characters, --as {form.name} takes {form.longest}, "
            "a letter first",
            help="compile a model file of another name: the package is called after it",
        )


def _marker(form: Form, contents: Contents | Libraries, files: Mapping[str, bytes]) -> bytes:
    about = {
        "form": form.name,
        **contents.summary,
        "checked": label_of(form.name),
        "files": {name: _digest(data) for name, data in sorted(files.items())},
    }
    return (json.dumps(about, indent=1) + "\n").encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_folder(path: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    if path.resolve() == Path.cwd():
        raise EdgekitError(
            "E724",
            f"'{path}' is the folder that you are in: a new one would be put in its place",
            help="go one folder up and name it",
        )
    check_writable(path, MARKER)
    path = path.absolute()
    try:
        added = _added(path, files)
    except OSError as error:
        raise cannot_write(path, error) from None

    def add(staging: Path) -> None:
        for name in added:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path / name, staging / name, follow_symlinks=False)

    write_folder(path, files, add)
    return added


def _added(path: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Files in the folder that are not ours; E720 where writing would lose somebody's work."""
    if not (path / MARKER).is_file():
        return ()
    ours = _recorded((path / MARKER).read_bytes(), path)
    there = sorted(
        p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_symlink() or not p.is_dir()
    )
    others = [name for name in there if name not in ours and name != MARKER]
    edited = [
        name for name in there if name in ours and ours[name] != _digest((path / name).read_bytes())
    ]
    edited += [name for name in others if name in files]
    if edited:
        raise EdgekitError(
            "E720",
            f"{len(edited)} of {len(ours)} files of the package '{path}' were edited",
            details=[*edited[:_SHOWN], *(["..."] if len(edited) > _SHOWN else [])],
            help="export to another folder and carry your changes over, or delete these files",
        )
    return tuple(others)


def _recorded(marker: bytes, path: Path) -> dict[str, str]:
    """The hashes that a package's marker holds; E703 where it is none of ours."""
    try:
        about: Any = json.loads(marker)
        files = about["files"]
        if isinstance(files, dict) and about["form"]:
            return files
    except (ValueError, KeyError, TypeError):
        pass
    raise EdgekitError(
        "E703",
        f"'{path}' has a {MARKER} that edgekit did not write: it is not ours to replace",
        help="choose another -o",
    )


def _write_archive(path: Path, files: Mapping[str, bytes], prefix: str) -> None:
    """A zip with the same bytes every time; `prefix` stands before every name."""
    if path.is_symlink() or path.exists():
        _check_archive(path)
    try:
        write_atomic(path, zipped(files, prefix))
    except OSError as error:
        raise cannot_write(path, error) from None


def _check_archive(path: Path) -> None:
    """E703 where the file is not a package of ours."""
    try:
        if path.is_file() and not path.is_symlink():
            with zipfile.ZipFile(path) as archive:
                if any(n.rpartition("/")[2] == MARKER for n in archive.namelist()):
                    return
    except (OSError, zipfile.BadZipFile):
        pass
    raise EdgekitError(
        "E703", f"'{path}' exists and is not a package of edgekit's", help="choose another -o"
    )
