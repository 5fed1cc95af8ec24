"""The stages in order: a model file in, an output folder out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit import data, importers, text
from edgekit.assemble import bundle_of, golden_samples
from edgekit.bundle import write_bundle
from edgekit.devices.find import find_board, find_target
from edgekit.devices.model import (
    RUNTIME_FOLDER,
    runtime_files,
)
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.measure import measure, report_of
from edgekit.output import BUNDLE, GRAPH, SOURCES, Output, check_writable, write_output
from edgekit.report import Report

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Compiled:
    """The result of `compile`: the folder and what is known of it."""

    output: Output
    report: Report
    graph: Graph


def compile(
    model: Path,
    *,
    output: Path,
    target: str = "cortex-m4",
    calibration: Path | Mapping[str, np.ndarray] | None = None,
    quantization: Mapping[str, Any] | None = None,
    bind: dict[str, int] | None = None,
    max_flash: int | None = None,
    max_ram: int | None = None,
    sparse_weights: str = "auto",
    compiler: str = "zig",
    progress: Progress | None = None,
) -> Compiled:
    """Compile an ONNX or quantized TFLite model for `target` into the folder `output`.

    Args:
        calibration: samples for a float model: an .npz or .npy file, or arrays by input name.
        quantization: options of `quantizer.quantize` that are not the default, such as
            ``{"weight_bits": 4}``; only for float models.
        bind: sizes of symbolic dimensions by name.
        max_flash, max_ram: budgets in bytes; exceeding one is an error.
        sparse_weights: when weights with zeros are stored as a bitmask and values, which costs
            instructions: "auto" where that saves a quarter of a layer's bytes, "smallest" wherever
            it saves, "off" never.
        compiler: "zig" or "gcc".
        progress: called with a stage's name and its share done, 0 to 1.

    Raises:
        EdgekitError: for everything that the user can mend; `output` is then untouched.
    """
    from codegen import memory_check
    from codegen.aot import aot_sources
    from codegen.program import build_program
    from codegen.sources import c_name, kernel_sources

    say = progress or (lambda stage, share: None)
    output = Path(output)
    chosen = find_target(target)
    board = find_board(chosen.default_board)
    check_writable(output)
    say("import", 0.0)
    graph = importers.load(Path(model), bind=bind)
    graph, quality = _quantized(graph, calibration, quantization or {}, say)
    say("kernels", 0.0)
    program = build_program(graph, chosen, sparse_weights=sparse_weights)
    memory_check.check(program, _reshapes(graph))
    bundle = bundle_of(program, golden_samples(graph, quality.get("sample")))
    files: dict[str, bytes | str] = {BUNDLE: write_bundle(bundle), GRAPH: text.dumps(graph)}
    sources = {**kernel_sources(program), **aot_sources(program, bundle.hash)}
    files |= {f"{SOURCES}/{name}": body for name, body in sources.items()}
    files |= {f"{SOURCES}/{RUNTIME_FOLDER}/{n}": body for n, body in runtime_files().items()}
    say("firmware", 0.0)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        measured = measure(Path(folder), files, c_name(program.name), board, bundle, compiler)
    report = report_of(program, bundle, board, measured, quality)
    _check_budgets(report, max_flash, max_ram)
    description = {
        "edgekit": edgekit.__version__,
        "name": c_name(program.name),
        "model": Path(model).name,
        "target": chosen.name,
        "hash": bundle.hash.hex(),
        "compiler": compiler,
        "report": report.as_json(),
    }
    say("write", 0.0)
    return Compiled(write_output(output, files, description), report, graph)


def _quantized(
    graph: Graph,
    calibration: Path | Mapping[str, np.ndarray] | None,
    options: Mapping[str, Any],
    say: Progress,
) -> tuple[Graph, dict[str, Any]]:
    """The integer graph, and how close it is to the float one where there was one."""
    from quantizer import quantize

    is_float = any(graph.values[i].quant is None for i in graph.inputs)
    if not is_float:
        if calibration is not None:
            raise EdgekitError(
                "E206",
                f"'{graph.name}' is quantized already, calibration data cannot change it",
                help="leave --calibration away",
            )
        return graph, {}
    if calibration is None:
        raise EdgekitError(
            "E207",
            f"'{graph.name}' is a float model and needs calibration data",
            help="--calibration DATA.npz with some tens of typical inputs, no labels needed",
        )
    arrays = (
        calibration
        if isinstance(calibration, Mapping)
        else data.load(Path(calibration), graph).arrays
    )
    result = quantize(
        graph,
        arrays,
        **options,
        progress=lambda stage, share: say(f"quantize: {stage}", share),
    )
    first = {
        name: data.quantize_input(result.graph, name, array[:1])
        for name, array in data.prepare(graph, arrays).items()
    }
    return result.graph, {
        "sqnr_db": dict(result.sqnr_db),
        "logits_sqnr_db": result.logits_sqnr_db,
        "samples": result.samples,
        "sample": first,
    }


def _reshapes(graph: Graph) -> dict[str, str]:
    return {n.output: n.inputs[0] for n in graph.nodes if n.op == "reshape"}


def _check_budgets(report: Report, max_flash: int | None, max_ram: int | None) -> None:
    for what, need, have, parts in (
        ("flash", report.flash_bytes, max_flash, report.flash),
        ("RAM", report.ram_bytes, max_ram, report.ram),
    ):
        if have is not None and need > have:
            raise EdgekitError(
                "E314",
                f"'{report.name}' needs {need} B of {what}, the budget is {have} B, "
                f"{need - have} B short",
                details=[f"{part}: {nbytes} B" for part, nbytes in parts.items()],
                help="raise the budget or make the model smaller",
            )
