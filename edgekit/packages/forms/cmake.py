"""CMake: a library for add_subdirectory, FetchContent and find_package, with a CTest example."""

from __future__ import annotations

import shlex

from edgekit.packages import common
from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill
from edgekit.packages.example import emulator, machine_files, program_files

TITLE = "CMake package"
HOSTED = True


def files(contents: Contents) -> dict[str, bytes]:
    """The package; ``cmake/TARGET.cmake`` is a toolchain file, which nothing else needs."""
    values = _values(contents)
    return {
        **common.papers(contents, "cmake", TITLE, fill("cmake/README.md", **values)),
        "CMakeLists.txt": fill("cmake/CMakeLists.txt", **values).encode(),
        **common.source_files(contents),
        **common.bare_files(contents),
        **common.below("example", program_files(contents)),
        "example/CMakeLists.txt": _example(contents, values).encode(),
        f"cmake/{contents.target.name}.cmake": _toolchain(contents).encode(),
    }


def _values(contents: Contents) -> dict[str, object]:
    return {
        **common.names(contents),
        "kernel_flags": " ".join(contents.kernel_flags),
        "sources": _lines(["src/" + s for s in contents.sources]),
        "cpu": f"; the kernels were chosen for `{' '.join(contents.cpu_flags)}`",
        "machine": common.elsewhere(contents, "cmake"),
    }


def _lines(paths: list[str]) -> str:
    return "\n".join(f"  {path}" for path in paths)


def _example(contents: Contents, values: dict[str, object]) -> str:
    board = contents.machine
    machine = f"target_sources(edgekit_{contents.name}_example PRIVATE say_stdio.c)\n"
    if board is not None:
        sources = [f"../machine/{n}" for n in machine_files(board) if n.endswith((".c", ".S"))]
        machine = fill(
            "cmake/machine.txt",
            name=contents.name,
            machine=board.name,
            sources="\n".join(f"    {s}" for s in sources),
            libraries=" ".join(contents.target.gcc_libraries),
        )
    return fill("cmake/example.txt", **{**values, "machine": machine})


def _toolchain(contents: Contents) -> str:
    target, board, machine = contents.target, contents.machine, ""
    values = {
        "target": target.name,
        "command": target.gcc_command,
        "cpu": " ".join(contents.cpu_flags),
    }
    if contents.hosted:
        return fill(
            "cmake/toolchain_linux.txt",
            **values,
            processor=target.gcc_command.partition("-")[0],
            emulator=contents.user_emulator,
        )
    if board is not None and board.qemu is not None:
        machine = fill(
            "cmake/toolchain_machine.txt",
            machine=board.name,
            package=board.qemu.package,
            emulator=shlex.join(emulator(board)),
        )
    return fill("cmake/toolchain.txt", **values, machine=machine.rstrip("\n"))
