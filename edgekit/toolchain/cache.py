"""A folder of build products named by the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

_INCLUDE = re.compile(rb"^[ \t]*(?:#[ \t]*include|\.incbin)[ \t]*(.*)$", re.MULTILINE)
_NAME = re.compile(rb'[<"]([^">]+)[">]')


def cache_dir() -> Path:
    """``$EDGEKIT_CACHE_DIR``, or the platform's folder for caches with "edgekit" in it."""
    chosen = os.environ.get("EDGEKIT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "edgekit" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "edgekit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit"


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name and rename it, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner only
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def cached(key: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """The cache's file for `key`, made by ``make(path)`` where it is not there yet.

    `make` writes to a private path that is renamed afterwards: two processes may race, both win.
    """
    path = cache_dir() / "build" / key[:2] / (key + suffix)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix="part-"))
    try:
        make(folder / path.name)
        os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def key_of(parts: Iterable[str | bytes]) -> str:
    """A hash of the parts in order; their lengths count, so that parts cannot run together."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def source_key(source: Path, include: Sequence[Path]) -> list[bytes] | None:
    """The source's text and, in order, every file it includes from its folder or `include`.

    Includes in branches that the preprocessor skips count too. A header found nowhere is the
    compiler's own and belongs to its version; it still counts as absent, so that adding a file
    of that name rebuilds. Returns None where an include is computed (``#include MACRO``): such a
    source cannot be cached.
    """
    parts: list[bytes] = []
    seen: set[Path] = set()
    waiting = [source.resolve()]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        text = path.read_bytes()
        parts.append(text)
        if path.suffix not in (".c", ".h", ".S", ".inc"):
            continue
        for match in _INCLUDE.finditer(text):
            name = _NAME.match(match[1])
            if name is None:
                return None
            wanted = name[1].decode()
            found = next(
                (d / wanted for d in (path.parent, *include) if (d / wanted).is_file()), None
            )
            parts.append(name[0] + (b" found" if found else b" absent"))
            if found:
                waiting.append(found.resolve())
    return parts
