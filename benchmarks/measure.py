"""Compile a model and take its measures on QEMU and on the virtual board, both ways of running."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import Model
from edgekit import pipeline
from edgekit.devices.find import find_board
from edgekit.devices.model import flash_parts
from edgekit.execute import build, session
from edgekit.output import BUNDLE, Output

VIRTUAL, QEMU = "virtual-cortex-m4", "qemu-mps2-an386"
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


@dataclass(frozen=True)
class Measured:
    """A model's figures. Bytes in bytes; `runtime_ram` is RAM of the runtime besides the arena."""

    name: str
    source: str
    label: str
    file_bytes: int
    macs: int
    arena: int
    arena_lower_bound: int
    runtime_ram: int
    constants: int
    layers: tuple[dict[str, Any], ...]
    flash: dict[str, Flash]
    runs: tuple[Run, ...]

    def run(self, board: str, way: str) -> Run | None:
        """The run of that kind, None where the board is not there (no QEMU)."""
        return next((r for r in self.runs if (r.board, r.way) == (board, way)), None)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(model: Model, folder: Path, compiler: str, say: Callable[[str], None]) -> Measured:
    """Compile `model` into `folder` and run it everywhere.

    Raises:
        EdgekitError: whatever compiling or running raises.
        RuntimeError: a board gives other bytes than the reference for a golden vector.
    """
    say(f"{model.label} {model.source}: compiling")
    done = pipeline.compile(
        model.path, output=folder, calibration=model.calibration, compiler=compiler
    )
    boards = [VIRTUAL, *([QEMU] if shutil.which("qemu-system-arm") else [])]
    runs = []
    for board in boards:
        for way in WAYS:
            say(f"{model.label} {model.source}: {board}, {way}")
            runs.append(_run(done.output, board, way, compiler))
    layers = tuple(
        {"name": layer.name, "op": layer.op, "macs": layer.macs, "kernel": layer.family,
         "out": list(layer.output_shape[1:]), "constants": layer.constant_bytes}
        for layer in done.report.layers
    )  # fmt: skip
    return Measured(
        name=model.name,
        source=model.source,
        label=model.label,
        file_bytes=model.path.stat().st_size,
        macs=done.report.macs,
        arena=done.report.ram["arena"],
        arena_lower_bound=done.report.arena_lower_bound,
        runtime_ram=done.report.ram["runtime"],
        constants=len(done.output.bundle.constants),
        layers=layers,
        flash={way: _flash(done.output, way, compiler) for way in WAYS},
        runs=tuple(runs),
    )


def _run(folder: Output, board: str, way: str, compiler: str) -> Run:
    vectors = folder.bundle.golden
    with session(folder, find_board(board), mode=way, compiler=compiler) as device:
        for i, golden in enumerate(vectors):
            found = device.run(list(golden.inputs))
            if found != list(golden.outputs):
                raise RuntimeError(f"{folder.name} on {board} ({way}): golden vector {i} differs")
        profile = device.profile(list(vectors[-1].inputs), 3)
        stack, _ = device.stack_used()
    return Run(board, way, profile.unit, profile.total, profile.layers, stack, len(vectors))


def _flash(folder: Output, way: str, compiler: str) -> Flash:
    board = find_board(VIRTUAL)
    firmware = build(folder, board, mode=way, compiler=compiler)
    constants = (folder.path / BUNDLE).stat().st_size if way == "interpreter" else 0
    parts = flash_parts(firmware, folder.sources, folder.name, board, mode=way,
                        constants=constants, compiler=compiler)  # fmt: skip
    return Flash(parts.kernels, parts.runtime, parts.constants)
