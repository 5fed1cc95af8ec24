"""What a library is compiled of, and the files beside it."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.devices.find import find_target
from edgekit.devices.firmware.build import firmware_folder
from edgekit.library.gpu import gpu_part
from edgekit.output import Output
from edgekit.rebuilding import rebuilt
from targets import linux

#: Of firmware/library: threads for programs that have none.
POOL = ("ek_pool.h", "ek_pool.c")
_CONSTANTS = """\
    .section .rodata.ek_constants, "a"
    .balign 64
    .globl ek_constants
    .hidden ek_constants
ek_constants:
    .incbin "constants.bin"
    .byte 0
    .section .note.GNU-stack, "", %progbits
"""


@dataclass(frozen=True)
class Sources:
    """Generated files by name: `files` are compiled, `beside` go with the library.

    `members` are `codegen.library.members.Member`s, `api` is what the library exports. Of the
    constants `bundle_bytes` are the bundle of the program for GPUs, 0 where there is none.
    """

    name: str
    members: tuple[Any, ...]
    files: Mapping[str, bytes]
    beside: Mapping[str, str | bytes]
    api: tuple[str, ...]
    constant_bytes: int
    context_bytes: int
    bundle_bytes: int

    def write(self, folder: Path) -> list[str]:
        """Write `files`; returns the names of those that a compiler takes."""
        for file, body in self.files.items():
            (folder / file).write_bytes(body)
        return [f"{self.name}.c", "kernels.c", "constants.S"]


def sources_of(folders: Sequence[Output], say: Callable[[str, float], None]) -> Sources:
    """C of the programs in `folders`, which are of one model, the best first.

    Raises:
        EdgekitError: E348, E40x and E70x where a folder is damaged or cannot be rebuilt.
    """
    from codegen.joint_sources import joint_kernels
    from codegen.library import module
    from codegen.library.header import PASTED, PASTED_FOR_GPU, library_header
    from codegen.library.members import Constants, Member, context_bytes
    from codegen.library.source import CALLS, GPU_CALLS, library_source
    from codegen.sources import kernel_files

    members = []
    for i, folder in enumerate(folders):
        say(f"reading {folder.path}", i / len(folders))
        target, part = find_target(folder.target), rebuilt(folder)
        bits = linux.HWCAPS[target.architecture]
        hwcaps = sum(bits[name] for name in target.hwcaps)
        gpu = gpu_part(folder, part.bundle) if target.gpu else None
        members.append(Member(part.program, hwcaps, part.bundle.hash, gpu))
    name, constants = folders[0].name, Constants()
    gpus = [m.gpu for m in members if m.gpu is not None]
    headers = {file: _header(file) for file in (PASTED_FOR_GPU if gpus else PASTED)}
    header = library_header(members, headers)
    kernels = kernel_files(joint_kernels([m.program for m in members]), f"model '{name}'")
    texts = {
        **{file: kernels[file] for file in ("kernels.h", "kernels.c")},
        f"{name}.h": header,
        f"{name}.c": library_source(members, constants),
        "constants.S": _CONSTANTS,
    }
    library = firmware_folder() / "library"
    python = Path(str(module.__file__)).read_text()
    return Sources(
        name,
        tuple(members),
        {**{k: v.encode() for k, v in texts.items()}, "constants.bin": bytes(constants.blob)},
        {
            f"{name}.h": header,
            f"{module_name(name)}.py": python.replace('NAME = "model"', f'NAME = "{name}"', 1),
            **{file: (library / file).read_text() for file in POOL},
            "ek_parallel.h": headers["ek_parallel.h"],
        },
        tuple(f"{name}_{call}" for call in (GPU_CALLS if gpus else CALLS)),
        len(constants.blob),
        context_bytes(members),
        sum(len(gpu.bundle) for gpu in gpus),
    )


def module_name(name: str) -> str:
    """What Python can import and does not need itself."""
    taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "numpy"
    return f"{name}_model" if taken else name


def _header(file: str) -> str:
    root = firmware_folder()
    (found,) = (p for room in ("library", "include", "gpu") if (p := root / room / file).exists())
    return found.read_text()
