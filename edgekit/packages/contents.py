"""What compiled models bring to a package: C files by role, golden samples, sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import targets
from edgekit.bundle import Bundle, Golden, TensorInfo
from edgekit.errors import EdgekitError
from targets import Board, Target

_LONGEST_TEXT = 200
#: CPUs whose instructions another one has, too.
_RUNS_TOO = {"riscv32": ("riscv32imc",)}
#: Bytes of an example besides arena and weights: stack and runtime; kernels and sample.
_RAM_BESIDES, _FLASH_BESIDES = 8 * 1024, 128 * 1024


@dataclass(frozen=True)
class About:
    """What registries of packages want to know of who publishes a package.

    Attributes:
        author: a name, with or without an address in angle brackets.
        url: where people find the package; the default leads nowhere and says so.
        version: three numbers; empty for those of the edgekit that compiled the model.

    Raises:
        EdgekitError: E725 for a text that no registry takes.
    """

    author: str = "edgekit"
    url: str = "https://edgekit.invalid/"
    version: str = ""

    def __post_init__(self) -> None:
        rules = (
            ("author", self.author, r'[^\x00-\x1f,"&]+', "one line without comma, quote or '&'"),
            ("url", self.url, r"https?://[^\s\"<>&]+", "http:// or https:// and no space"),
            ("version", self.version, r"(\d+\.\d+\.\d+)?", "three numbers, such as 1.2.0"),
        )
        for what, text, rule, wanted in rules:
            if not re.fullmatch(rule, text) or len(text) > _LONGEST_TEXT:
                raise EdgekitError(
                    "E725",
                    f"the {what} '{text[:_LONGEST_TEXT]}' is not {wanted}",
                    help="--author 'Ada <ada@example.com>', --url https://..., "
                    "--package-version 1.2.0",
                )


@dataclass(frozen=True)
class Model:
    """One model of a package.

    Attributes:
        name: its C name.
        file: the model file that it was compiled from, without its folder; one line.
        bundle: inputs, outputs, states and the golden sample.
        bundle_file: contents of its model.ekb.
        stack_bytes: what one inference took on `board` when it was compiled; 0 where none ran.
    """

    name: str
    file: str
    bundle: Bundle
    bundle_file: bytes
    stack_bytes: int
    board: str

    @property
    def upper(self) -> str:
        return self.name.upper()

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self.bundle.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self.bundle.outputs

    @property
    def golden(self) -> Golden:
        """A sample, the first one of the calibration data where there was any, and the bytes that
        it gives from the initial state."""
        return self.bundle.golden[-1]


@dataclass(frozen=True)
class Contents:
    """Compiled models, ready to be packed.

    Attributes:
        name: the package's: the model's C name, or that of a folder of several.
        edgekit: version of the edgekit that compiled them, three numbers.
        target: the CPU that their kernels were chosen for.
        mode: "aot" for C that calls the kernels in order, "interpreter" for bundles and what
            executes them.
        sources: what is compiled, by path below ``src/``; nothing else is needed to link.
        headers: what they include and users may, by path below ``src/``. All includes are found
            with ``src/`` as the only folder.
        models: at least one; several of them share one arena.
        arena_bytes: RAM for activations and states, of all models together.
        about: who publishes the package.
    """

    name: str
    edgekit: str
    target: Target
    mode: str
    sources: Mapping[str, bytes]
    headers: Mapping[str, bytes]
    models: tuple[Model, ...]
    arena_bytes: int
    about: About

    @property
    def version(self) -> str:
        """The package's."""
        return self.about.version or self.edgekit

    @property
    def upper(self) -> str:
        return self.name.upper()

    @property
    def joint(self) -> bool:
        """Whether several models share one arena."""
        return len(self.models) > 1

    @property
    def files(self) -> str:
        """The model files, in a sentence."""
        names = [model.file for model in self.models]
        return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)

    @property
    def public(self) -> tuple[str, ...]:
        """The headers that users include, relative to ``src/``."""
        suffix = ".h" if self.mode == "aot" else "_bundle.h"
        return tuple(model.name + suffix for model in self.models)

    @property
    def summary(self) -> dict[str, Any]:
        """What the package's marker says of it."""
        return {
            "edgekit": self.edgekit,
            "name": self.name,
            "version": self.version,
            "target": self.target.name,
            "mode": self.mode,
            "models": {model.name: model.bundle.hash.hex() for model in self.models},
        }

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs of one inference of each model."""
        return sum(t.nbytes for model in self.models for t in model.outputs)

    @property
    def constant_bytes(self) -> int:
        return sum(len(model.bundle.constants) for model in self.models)

    @property
    def stack_bytes(self) -> int:
        return max(model.stack_bytes for model in self.models)

    @property
    def cpu_flags(self) -> tuple[str, ...]:
        """Flags of GCC that choose the CPU; everything in a program needs the same ones."""
        return tuple(f for f in self.target.gcc_flags if f.startswith("-m"))

    @property
    def kernel_flags(self) -> tuple[str, ...]:
        """Flags of GCC that the kernels were measured with besides `Target.kernel_opt`. Under Linux
        none: there they are for programs without a C library."""
        flags = () if self.hosted else self.target.gcc_flags
        return tuple(f for f in flags if not f.startswith("-m"))

    @property
    def hosted(self) -> bool:
        """Whether programs for the target run under Linux."""
        return self.target.port == "linux"

    @property
    def machine(self) -> Board | None:
        """A machine in QEMU that runs this CPU's code, where the example needs no board."""
        boards = [
            board
            for board in targets.boards().values()
            if board.qemu
            and self.target.name in (board.target.name, *_RUNS_TOO.get(board.target.name, ()))
            and board.ram.size >= self.arena_bytes + self.output_bytes + _RAM_BESIDES
            and board.flash.size >= self.constant_bytes + _FLASH_BESIDES
        ]
        return max(boards, key=lambda board: (board.ram.size, board.name), default=None)

    @property
    def user_emulator(self) -> str:
        """For targets under Linux: what runs their programs on another machine; empty elsewhere."""
        machine = self.target.gcc_command.partition("-")[0]
        return f"qemu-{machine}" if self.hosted and machine != "x86_64" else ""
