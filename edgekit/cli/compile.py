"""``edgekit compile``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.budget import budget_options, chosen_budget, print_search
from edgekit.cli.common import (
    cell,
    compiler_option,
    json_option,
    progress,
    table,
    write_json,
)

if TYPE_CHECKING:
    from edgekit.report import GpuReport, LayerReport, Report


def quantization_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of `quantizer.quantize`; None means its measured default."""
    for option in reversed(
        [
            click.option("--ranges", type=click.Choice(["mse", "minmax", "percentile", "kl"]),
                         help="How activation ranges are chosen.  [default: mse]"),
            click.option("--weights", type=click.Choice(["per-channel", "per-tensor"]),
                         help="Scales of weights.  [default: per-channel]"),
            click.option("--bias-correction", type=click.Choice(["empirical", "analytic", "none"]),
                         help="What biases make up for.  [default: empirical]"),
            click.option("--weight-bits", type=click.Choice(["8", "4"]),
                         help="4: but first, last and depthwise layers.  [default: 8]"),
            click.option("--layer-bits", multiple=True, metavar="NAME=4",
                         help="Bits of one layer's weights; may be repeated."),
            click.option("--activation-bits", type=click.Choice(["8", "16"]),
                         help="Of tensors between layers.  [default: 8]"),
            click.option("--layer-activations", multiple=True, metavar="NAME=16",
                         help="Bits of one layer's result or of an input; may be repeated."),
            click.option("--float-layer", "float_layers", multiple=True, metavar="NAME",
                         help="Keep one layer in float32; may be repeated."),
            click.option("--rounding", type=click.Choice(["nearest", "gptq"]),
                         help="Of weights.  [default: gptq]"),
            click.option("--equalize", is_flag=True, default=None,
                         help="Try cross-layer equalization; kept where it helps."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def chosen_quantization(options: dict[str, Any]) -> dict[str, Any]:
    """What was asked for on the command line as arguments of `quantizer.quantize`.

    Commands that quantize to int8 activations only have no options for others.
    """
    widths = {
        "weight_bits": _bits(
            options.pop("weight_bits"), options.pop("layer_bits"), "--layer-bits", ("4", "8")
        ),
        "activation_bits": _bits(
            options.pop("activation_bits", None),
            options.pop("layer_activations", ()),
            "--layer-activations",
            ("8", "16"),
        ),
    }
    chosen = {name: value for name, value in options.items() if value not in (None, ())}
    return chosen | {name: bits for name, bits in widths.items() if bits is not None}


def _bits(
    general: str | None, layers: tuple[str, ...], option: str, allowed: tuple[str, str]
) -> int | dict[str, int] | None:
    """Bits of everything, or of single layers with "*" for the others; None for no option."""
    named = {}
    for text in layers:
        name, _, width = text.rpartition("=")
        if not name or width not in allowed:
            raise click.UsageError(
                f"{option} takes NAME={allowed[0]} or NAME={allowed[1]}, not '{text}'"
            )
        named[name] = int(width)
    if named:
        return {"*": int(general or 8), **named}
    return int(general) if general else None


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", default="cortex-m4", show_default=True, help="CPU: edgekit targets.")
@click.option(
    "--calibration", type=click.Path(path_type=Path), help="Samples (.npz, .npy) for float models."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write."
)
@quantization_options
@click.option("--bind", multiple=True, metavar="NAME=N", help="Size of a symbolic dimension.")
@budget_options
@click.option(
    "--sparse-weights",
    type=click.Choice(["auto", "smallest", "off"]),
    default="auto",
    show_default=True,
    help="Store zeros as a bitmask: smaller, but slower.",
)
@click.option(
    "--optimize",
    type=click.Choice(["balanced", "speed", "ram", "size"]),
    help="What kernels are chosen for.  [default: balanced, or what keeps the budget]",
)
@click.option(
    "--threads",
    type=int,
    default=1,
    show_default=True,
    help="Most threads that share in one inference (edgekit library).",
)
@click.option(
    "--stream",
    nargs=2,
    metavar="axis=A hop=N",
    help="Take N new steps of time per call, along axis A of the input.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="INPUT=OUTPUT",
    help="Keep an input on the device, updated by an output; may be repeated.",
)
@click.option(
    "--processing",
    type=click.Path(path_type=Path),
    help="Steps in front of the model and behind it (.yaml).",
)
@click.option(
    "--float",
    "precision",
    type=click.Choice(["fp32", "fp16"]),
    help="Leave a float model in float; fp16 is what a GPU stores.",
)
@click.option("--require-fast", is_flag=True, help="Fail where only portable kernels apply.")
@compiler_option
@json_option
def compile_command(
    model: Path,
    target: str,
    calibration: Path | None,
    output: Path,
    bind: tuple[str, ...],
    validation: Path | None,
    sparse_weights: str,
    optimize: str | None,
    threads: int,
    stream: tuple[str, str] | None,
    states: tuple[str, ...],
    processing: Path | None,
    precision: str | None,
    require_fast: bool,
    compiler: str,
    json_file: str | None,
    **options: Any,
) -> None:
    """Compile MODEL (.onnx, .tflite, .pt2, .keras, .h5, SavedModel) for a target.

    A float model becomes int8. Where that exceeds the budget, the widths of single layers are
    searched for.
    """
    from edgekit import pipeline
    from edgekit.streaming import parse_hop
    from edgekit.streaming.kept import parse_pairs

    budget = chosen_budget(options)
    with progress() as say:
        done = pipeline.compile(
            model,
            output=output,
            target=target,
            calibration=calibration,
            quantization=chosen_quantization(options),
            bind=parse_bindings(bind),
            budget=budget,
            validation=validation,
            sparse_weights=sparse_weights,
            optimize=optimize,
            threads=threads,
            require_fast=require_fast,
            stream=parse_hop(stream) if stream else None,
            states=parse_pairs(states),
            compiler=compiler,
            processing=processing,
            precision=precision,
            progress=say,
        )
    search = {"search": done.search.as_json()} if done.search else {}
    if not write_json(json_file, {**done.report.as_json(), **search}):
        if done.search:
            print_search(done.search)
        print_report(done.report, str(output))
        if done.graph.metadata.get("note"):
            click.echo(f"note     {done.graph.metadata['note']}")


def parse_bindings(bind: tuple[str, ...]) -> dict[str, int]:
    """``("N=1",)`` as ``{"N": 1}``; a usage error otherwise."""
    sizes = {}
    for text in bind:
        name, _, size = text.partition("=")
        if not name or not size.isdigit() or int(size) < 1:
            raise click.UsageError(f"--bind takes NAME=N with N of 1 or more, not '{text}'")
        sizes[name] = int(size)
    return sizes


#: Share of the cycles from which on the report says what the next best kernel would cost.
NOTABLE = 0.1


def print_report(report: Report, output: str) -> None:
    """The report as tables on standard output."""
    exact = report.cycles is None  # no cycle model, so no latency either
    cost, counted = report.cost
    by_cost = bool(exact and report.instructions is None and counted)
    columns: tuple[str, ...] = (
        *("layer", "operator", "in", "out", "MACs", "kernel"),
        *("constants B", "scratch B"),
    )
    rows = [
        (
            short_name(layer.name),
            layer.op,
            _sample(layer.input_shape),
            _sample(layer.output_shape),
            layer.macs,
            _kernel(layer),
            layer.constant_bytes,
            layer.scratch_bytes,
            layer.cost if by_cost else layer.instructions if exact else layer.cycles,
            *((_percent(report.utilisation(layer)),) if report.lanes else ()),
        )
        for layer in report.layers
    ]
    spent = cost if by_cost else report.instructions if exact else report.cycles
    total: tuple[object, ...] = ("total", "", "", "", report.macs, "", None, None, spent)
    unit = "instructions (est.)" if by_cost else "instructions" if exact else "cycles (est.)"
    columns = (*columns, unit)
    if report.lanes:
        columns, total = (*columns, "use %"), (*total, None)
    table(f"{report.name} for {report.target}", columns, rows, total)
    for (op, note), names in _notes(report).items():
        who = short_name(names[0]) if len(names) == 1 else f"{len(names)} layers of {op}"
        click.echo(f"  {who}: {note}")
    if report.model_macs and report.macs < report.model_macs:
        click.echo(
            f"MACs     {cell(report.macs)} run of {cell(report.model_macs)}: channels that are "
            "constant for every input are left out"
        )
    if report.optimize != "balanced":
        click.echo(f"kernels  chosen for --optimize {report.optimize}")
    for layer in report.layers:
        share = (layer.cycles or 0) / (report.cycles or 1)
        if layer.runner_up and share > NOTABLE:
            click.echo(f"  {short_name(layer.name)}: not {layer.runner_up}")
    click.echo(f"flash    {_b(report.flash_bytes)}: {_join(report.flash)}")
    click.echo(f"RAM      {_b(report.ram_bytes)}: {_join(report.ram)}")
    if "stack" not in report.ram:
        click.echo("         and the process's stack, which the GPU's driver uses too")
    if report.ram["arena"] == report.arena_lower_bound:
        click.echo("         the arena is as small as these kernels allow")
    if report.states:
        kept = ", ".join(f"{short_name(s.name)} {_b(s.nbytes)}" for s in report.states)
        click.echo(f"states   kept from call to call until ek_reset: {kept}")
    if report.gpu is not None:
        _print_gpu(report.gpu, len(report.layers))
    if report.wide:
        wide = ", ".join(short_name(name) for name in report.wide)
        click.echo(f"widths   int16 results, others int8: {wide}")
    for region in report.ram_regions:
        click.echo(
            f"         {region.name} ({region.wait_states} wait states): {_b(region.arena)} of "
            f"{_b(region.size)} by heat, {_b(region.traffic)} moved (estimated)"
        )
    if report.latency_ms is not None:
        click.echo(
            f"latency  {report.latency_ms:.2f} ms estimated at {report.clock_hz / 1e6:g} MHz "
            f"on {report.board} ({report.estimate})"
        )
    if report.instructions is not None:
        where = "" if report.cycles is not None else f" on {report.board}; cycles are unknown"
        click.echo(f"         {cell(report.instructions)} instructions, exact{where}")
    if (step := report.longest_step) and len(report.layers) > 1:
        took = f"{cell(step.instructions)} instructions"
        if step.cycles is not None:
            took = f"{step.ms:.2f} ms ({cell(step.cycles)} cycles) estimated, {took}"
        click.echo(f"step     the longest call of ek_step is {short_name(step.layer)}: {took}")
    if report.not_measured:
        if by_cost:
            click.echo(
                f"         {cell(cost)} instructions estimated: what kernels count when they are "
                f"written, of {counted} of {len(report.layers)} layers"
            )
        click.echo(f"speed    unknown: {report.not_measured}")
    if report.logits_sqnr_db is not None:
        click.echo(
            f"quality  {report.logits_sqnr_db:.1f} dB SQNR of the logits against float on "
            f"{report.calibration_samples} calibration samples"
        )
    if report.judged_sqnr_db is not None:
        click.echo(
            f"         {report.judged_sqnr_db:.1f} dB on {report.agreement_samples} samples that "
            "judge the budget"
        )
    if report.agreement is not None:
        click.echo(
            f"         {100 * report.agreement:.2f} % of {report.agreement_samples} samples have "
            "the float network's class"
        )
    click.echo(f"wrote    {output}")


def _print_gpu(gpu: GpuReport, layers: int) -> None:
    if gpu.why_not:
        click.echo(f"GPU      none: {gpu.why_not}")
        return
    click.echo(
        f"GPU      {gpu.layers} of {layers} layers, {gpu.variants} variants; "
        f"arena {_b(gpu.arena_bytes)}, constants {_b(gpu.constant_bytes)}, "
        + (f"SPIR-V {_b(gpu.spirv_bytes)}" if gpu.spirv_bytes else "no SPIR-V")
    )
    for name, why in gpu.on_cpu.items():
        click.echo(f"  {short_name(name)}: the CPU, {why}")


def _kernel(layer: LayerReport) -> str:
    """Who runs a layer: a kernel of the CPU, or the accelerator and with which command."""
    from edgekit.report import ACCELERATOR

    name = layer.variant or layer.family
    return f"accelerator, {name}" if layer.family == ACCELERATOR else name


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _notes(report: Report) -> dict[tuple[str, str], list[str]]:
    """Names of layers by operator and what is said of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for layer in report.layers:
        if layer.note:
            found.setdefault((layer.op, layer.note), []).append(layer.name)
    return found


def _sample(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the batch axis of 1, where it has one in front."""
    return shape[1:] if shape[:1] == (1,) else shape


def _b(nbytes: int) -> str:
    return f"{nbytes:,} B".replace(",", " ")


def _join(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {_b(nbytes)}" for name, nbytes in parts.items())


def short_name(name: str, width: int = 36) -> str:
    """The telling end of a long layer name."""
    first = name.split(";")[0]
    return first if len(first) <= width else "…" + first[-(width - 1) :]
