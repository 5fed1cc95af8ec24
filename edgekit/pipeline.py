"""The stages in order: a model file in, an output folder out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit import data, importers, reference, text
from edgekit.bundle import ArgumentRef, Bundle, CallRef, Golden, LayerInfo, TensorInfo, write_bundle
from edgekit.bundle.model import SPACE_ARENA, SPACE_CONSTANTS
from edgekit.devices.find import find_board, find_target
from edgekit.devices.model import (
    RUNTIME_FOLDER,
    FlashParts,
    flash_parts,
    model_firmware,
    runtime_files,
)
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.output import BUNDLE, GRAPH, SOURCES, Output, check_writable, write_output
from edgekit.report import LayerReport, Report
from targets import Board

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
    ranges: str = "mse",
    bias_correction: bool = True,
    bind: dict[str, int] | None = None,
    max_flash: int | None = None,
    max_ram: int | None = None,
    compiler: str = "zig",
    progress: Progress | None = None,
) -> Compiled:
    """Compile an ONNX or quantized TFLite model for `target` into the folder `output`.

    Args:
        calibration: samples for a float model: an .npz or .npy file, or arrays by input name.
        ranges: how activation ranges are chosen, "mse" or "minmax".
        bind: sizes of symbolic dimensions by name.
        max_flash, max_ram: budgets in bytes; exceeding one is an error.
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
    graph, quality = _quantized(graph, calibration, ranges, bias_correction, say)
    say("kernels", 0.0)
    program = build_program(graph, chosen)
    memory_check.check(program, _reshapes(graph))
    bundle = _bundle(program, _golden(graph, quality.get("sample")))
    files: dict[str, bytes | str] = {BUNDLE: write_bundle(bundle), GRAPH: text.dumps(graph)}
    sources = {**kernel_sources(program), **aot_sources(program, bundle.hash)}
    files |= {f"{SOURCES}/{name}": body for name, body in sources.items()}
    files |= {f"{SOURCES}/{RUNTIME_FOLDER}/{n}": body for n, body in runtime_files().items()}
    say("firmware", 0.0)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        measured = _measure(Path(folder), files, c_name(program.name), board, bundle, compiler)
    report = _report(program, bundle, board, measured, quality)
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
    ranges: str,
    bias_correction: bool,
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
        ranges=ranges,  # type: ignore[arg-type]
        bias_correction=bias_correction,
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


def _golden(graph: Graph, sample: dict[str, np.ndarray] | None) -> tuple[Golden, ...]:
    """A full-range random sample and, where there is calibration data, its first sample."""
    chance = np.random.default_rng(0)
    random = {
        name: chance.integers(-128, 128, graph.values[name].shape).astype(np.int8)
        for name in graph.inputs
    }
    golden = []
    for feeds in [random, *([sample] if sample else [])]:
        results = reference.run(graph, feeds)
        golden.append(
            Golden(
                tuple(feeds[name].tobytes() for name in graph.inputs),
                tuple(results[name].tobytes() for name in graph.outputs),
            )
        )
    return tuple(golden)


def _bundle(program: Any, golden: tuple[Golden, ...]) -> Bundle:
    index = {k.fingerprint: i for i, k in enumerate(program.kernels)}

    def argument(a: Any) -> ArgumentRef:
        return ArgumentRef(a.offset, a.nbytes, SPACE_ARENA if a.in_arena else SPACE_CONSTANTS)

    def tensor(t: Any) -> TensorInfo:
        return TensorInfo(
            t.name, t.shape, t.dtype, t.scale, t.zero_point, t.offset, t.nbytes, t.layout
        )

    return Bundle(
        name=program.name,
        target=program.target,
        producer=f"edgekit {edgekit.__version__}",
        arena_bytes=program.arena_bytes,
        kernels=tuple(k.fingerprint for k in program.kernels),
        calls=tuple(
            CallRef(index[c.kernel.fingerprint], tuple(argument(a) for a in c.arguments))
            for c in program.calls
        ),
        inputs=tuple(tensor(t) for t in program.inputs),
        outputs=tuple(tensor(t) for t in program.outputs),
        constants=program.constants,
        layers=tuple(
            LayerInfo(
                c.layer,
                c.op,
                c.kernel.name,
                c.input_shapes[0] if c.input_shapes else (),
                c.output_shape,
                c.macs,
                c.constant_bytes,
                c.scratch_bytes,
                c.note,
            )
            for c in program.calls
        ),
        golden=golden,
    )


