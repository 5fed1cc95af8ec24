"""Libraries and programs for the machine that edgekit runs on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit.toolchain.cache import cached, key_of
from edgekit.toolchain.compiler import find_compiler

SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g")
_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


def host_library(
    sources: Sequence[Path],
    *,
    include: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    opt: str = "-O2",
    flags: Sequence[str] = (),
    link_flags: Sequence[str] = (),
    compiler: str = "zig",
) -> Path:
    """Compile sources to a shared library for ctypes; returns its path in the cache.

    Raises:
        EdgekitError: E501, E502 or E503.
    """
    return _build(sources, include, defines, opt, flags, ("-shared", *link_flags), compiler)


def host_executable(
    sources: Sequence[Path],
    *,
    include: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    opt: str = "-O0",
    flags: Sequence[str] = (),
    sanitize: bool = False,
    compiler: str = "gcc",
) -> Path:
    """Compile sources to a program for this machine; returns its path in the cache.

    With `sanitize` (gcc only) the address and undefined-behaviour sanitizers stop the program at
    the first finding.
    """
    extra = SANITIZE if sanitize else ()
    return _build(sources, include, defines, opt, (*flags, *extra), extra, compiler)


def _build(
    sources: Sequence[Path],
    include: Sequence[Path],
    defines: Mapping[str, str] | None,
    opt: str,
    flags: Sequence[str],
    link_flags: Sequence[str],
    compiler: str,
) -> Path:
    cc = find_compiler(compiler)
    objects = cc.objects(sources, include=include, defines=defines, opt=opt, flags=flags)
    arguments = [*cc.target_flags, *link_flags]

    def make(path: Path) -> None:
        cc.run([*arguments, *map(str, objects), "-o", str(path)], "E503", "linking for the host")

    contents = [p.read_bytes() for p in objects]
    shared = "-shared" in link_flags
    suffix = _SUFFIX if shared else ".exe" if sys.platform == "win32" else ""
    return cached(key_of((cc.version, *arguments, "--", *contents)), suffix, make)
