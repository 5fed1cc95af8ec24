"""GNU make: a static library for any compiler prefix, and an example that `make run` runs."""

from __future__ import annotations

import shlex

from edgekit.packages import common
from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill
from edgekit.packages.example import emulator, machine_files, program_files

TITLE = "Makefile"
HOSTED = True


def files(contents: Contents) -> dict[str, bytes]:
    """The package: one Makefile, which other ones call with ``$(MAKE) -C``."""
    return {
        **common.papers(contents, "makefile", TITLE, _steps(contents)),
        "Makefile": _makefile(contents).encode(),
        **common.source_files(contents),
        **common.bare_files(contents),
        **common.below("example", program_files(contents)),
    }


def _makefile(contents: Contents) -> str:
    target = contents.target
    place, example = _target(contents)
    usage = (
        f"#   make TARGET={target.name}       both for the {target.name}\n"
        f"#   make TARGET={target.name} run   runs the example in QEMU\n"
    )
    return fill(
        "makefile/Makefile",
        **common.names(contents),
        sources=_lines([f"src/{s}" for s in contents.sources]),
        machine="\n" + place if place else "",
        **{"else": example},
        usage=usage if place else "",
    )


def _target(contents: Contents) -> tuple[str, str]:
    """What ``TARGET=...`` sets, and how the example is then linked; nothing without an emulator."""
    target, board = contents.target, contents.machine
    values = {
        "target": target.name,
        "cross": target.gcc_command.removesuffix("gcc"),
        "cpu": " ".join(contents.cpu_flags),
        "kernel_flags": " ".join(contents.kernel_flags),
    }
    if contents.hosted:
        place = fill("makefile/linux.txt", **values, emulator=contents.user_emulator)
        return place, fill("makefile/linux_example.txt")
    if board is None:
        return "", ""
    sources = [f"machine/{n}" for n in machine_files(board) if n.endswith((".c", ".S"))]
    return (
        fill("makefile/machine.txt", **values, emulator=shlex.join(emulator(board))),
        fill(
            "makefile/machine_example.txt",
            sources=_lines(sources),
            libraries=" ".join(target.gcc_libraries),
        ),
    )


def _lines(paths: list[str]) -> str:
    return " \\\n".join(f"    {path}" for path in paths)


def _steps(contents: Contents) -> str:
    return fill(
        "makefile/README.md",
        **common.names(contents),
        cpu=f" (the kernels were chosen for `{' '.join(contents.cpu_flags)}`)",
        machine=common.elsewhere(contents, "makefile"),
    )
