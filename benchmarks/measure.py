"""Compile a model for a core and take its measures on QEMU and on the virtual board."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import Model
from edgekit import pipeline
from edgekit.devices.firmware.model import flash_parts
from edgekit.errors import EdgekitError
from edgekit.execute import build, session
from edgekit.output import BUNDLE, Output
from targets import Board, boards, targets

WAYS = ("interpreter", "aot")


@dataclass(frozen=True)
class Run:
    """One way of running on one board: `total` and `layers` in `unit`, stack in bytes."""

    board: str
    way: str
    unit: str
    total: int
    layers: tuple[int, ...]
    stack: int
    golden: int


@dataclass(frozen=True)
class Flash:
    """Flash bytes of one way of running; `constants` is the bundle or the arrays of the C file."""

    kernels: int
    runtime: int
    constants: int

    @property
    def code(self) -> int:
        return self.kernels + self.runtime


@dataclass(frozen=True)
class Measured:
    """Figures of a model, core and build. Bytes in bytes.

    `runtime_ram` is RAM of the interpreter besides the arena; `macs` are those that run, which
    can be fewer than the model's.
    """

    name: str
    source: str
    label: str
    core: str
    build: str
    file_bytes: int
    macs: int
    arena: int
    arena_lower_bound: int
    runtime_ram: int
    constants: int
    layers: tuple[dict[str, Any], ...]
    flash: dict[str, Flash]
    runs: tuple[Run, ...]

    def run(self, unit: str, way: str) -> Run | None:
        """The run in "instructions" or "cycles", None where there is no board for it."""
        return next((r for r in self.runs if r.way == way and r.unit.startswith(unit)), None)

    @property
    def instructions(self) -> int | None:
        run = self.run("instructions", "aot")
        return run.total if run else None

    @property
    def cycles(self) -> int | None:
        run = self.run("cycles", "aot")
        return run.total if run else None

    @property
    def stack(self) -> int:
        return max((r.stack for r in self.runs if r.way == "aot"), default=0)

    def as_json(self) -> dict[str, Any]:
        """One row, all of it of the same build: the ahead-of-time code."""
        exact, estimated = self.run("instructions", "aot"), self.run("cycles", "aot")
        per_layer = [
            {
                **layer,
                "instructions": exact.layers[i] if exact else None,
                "cycles": estimated.layers[i] if estimated else None,
            }
            for i, layer in enumerate(self.layers)
        ]
        return {
            "model": self.name,
            "source": self.source,
            "core": self.core,
            "build": self.build,
            "instructions": self.instructions,
            "cycles": self.cycles,
            "ram_bytes": self.arena,
            "stack_bytes": self.stack,
            "code_bytes": self.flash["aot"].code,
            "constant_bytes": self.constants,
            "exact": all(r.golden > 0 for r in self.runs) and bool(self.runs),
            "golden_vectors": sum(r.golden for r in self.runs),
            "macs": self.macs,
            "flash": {way: asdict(parts) for way, parts in self.flash.items()},
            "layers": per_layer,
        }


def boards_of(core: str) -> list[Board]:
    """The core's emulators that can run here: QEMU's only where it is installed."""
    return [
        b
        for b in boards().values()
        if b.target.name == core and b.emulated and (b.qemu is None or shutil.which(b.qemu.command))
    ]


def measure(
    model: Model, core: str, optimize: str, folder: Path, compiler: str, say: Callable[[str], None]
) -> Measured:
    """Compile `model` into `folder` and run it on every emulator of `core`.

    Raises:
        EdgekitError: whatever compiling or running raises.
        RuntimeError: a board gives other bytes than the reference for a golden vector.
    """
    what = f"{model.label} {model.source} {core} {optimize}"
    say(f"{what}: compiling")
    done = pipeline.compile(
        model.path,
        output=folder,
        target=core,
        calibration=model.calibration,
        compiler=compiler,
        optimize=optimize,
    )
    runs = []
    for board in boards_of(core):
        for way in WAYS if optimize == "balanced" else ("aot",):
            say(f"{what}: {board.name}, {way}")
            try:
                runs.append(_run(done.output, board, way, compiler))
            except EdgekitError as error:
                if error.code != "E504":  # memories as small as the hardware's
                    raise
                say(f"{what}: {board.name}: {error.message}")
    layers = tuple(
        {"name": layer.name, "op": layer.op, "macs": layer.macs, "kernel": layer.variant,
         "out": list(layer.output_shape[1:]), "constants": layer.constant_bytes,
         "scratch": layer.scratch_bytes}
        for layer in done.report.layers
    )  # fmt: skip
    return Measured(
        name=model.name,
        source=model.source,
        label=model.label,
        core=core,
        build=optimize,
        file_bytes=model.path.stat().st_size,
        macs=done.report.macs,
        arena=done.report.ram["arena"],
        arena_lower_bound=done.report.arena_lower_bound,
        runtime_ram=done.report.ram["runtime"],
        constants=len(done.output.bundle.constants),
        layers=layers,
        flash={way: _flash(done.output, core, way, compiler) for way in WAYS},
        runs=tuple(runs),
    )


def _run(folder: Output, board: Board, way: str, compiler: str) -> Run:
    vectors = folder.bundle.golden
    with session(folder, board, mode=way, compiler=compiler) as device:
        for i, golden in enumerate(vectors):
            found = device.run(list(golden.inputs))
            if found != list(golden.outputs):
                raise RuntimeError(f"{folder.name} on {board.name} ({way}): vector {i} differs")
        profile = device.profile(list(vectors[-1].inputs), 3)
        stack, _ = device.stack_used()
    return Run(board.name, way, profile.unit, profile.total, profile.layers, stack, len(vectors))


def _flash(folder: Output, core: str, way: str, compiler: str) -> Flash:
    board = boards()[targets()[core].default_board]
    firmware = build(folder, board, mode=way, compiler=compiler)
    constants = (folder.path / BUNDLE).stat().st_size if way == "interpreter" else 0
    parts = flash_parts(firmware, folder.sources, folder.name, board, mode=way,
                        constants=constants, compiler=compiler)  # fmt: skip
    return Flash(parts.kernels, parts.runtime, parts.constants)