@dataclass(frozen=True)
class _Measured:
    parts: FlashParts
    static_ram: int
    stack_bytes: int
    cycles: tuple[int, ...]
    total: int


def _measure(
    folder: Path,
    files: Mapping[str, bytes | str],
    name: str,
    board: Board,
    bundle: Bundle,
    compiler: str,
) -> _Measured:
    """Build the firmware for the reference board, run it there once, and take its measures."""
    for file, body in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
    sources, blob = folder / SOURCES, folder / BUNDLE
    firmware = model_firmware(sources, name, board, bundle=blob, compiler=compiler)
    parts = flash_parts(
        firmware, sources, name, board, constants=blob.stat().st_size, compiler=compiler
    )
    sample = bundle.golden[0]
    with connect(board, elf=firmware.elf) as session:
        profile = session.profile(list(sample.inputs), repeat=1)
        found = session.outputs()
        stack, _ = session.stack_used()
    if found != list(sample.outputs):
        wrong = sum(a != b for f, s in zip(found, sample.outputs, strict=True)
                    for a, b in zip(f, s, strict=True))  # fmt: skip
        raise RuntimeError(f"{wrong} bytes differ between '{board.name}' and the reference")
    static = sum(
        s.bytes for s in firmware.sizes.symbols if s.section == ".bss" and s.name in _RUNTIME_STATE
    )
    return _Measured(parts, static, stack, profile.layers, profile.total)


#: RAM of the runtime besides the arena: the opened model and its table of kernels.
_RUNTIME_STATE = ("model", "slots")


def _report(
    program: Any, bundle: Bundle, board: Board, measured: _Measured, quality: dict[str, Any]
) -> Report:
    layers = tuple(
        LayerReport(
            info.name,
            info.op,
            info.input_shape,
            info.output_shape,
            info.macs,
            info.kernel,
            call.kernel.spec.family,
            info.constant_bytes,
            info.scratch_bytes,
            cycles,
            info.note,
        )
        for info, call, cycles in zip(bundle.layers, program.calls, measured.cycles, strict=True)
    )
    return Report(
        name=program.name,
        target=program.target,
        board=board.name,
        clock_hz=board.clock_hz,
        layers=layers,
        flash={
            "kernels": measured.parts.kernels,
            "runtime": measured.parts.runtime,
            "bundle": measured.parts.constants,
        },
        ram={
            "arena": program.arena_bytes,
            "runtime": measured.static_ram,
            "stack": measured.stack_bytes,
        },
        arena_lower_bound=program.arena_lower_bound,
        cycles=measured.total,
        sqnr_db=quality.get("sqnr_db", {}),
        logits_sqnr_db=quality.get("logits_sqnr_db"),
        calibration_samples=quality.get("samples", 0),
    )


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


@dataclass(frozen=True)
class Finding:
    """What `check` says of one node; an empty `kernel` means that it cannot run."""

    node: str
    op: str
    kernel: str
    reason: str


def check(
    model: Path, *, target: str = "cortex-m4", bind: dict[str, int] | None = None
) -> list[Finding]:
    """Every node of a model with the kernel family that would run it on `target`.

    Where the importer does not know operators, only those are listed.
    """
    from codegen.kernel import Layer, NotApplicable
    from codegen.program import select
    from codegen.schedules import families

    chosen = find_target(target)
    unknown = importers.unsupported(Path(model), bind=bind)
    if unknown:
        return [Finding(u.node, u.op, "", u.reason) for u in unknown]
    graph = importers.load(Path(model), bind=bind)
    findings = []
    for node in graph.nodes:
        name = node.name or node.output
        available = [f for f in chosen.families if f in families().get(node.op, {})]
        if node.op == "reshape":
            findings.append(Finding(name, node.op, "none needed", ""))
        elif graph.values[node.output].quant is None:
            # A float graph: which form of the operator applies is known after quantization.
            reason = "" if available else "no kernel in " + ", ".join(chosen.families)
            findings.append(Finding(name, node.op, available[0] if available else "", reason))
        else:
            values = tuple(graph.values[i] for i in node.inputs)
            constants = {i: graph.constants[i] for i in node.inputs if i in graph.constants}
            try:
                layer = Layer(node, values, constants, graph.values[node.output])
                candidate, note = select(layer, chosen)
                findings.append(Finding(name, node.op, candidate.spec.family, note))
            except NotApplicable as why:
                findings.append(Finding(name, node.op, "", str(why)))
    return findings
