"""MLPerf Tiny on the custom function unit and without it, on one simulated system.

    python -m benchmarks.cfu --shared DIR [--json FILE] [--update FILE]

Board `sim-cfu-soc` is VexRiscv, the unit and a memory in Verilator. Both columns are the same core,
caches and compiler; the kernels differ, those of family `c99` (the faster of two optimisation
levels) against those that a target with the unit takes. Cycles are the sum of a run's layers,
ahead-of-time compiled.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import tables
from benchmarks.models import models
from codegen.aot import aot_sources
from codegen.lower import build_program
from codegen.program import Program
from codegen.sources import c_name, kernel_sources
from edgekit import reference
from edgekit.devices.firmware.build import build_firmware, firmware_folder
from edgekit.devices.firmware.model import support_files
from edgekit.devices.session import connect
from edgekit.graph import Graph
from edgekit.importers import load
from targets import Board, board

BOARD = "sim-cfu-soc"
#: What c99 is compiled with: its inner loops are better with -Os, others with -O2.
OPTIMISATIONS = ("-Os", "-O2")
NAMES = ("kws", "resnet8", "vww96", "ad01")


@dataclass(frozen=True)
class Row:
    """A model's cycles with the kernels of either kind, and elements of results that are wrong."""

    model: str
    c99: int
    rv_cfu: int
    wrong: int


def cycles(graph: Graph, on: Board, folder: Path) -> tuple[int, int]:
    """Cycles of an inference of random inputs on a board, and elements that differ from the
    reference's."""
    program = build_program(graph, on.target, optimize="speed")
    firmware = build_firmware(
        _sources(program, folder), on, include=[folder], opt=on.target.kernel_opt
    )
    rng = np.random.default_rng(1)
    feeds = {t.name: rng.integers(-128, 128, t.shape).astype(t.dtype) for t in program.inputs}
    with connect(on, elf=firmware.elf) as session:
        profile = session.profile([feeds[t.name].tobytes() for t in program.inputs], repeat=1)
        found = session.outputs()
    want = reference.run(graph, feeds)
    wrong = sum(
        int((np.frombuffer(data, t.dtype).reshape(t.shape) != want[t.name]).sum())
        for data, t in zip(found, program.outputs, strict=True)
    )
    return sum(profile.layers), wrong


def _sources(program: Program, folder: Path) -> list[Path]:
    for file, text in {**kernel_sources(program), **aot_sources(program, bytes(8))}.items():
        (folder / file).write_text(text)
    root = firmware_folder()
    return [
        folder / "kernels.c",
        folder / f"{c_name(program.name)}.c",
        *(root / "src" / file for file in support_files()),
        root / "app" / "ek_app_aot.c",
    ]


def measure(graph: Graph, label: str) -> Row:
    """Both kinds of kernels; of c99's builds the faster."""
    unit = board(BOARD).target
    alone = [replace(unit, families=("c99",), kernel_opt=opt) for opt in OPTIMISATIONS]
    found = []
    for target in (unit, *alone):
        with tempfile.TemporaryDirectory() as folder:
            found.append(cycles(graph, replace(board(BOARD), target=target), Path(folder)))
    (with_unit, _), *without = found
    return Row(label, min(c for c, _ in without), with_unit, sum(wrong for _, wrong in found))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--models", nargs="+", default=list(NAMES))
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(arguments)
    rows = [
        measure(load(model.path), model.label)
        for model in models(options.shared, options.models, "tflite")
    ]
    text = tables.table(
        ("model", "c99: cycles", "rv_cfu: cycles", "ratio", "wrong"),
        [(r.model, r.c99, r.rv_cfu, r.c99 / r.rv_cfu, r.wrong) for r in rows],
    )
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "cfu", text)
    return int(any(r.wrong for r in rows))


if __name__ == "__main__":
    sys.exit(main())
