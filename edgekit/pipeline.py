"""The stages in order: a model file in, an output folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import data, importers
from edgekit.build import Build, build
from edgekit.devices.find import find_board, find_target
from edgekit.errors import EdgekitError
from edgekit.floating import left_in_float
from edgekit.graph import Graph
from edgekit.judge import Judge
from edgekit.output import Output, check_writable, write_output
from edgekit.processing import Processing
from edgekit.processing.pipeline import Around
from edgekit.report import Quality, Report
from edgekit.search.budget import Budget, check_budget
from edgekit.search.rows import Search
from edgekit.streaming import Hop
from edgekit.streaming import stream as streamed
from edgekit.streaming.kept import keep
from targets import Target

Progress = Callable[[str, float], None]
#: What `threads` may be.
MOST_THREADS = 16
#: Options of `quantizer.quantize` that leave no widths to choose.
WIDTH_OPTIONS = ("weight_bits", "activation_bits", "float_layers")


@dataclass(frozen=True)
class Compiled:
    """The result of `compile`: the folder and what is known of it.

    `search` has the table of widths where the budget did not allow plain int8.
    """

    output: Output
    report: Report
    graph: Graph
    search: Search | None = None


def compile(
    model: Path | Graph,
    *,
    output: Path,
    target: str = "cortex-m4",
    calibration: Path | Mapping[str, np.ndarray] | None = None,
    quantization: Mapping[str, Any] | None = None,
    bind: dict[str, int] | None = None,
    budget: Budget | None = None,
    validation: Path | None = None,
    sparse_weights: str = "auto",
    optimize: str | None = None,
    threads: int = 1,
    require_fast: bool = False,
    stream: Hop | None = None,
    states: Mapping[str, str] | None = None,
    compiler: str = "zig",
    processing: Processing | Path | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> Compiled:
    """Compile a model for `target` into the folder `output`.

    A float model becomes int8. Where that exceeds the budget and no widths were asked for, the best
    mixture of 4- and 8-bit weights and 8- and 16-bit activations within it is searched for.

    Args:
        model: a model file of any kind that `edgekit.importers.load` takes, or a graph, for
            instance of `edgekit.from_torch`.
        calibration: samples for a float model, or for one that is quantized in part and is then
            quantized anew as a whole: an .npz or .npy file, or arrays by input name.
        quantization: options of `quantizer.quantize` that are not the default, such as
            ``{"weight_bits": 4}``; only for float models.
        bind: sizes of symbolic dimensions by name.
        budget: limits of flash, RAM, latency, longest step, agreement and SQNR.
        validation: samples to judge these two on; the calibration data where None.
        sparse_weights: when weights with zeros are stored as a bitmask and values, which costs
            instructions: "smallest" wherever that saves bytes, "auto" where it saves a quarter of a
            layer's and no faster kernel is given up for it (or `optimize` is "size"), "off" never.
        optimize: what kernels are chosen for: "balanced", "speed", "ram" or "size"
            (`codegen.choose`); None for "balanced", and another one where that exceeds the budget
            and the other keeps it.
        threads: most threads of a program under Linux that share in one inference
            (`edgekit.library`): each gets a scratch buffer for every kernel that has parts.
        require_fast: refuse a model of which portable kernels take a noticeable share.
        stream: take this many new steps of time in every call instead of a whole window
            (`edgekit.streaming`); samples for calibration and validation are whole windows.
        states: inputs that the device keeps, with the output that each takes over after an
            inference (`edgekit.streaming.kept`); samples for calibration and validation are then
            consecutive and have only the other inputs.
        compiler: "zig" or "gcc".
        processing: steps in front of the model and behind it, or a YAML file of them
            (docs/PROCESSING.md).
        precision: one of `edgekit.floating.PRECISIONS` leaves a float model in float.
        progress: called with a stage's name and its share done, 0 to 1.

    Raises:
        EdgekitError: for everything that the user can mend; `output` is then untouched. E314 where
            the budget cannot be kept. E180 to E187 of the processing.
    """
    say = progress or (lambda stage, share: None)
    output, limits = Path(output), check_budget(budget or Budget())
    chosen = find_target(target)
    board = find_board(chosen.default_board)
    limit = limits.max_latency or limits.max_step
    if limit is not None and not chosen.estimates_cycles:
        raise EdgekitError(
            "E340",
            f"a limit of {limit:g} ms cannot be checked: target '{chosen.name}' has no cycle model",
            help="leave the limit away; the report has exact instructions",
        )
    if stream is not None and limits.judged:
        raise EdgekitError(
            "E190",
            "--stream takes a few steps per call, quality is judged on whole windows",
            help="judge first without --stream; the streaming form has the same integers",
        )
    _check_threads(threads, chosen)
    check_writable(output)
    around = Around.of(processing, limits, stream is not None)
    say("import", 0.0)
    graph, name = _graph(model, bind, calibration is not None)
    graph = keep(graph, states or {})
    if _is_float(graph):
        graph = around.before(graph)

    def built_for(objective: str, integer: Graph, quality: Quality | None) -> Build:
        integer, quality = around.integer(integer, quality)
        if stream is not None:
            integer = streamed(integer, stream)
            quality = replace(quality, sample={}) if quality else None
        return build(
            integer, quality, target=chosen, board=board, compiler=compiler, say=say,
            sparse_weights=sparse_weights, optimize=objective, threads=threads,
            require_fast=require_fast,
        )  # fmt: skip

    def made(integer: Graph, quality: Quality | None) -> Build:
        return built_for(optimize or "balanced", integer, quality)

    def fitting(integer: Graph, quality: Quality | None) -> Build:
        first = made(integer, quality)
        if optimize is None:
            for objective in _objectives(limits, first):
                other = built_for(objective, integer, quality)
                if not limits.excess(other.report):
                    return other
        return first

    options, table = dict(quantization or {}), None
    if precision is not None:
        _check_left_in_float(graph, precision, chosen, calibration, options, limits)
        if processing is not None or stream is not None:
            raise EdgekitError(
                "E317",
                f"--float leaves '{graph.name}' as it is, and processing and streaming are not",
                help="leave --float away, or --processing and --stream",
            )
        built = fitting(left_in_float(graph, precision), None)
    elif _is_float(graph):
        samples = _samples(graph, calibration)
        judge = _judge(graph, samples, validation) if limits else None
        built = fitting(*_quantized(graph, samples, options, say))
        if judge and limits.judged:
            built = _judged(built, judge)
        if limits.excess(built.report) and judge and not set(options) & set(WIDTH_OPTIONS):
            built, table = _searched(
                graph, samples, options, limits, judge, made, built, say,
                str(validation or "the calibration data"),
            )  # fmt: skip
    else:
        _check_quantized(graph, calibration, limits)
        built = fitting(graph, None)
    _check_budget(built, limits)
    say("write", 0.0)
    written = write_output(output, built.files, built.description(name, compiler))
    return Compiled(written, built.report, built.graph, table)


def _check_threads(threads: int, target: Target) -> None:
    if not 1 <= threads <= MOST_THREADS or (threads > 1 and target.port != "linux"):
        raise EdgekitError(
            "E370",
            f"{threads} threads for target '{target.name}', "
            + (f"which may be 1 to {MOST_THREADS}" if target.port == "linux" else "which has 1"),
            help=f"--threads 1 to {MOST_THREADS}"
            if target.port == "linux"
            else "--threads is for targets with Linux: edgekit targets",
        )


def _graph(
    model: Path | Graph, bind: dict[str, int] | None, float_behind: bool
) -> tuple[Graph, str]:
    """The graph to compile, and what the output folder calls its origin."""
    if not isinstance(model, Graph):
        return importers.load(Path(model), bind=bind, float_behind=float_behind), Path(model).name
    if bind:
        raise EdgekitError(
            "E104",
            f"bind is for model files, '{model.name}' is a graph: its shapes are fixed",
            help="give bind to edgekit.from_torch",
        )
    return model.verify(), model.name


#: What kernels can be chosen for where a cost exceeds its limit.
_REMEDIES = {"RAM": "ram", "flash": "size", "latency": "speed", "longest step": "speed"}


def _objectives(budget: Budget, built: Build) -> list[str]:
    """Objectives that may keep the limits that `built` exceeds."""
    return [_REMEDIES[what] for what, need, limit, _ in budget.costs(built.report) if need > limit]


def _is_float(graph: Graph) -> bool:
    return any(value.dtype == "float32" for value in graph.values.values()) and not any(
        value.quant is not None for value in graph.values.values()
    )


def _samples(
    graph: Graph, calibration: Path | Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """The calibration data of a float model."""
    if calibration is None:
        note = graph.metadata.get("note", "")
        raise EdgekitError(
            "E207",
            f"'{graph.name}' is a float model and needs calibration data"
            + (f" ({note})" if note else ""),
            help="--calibration DATA.npz with some tens of typical inputs, no labels needed; or "
            "--float fp32 to leave it in float",
        )
    if isinstance(calibration, Mapping):
        return dict(calibration)
    return dict(data.load(Path(calibration), graph).arrays)


def _check_left_in_float(
    graph: Graph,
    precision: str,
    target: Target,
    calibration: Path | Mapping[str, np.ndarray] | None,
    options: Mapping[str, Any],
    budget: Budget,
) -> None:
    """Refuse what cannot be asked for together with ``--float``."""
    if not _is_float(graph):
        raise EdgekitError(
            "E317",
            f"'{graph.name}' is quantized already and cannot be left in float",
            help="leave --float away",
        )
    if precision == "fp16" and not target.gpu:
        raise EdgekitError(
            "E317",
            f"--float fp16 is for GPUs, target '{target.name}' has none",
            help="--float fp32, or a target of gpu: edgekit targets",
        )
    if calibration is not None or options or budget.judged:
        raise EdgekitError(
            "E317",
            f"--float leaves '{graph.name}' as it is: there is nothing to calibrate or to judge",
            help="leave --float away, or --calibration and the options of quantization",
        )


def _check_quantized(
    graph: Graph, calibration: Path | Mapping[str, np.ndarray] | None, budget: Budget
) -> None:
    """Refuse what only float models can be asked for."""
    if calibration is not None:
        raise EdgekitError(
            "E206",
            f"'{graph.name}' is quantized already, calibration data cannot change it",
            help="leave --calibration away",
        )
    if budget.judged:
        raise EdgekitError(
            "E206",
            f"'{graph.name}' is quantized already, there is no float network to agree with",
            help="leave --min-agreement and --min-sqnr away",
        )


def _quantized(
    graph: Graph, arrays: Mapping[str, np.ndarray], options: Mapping[str, Any], say: Progress
) -> tuple[Graph, Quality]:
    """The integer graph, and how close it is to the float one."""
    from quantizer import quantize

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
    every = {name: tensor.sqnr_db for name, tensor in result.tensors.items()}
    sqnr = {**every, **result.sqnr_db}
    return result.graph, Quality(sqnr, result.logits_sqnr_db, result.samples, first)


def _judge(graph: Graph, arrays: Mapping[str, np.ndarray], validation: Path | None) -> Judge:
    """Judges on the validation data, or on the calibration data where there is none."""
    if validation is not None:
        return Judge(graph, data.load(validation, graph))
    return Judge(graph, data.Samples(data.prepare(graph, arrays), None))


def _judged(built: Build, judge: Judge) -> Build:
    quality = judge.quality(built.graph)
    report = replace(
        built.report,
        agreement=quality.agreement,
        judged_sqnr_db=quality.sqnr_db,
        agreement_samples=judge.samples.count,
    )
    return replace(built, report=report)


def _searched(
    graph: Graph,
    arrays: Mapping[str, np.ndarray],
    options: Mapping[str, Any],
    budget: Budget,
    judge: Judge,
    made: Callable[[Graph, Quality | None], Build],
    plain: Build,
    say: Progress,
    judged_on: str,
) -> tuple[Build, Search]:
    from edgekit.search.run import search
    from quantizer.sensitivity import sensitivity

    found = sensitivity(graph, arrays, ranges=options.get("ranges", "mse"), progress=say)
    return search(
        found,
        judge,
        budget,
        lambda widths: made(*_quantized(graph, arrays, {**options, **widths}, _quiet)),
        plain,
        judged_on=judged_on,
        progress=say,
    )


def _quiet(stage: str, share: float) -> None:
    """The search says where it is."""


def _check_budget(built: Build, budget: Budget) -> None:
    excess = budget.excess(built.report)
    if excess:
        report = built.report
        parts = [f"{part}: {n} B of flash" for part, n in report.flash.items()]
        parts += [f"{part}: {n} B of RAM" for part, n in report.ram.items()]
        if budget.max_step is not None and (step := report.longest_step):
            parts.append(f"longest step: '{step.layer}'")
        raise EdgekitError(
            "E314",
            f"'{report.name}' exceeds the budget: {excess[0]}",
            details=[*excess[1:], *parts],
            help="raise the budget, or leave widths to edgekit: a float model without options of "
            "bits is searched for a mixture that fits",
        )
