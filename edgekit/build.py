"""From an integer graph to everything that an output folder holds, and the report on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit import text
from edgekit.assemble import bundle_of, golden_samples
from edgekit.bundle import Bundle, write_bundle
from edgekit.devices.find import find_target
from edgekit.devices.firmware.model import RUNTIME_FOLDER, runtime_files
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.measure import gpu_report_of, measure, report_of
from edgekit.output import BUNDLE, GRAPH, SOURCES
from edgekit.report import LayerReport, Quality, Report
from edgekit.version import __version__
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
    #: Arguments of `codegen.lower.build_program` besides graph and target.
    options: Mapping[str, str | int]

    def description(self, model: str, compiler: str) -> dict[str, Any]:
        """What the output folder says of itself."""
        from codegen.sources import c_name

        return {
            "edgekit": __version__,
            "name": c_name(self.program.name),
            "model": model,
            "target": self.program.target,
            "hash": self.hash.hex(),
            "compiler": compiler,
            "options": dict(self.options),
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
    optimize: str = "balanced",
    threads: int = 1,
    require_fast: bool = False,
) -> Build:
    """Choose and generate kernels, plan memory, build the firmware and run it once on `board`.

    `sparse_weights`, `optimize` and `threads` as for `codegen.lower.build_program`; `require_fast`
    refuses a model of which the portable kernels take a noticeable share.

    Raises:
        EdgekitError: E315 for `require_fast`, E31x where the target cannot run the graph, E50x
            from the C compiler.
    """
    from codegen import memory_check
    from codegen.lower import build_program
    from codegen.sources import c_name

    say("kernels", 0.0)
    if target.gpu:
        optimize = "speed"  # the only one that keeps layers whole
    program = build_program(
        graph, target, sparse_weights=sparse_weights, optimize=optimize, threads=threads
    )
    memory_check.check(program)
    sample = dict(quality.sample) if quality else None
    gpu = _gpu_program(graph, program, target)
    bundle = bundle_of(program, golden_samples(graph, sample), gpu)
    files = model_files(graph, program, bundle)
    say("firmware", 0.0)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        measured = measure(Path(folder), files, c_name(program.name), board, bundle, compiler)
    report = replace(
        report_of(program, bundle, board, measured, quality),
        optimize=optimize,
        gpu=gpu_report_of(program, gpu) if target.gpu else None,
    )
    if require_fast:
        _refuse_slow(report, target)
    options: dict[str, str | int] = {
        "sparse_weights": sparse_weights,
        "optimize": optimize,
        "threads": threads,
    }
    return Build(graph, program, files, report, bundle.hash, options)


def _gpu_program(graph: Graph, program: Any, target: Target) -> Any:
    """The same calls for a GPU, None where the target has none or the model has states."""
    if not target.gpu or program.states:
        return None
    from codegen.gpu.lower import build_gpu_program
    from codegen.gpu.spirv import shaders

    gpu = build_gpu_program(graph, program)
    return replace(gpu, spirv=shaders(gpu).spirv)


def model_files(graph: Graph, program: Any, bundle: Bundle) -> dict[str, bytes | str]:
    """What an output folder holds of a `codegen.program.Program`, by name, but its description."""
    from codegen.aot import aot_sources
    from codegen.sources import kernel_sources

    sources = {**kernel_sources(program), **aot_sources(program, bundle.hash)}
    return {
        BUNDLE: write_bundle(bundle),
        GRAPH: text.dumps(graph),
        **source_files(sources, gpu=find_target(bundle.target).gpu),
    }


def source_files(sources: Mapping[str, str], gpu: bool = False) -> dict[str, bytes | str]:
    """Generated C and the runtime where an output folder has them."""
    files: dict[str, bytes | str] = {f"{SOURCES}/{name}": body for name, body in sources.items()}
    runtime = runtime_files(accelerator="npu_config.h" in sources, gpu=gpu)
    return files | {f"{SOURCES}/{RUNTIME_FOLDER}/{n}": b for n, b in runtime.items()}


#: Share of the time from which on a layer with portable kernels is refused by --require-fast.
NOTICEABLE = 0.01


def _refuse_slow(report: Report, target: Target) -> None:
    """E315 where portable kernels take a noticeable share though the target has faster ones."""
    if len(target.families) == 1:
        return
    slow = [
        f"{layer.name} ({layer.op}): {100 * share:.1f} % of the time; {layer.note}"
        for layer in report.layers
        if layer.family == target.families[-1] and (share := _share(layer, report)) >= NOTICEABLE
    ]
    if slow:
        raise EdgekitError(
            "E315",
            f"{len(slow)} of {len(report.layers)} layers have only portable kernels on "
            f"'{target.name}'",
            details=slow,
            help="change those layers, or leave --require-fast away",
        )


def _share(layer: LayerReport, report: Report) -> float:
    """A layer's part of the cycles, or of the instructions; all of it where neither is known."""
    if report.cycles and layer.cycles is not None:
        return layer.cycles / report.cycles
    if report.instructions and layer.instructions is not None:
        return layer.instructions / report.instructions
    return 1.0
