"""Compiled models as a library for programs under Linux: output folders in, one folder out.

OUT/libNAME.so      needs no libc, stripped; for programs with glibc, musl or bionic
OUT/libNAME.a       the same as one object
OUT/NAME.h          the API of both
OUT/NAME.py         the same for Python, with numpy
OUT/ek_pool.h, .c   a pool of threads, for programs that have none; libek_pool.so for Python
OUT/library.json    says that the folder is ours; the figures

One of the folders may be for GPUs: its bundle is then in the libraries, and the runtime for it.
It appears under its name only when everything in it is written.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.devices.find import find_target
from edgekit.library import link
from edgekit.library.members import opened
from edgekit.library.sources import Sources, sources_of
from edgekit.output import check_writable, write_folder
from edgekit.version import __version__

Progress = Callable[[str, float], None]
MARKER = "library.json"
#: Where `build` writes unless it is told otherwise, in the first output folder.
FOLDER = "library"


@dataclass(frozen=True)
class Program:
    """One CPU's program in a library. Bytes of constants: all that it reads."""

    target: str
    hash: str
    threads: int
    arena: int
    kernels: int
    constants: int


@dataclass(frozen=True)
class Library:
    """What `build` wrote. Bytes of constants (equal ones once), of an instance, of the files."""

    path: Path
    name: str
    programs: tuple[Program, ...]
    kernels: int
    constants: int
    context: int
    shared: int
    static: int
    #: Of the constants: the bundle that a GPU's part of the model is read from; 0: none.
    bundle: int = 0

    @property
    def shared_code(self) -> int:
        """The shared library without constants."""
        return self.shared - self.constants

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps."""
        return {
            "name": self.name,
            "programs": [asdict(p) for p in self.programs],
            "kernels": self.kernels,
            "constant_bytes": self.constants,
            "bundle_bytes": self.bundle,
            "constant_bytes_alone": sum(p.constants for p in self.programs),
            "context_bytes": self.context,
            "shared_bytes": self.shared,
            "shared_bytes_without_constants": self.shared_code,
            "static_bytes": self.static,
        }


def build(
    folders: Sequence[Path], output: Path | None = None, *, progress: Progress | None = None
) -> Library:
    """Make a library of the compiled models in `folders`, which are one model for several CPUs.

    Args:
        output: the folder to write; None for `FOLDER` in the first of `folders`.

    Raises:
        EdgekitError: E371 to E374 where the folders do not go together, E348 where one cannot be
            rebuilt as it was compiled; E40x, E50x and E70x from reading, compiling and writing.
    """
    say = progress or (lambda stage, share: None)
    found = opened(folders)
    output = Path(folders[0]) / FOLDER if output is None else Path(output)
    check_writable(output, MARKER)
    sources = sources_of(found, say)
    say("compiling", 0.0)
    linked = _linked(sources)
    name = sources.name
    library = Library(
        output,
        name,
        tuple(
            Program(
                m.program.target, m.hash.hex(), m.program.threads, m.program.arena_bytes,
                len(m.program.kernels), len(m.program.constants),
            )
            for m in sources.members
        ),
        len({k.fingerprint for m in sources.members for k in m.program.kernels}),
        sources.constant_bytes,
        sources.context_bytes,
        len(linked[f"lib{name}.so"]),
        len(linked[f"lib{name}.a"]),
        sources.bundle_bytes,
    )  # fmt: skip
    say("write", 1.0)
    about = {"edgekit": __version__, **library.as_json()}
    marker = json.dumps(about, indent=1) + "\n"
    write_folder(output.absolute(), {**linked, **sources.beside, MARKER: marker})
    return library


def _linked(sources: Sources) -> dict[str, bytes]:
    """The libraries by file name."""
    name, targets = sources.name, [find_target(m.program.target) for m in sources.members]
    # A target for GPUs has the same CPUs, but programs with a C library.
    cpus = [t for t in targets if not t.gpu]
    target = cpus[0] if cpus else find_target(f"linux-{targets[0].architecture}")
    with tempfile.TemporaryDirectory(prefix="edgekit-") as temporary:
        work = Path(temporary)
        c_files = sources.write(work)
        objects = link.compiled(work, c_files, target, gpu=any(t.gpu for t in targets))
        shared, static = work / f"lib{name}.so", work / f"lib{name}.a"
        pool = work / "libek_pool.so"
        link.shared_library(objects, name, shared)
        link.static_library(objects, sources.api, static)
        link.pool_library(target, pool)
        return {path.name: path.read_bytes() for path in (shared, static, pool)}
