"""``edgekit finetune``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.common import json_option, progress, table, write_json
from edgekit.cli.compile import chosen_quantization, parse_bindings

if TYPE_CHECKING:
    import numpy as np

    from edgekit.data import Samples
    from edgekit.graph import Graph

_PATH = click.Path(path_type=Path)


@click.command("finetune")
@click.argument("model", type=_PATH)
@click.option(
    "--data", "data_file", type=_PATH, required=True, help="Training samples; labels are optional."
)
@click.option("--teacher", type=_PATH, help="Model to learn from.  [default: MODEL itself]")
@click.option("--eval", "eval_file", type=_PATH, help="Held-out samples for the figures.")
@click.option("--qat", is_flag=True, help="Train the integer network that compile would make.")
@click.option(
    "--calibration", type=_PATH, help="Samples that set integer ranges.  [default: some of --data]"
)
@click.option(
    "--ranges",
    type=click.Choice(["mse", "minmax", "percentile", "kl"]),
    help="How activation ranges are chosen.  [default: mse]",
)
@click.option(
    "--weights",
    type=click.Choice(["per-channel", "per-tensor"]),
    help="Scales of weights.  [default: per-channel]",
)
@click.option(
    "--weight-bits",
    type=click.Choice(["8", "4"]),
    help="4: but first, last and depthwise layers. Implies --qat.  [default: 8]",
)
@click.option(
    "--layer-bits",
    multiple=True,
    metavar="NAME=4",
    help="Bits of one layer's weights; may be repeated. Implies --qat.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Learning rate of Adam; falls to zero.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Softens the classes that teacher and student compare.",
)
@click.option(
    "--label-weight",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Share of the labels in the loss, where there are any.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--bind", multiple=True, metavar="NAME=N", help="Size of a symbolic dimension.")
@click.option("-o", "--output", type=_PATH, required=True, help="ONNX file to write.")
@json_option
def finetune_command(
    model: Path,
    data_file: Path,
    teacher: Path | None,
    eval_file: Path | None,
    qat: bool,
    calibration: Path | None,
    epochs: int,
    lr: float,
    batch_size: int,
    temperature: float,
    label_weight: float,
    seed: int,
    bind: tuple[str, ...],
    output: Path,
    json_file: str | None,
    **quantization: Any,
) -> None:
    """Train MODEL (float .onnx) further with PyTorch, and write it as ONNX.

    After pruning, or with --qat aware of quantization. The student learns from what the teacher
    says about each sample; labels are optional.
    """
    from finetune import require_torch

    require_torch()
    from edgekit import data, importers
    from edgekit.exporters import save_onnx
    from finetune import fine_tune
    from finetune.losses import Distillation, default_loss
    from finetune.train import adam_at, spread

    sizes = parse_bindings(bind)
    graph = importers.load(model, bind=sizes)
    master = graph if teacher is None else importers.load(teacher, bind=sizes)
    samples = data.load(data_file, graph)
    held_out = samples if eval_file is None else data.load(eval_file, graph)
    chosen = chosen_quantization(dict(quantization))
    options = chosen if qat or chosen else None
    ranges = None
    if options is not None:
        ranges = (
            spread(samples.arrays) if calibration is None else data.load(calibration, graph).arrays
        )
    elif calibration is not None:
        raise click.UsageError("--calibration is for quantization-aware training: add --qat")
    training: dict[str, Any] = dict(samples.arrays)
    if samples.labels is not None:
        training[data.LABEL] = samples.labels
    values = default_loss(graph, samples.labels is not None).values
    before = _figures("before", graph, master, held_out, options, ranges)
    with progress() as say:
        tuned = fine_tune(
            graph,
            training,
            teacher=master,
            quantization=options,
            calibration=ranges,
            optimizer=adam_at(lr),
            loss=Distillation(temperature, label_weight, values),
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            progress=say,
        )
    nbytes = save_onnx(tuned, output)
    rows = [
        *([] if master is graph else _figures("teacher", master, master, held_out, None, None)),
        *before,
        *_figures("after", tuned, master, held_out, options, ranges),
    ]
    result = {
        "samples": held_out.count,
        "held_out": eval_file is not None,
        "networks": rows,
        "output": str(output),
        "bytes": nbytes,
    }
    if not write_json(json_file, result):
        where = "held-out samples" if eval_file else "training samples (--eval has held-out ones)"
        _print(rows, held_out.count, where)
        click.echo(f"wrote    {output} ({nbytes:,} B)".replace(",", " "))
        if options is not None:
            click.echo("next     " + _compile_line(output, calibration or data_file, quantization))


def _figures(
    when: str,
    graph: Graph,
    teacher: Graph,
    samples: Samples,
    options: Mapping[str, Any] | None,
    ranges: Mapping[str, np.ndarray] | None,
) -> list[dict[str, Any]]:
    """How the float network does, and where it is trained for it the integer one."""
    from finetune.measure import integer_scores, measured, real_scores

    want = real_scores(teacher, samples.arrays)
    found = [(f"{when}, float", real_scores(graph, samples.arrays))]
    if options is not None and ranges is not None:
        found.append((f"{when}, integer", integer_scores(graph, samples.arrays, ranges, options)))
    return [{"network": name, **measured(have, want, samples.labels)} for name, have in found]


def _print(rows: list[dict[str, Any]], count: int, where: str) -> None:
    columns = ("network", "accuracy %", "agreement with teacher %", "SQNR to teacher dB")

    def percent(share: float | None) -> float | None:
        return None if share is None else 100 * share

    table(
        f"{count} {where}",
        columns,
        [
            (r["network"], percent(r["accuracy"]), percent(r["agreement"]), r["sqnr_db"])
            for r in rows
        ],
    )


def _compile_line(output: Path, calibration: Path, options: Mapping[str, Any]) -> str:
    """The command that compiles the network that was trained."""
    words = ["edgekit", "compile", str(output), "--calibration", str(calibration)]
    for name in ("ranges", "weights", "weight_bits"):
        if options[name] is not None:
            words += ["--" + name.replace("_", "-"), str(options[name])]
    for layer in options["layer_bits"]:
        words += ["--layer-bits", layer]
    words += ["--rounding", "nearest", "--bias-correction", "none", "-o", "OUT"]
    return shlex.join(words)
