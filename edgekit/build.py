"""From an integer graph to everything that an output folder holds, and the report on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgekit
from edgekit import text
from edgekit.assemble import bundle_of, golden_samples
from edgekit.bundle import write_bundle
from edgekit.devices.model import RUNTIME_FOLDER, runtime_files
from edgekit.graph import Graph
from edgekit.measure import measure, report_of
from edgekit.output import BUNDLE, GRAPH, SOURCES
from edgekit.report import Quality, Report
from targets import Board, Target

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Build:
    """A compiled model that is not written yet."""

    graph: Graph
    program: Any
    files: Mapping[str, bytes | str]
    report: Report
    hash: bytes

    def description(self, model: str, compiler: str) -> dict[str, Any]:
        """What the output folder says of itself."""
        from codegen.sources import c_name

        return {
            "edgekit": edgekit.__version__,
            "name": c_name(self.program.name),
            "model": model,
            "target": self.program.target,
            "hash": self.hash.hex(),
            "compiler": compiler,
            "report": self.report.as_json(),
        }


def build(
    graph: Graph,
    quality: Quality | None,
    *,
    target: Target,
    board: Board,
    compiler: str,
    say: Progress,
    sparse_weights: str = "auto",
) -> Build:
    """Choose and generate kernels, plan memory, build the firmware and run it once on `board`.

    `sparse_weights` as for `codegen.program.build_program`.

    Raises:
        EdgekitError: E31x where the target cannot run the graph, E50x from the C compiler.
    """
    from codegen import memory_check
    from codegen.aot import aot_sources
    from codegen.program import build_program
    from codegen.sources import c_name, kernel_sources

    say("kernels", 0.0)
    program = build_program(graph, target, sparse_weights=sparse_weights)
    reshapes = {n.output: n.inputs[0] for n in graph.nodes if n.op == "reshape"}
    memory_check.check(program, reshapes)
    sample = dict(quality.sample) if quality else None
    bundle = bundle_of(program, golden_samples(graph, sample))
    files: dict[str, bytes | str] = {BUNDLE: write_bundle(bundle), GRAPH: text.dumps(graph)}
    sources = {**kernel_sources(program), **aot_sources(program, bundle.hash)}
    files |= {f"{SOURCES}/{name}": body for name, body in sources.items()}
    files |= {f"{SOURCES}/{RUNTIME_FOLDER}/{n}": body for n, body in runtime_files().items()}
    say("firmware", 0.0)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        measured = measure(Path(folder), files, c_name(program.name), board, bundle, compiler)
    report = report_of(program, bundle, board, measured, quality)
    return Build(graph, program, files, report, bundle.hash)
