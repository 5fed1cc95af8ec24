"""Output folders of one model, for any CPUs under Linux, as what prebuilt packages are made of."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgekit.devices.find import find_target
from edgekit.errors import EdgekitError
from edgekit.library import Progress, build
from edgekit.output import open_output
from edgekit.packages import About, read_contents
from edgekit.packages.libraries import Built, Libraries
from edgekit.text import dumps


def libraries_of(
    folders: Sequence[Path], about: About, progress: Progress | None = None
) -> Libraries:
    """Make a library for each architecture of the compiled models in `folders`, all of one model.

    Raises:
        EdgekitError: E371 where they are different models; what `edgekit.library.build` and
            `read_contents` raise.
    """
    contents = read_contents(folders[0], "aot", about)
    by_architecture: dict[str, list[Path]] = {}
    first = open_output(folders[0])
    for path in folders:
        folder = open_output(path)
        if folder.name != first.name or dumps(folder.graph) != dumps(first.graph):
            raise EdgekitError(
                "E371",
                f"'{first.path}' is model '{first.name}', '{folder.path}' is "
                + (
                    f"model '{folder.name}'"
                    if folder.name != first.name
                    else "it with other numbers"
                ),
                help="compile all from one file with the same calibration data and options",
            )
        architecture = find_target(folder.target).architecture
        by_architecture.setdefault(architecture, []).append(path)
    found = []
    with tempfile.TemporaryDirectory(prefix="edgekit-") as temporary:
        for architecture, paths in by_architecture.items():
            made = build(paths, Path(temporary) / architecture, progress=progress)
            files = {p.name: p.read_bytes() for p in sorted(made.path.iterdir())}
            targets = tuple(program.target for program in made.programs)
            gpu = any(find_target(name).gpu for name in targets)
            found.append(Built(architecture, targets, files, gpu))
    return Libraries(contents, tuple(found))
