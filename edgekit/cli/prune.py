"""``edgekit prune``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgekit.cli.common import (
    cell,
    compiler_option,
    json_option,
    progress,
    share,
    table,
    write_json,
)
from edgekit.cli.compile import parse_bindings, short_name

if TYPE_CHECKING:
    from edgekit.pruning import Pruned, Side


@click.command("prune")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--calibration", type=click.Path(path_type=Path), required=True, help="Typical samples."
)
@click.option("--channels", type=float, metavar="SHARE", help="Remove this share of the channels.")
@click.option("--sparsity", type=float, metavar="SHARE", help="Make this share of weights zero.")
@click.option("--pattern", metavar="N:M", help="Keep at most N of M neighbouring weights.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="ONNX file to write."
)
@click.option(
    "--data", "evaluation", type=click.Path(path_type=Path),
    help="Samples to judge on; their labels give accuracy.  [default: the calibration data]",
)  # fmt: skip
@click.option("--ranking", type=click.Choice(["global", "layerwise"]), default="global",
              show_default=True, help="Where channels are taken from.")  # fmt: skip
@click.option("--channel-multiple", type=click.IntRange(min=1), default=4, show_default=True,
              help="Take channels in blocks of so many.")  # fmt: skip
@click.option("--inner-only", is_flag=True, help="Keep channels that residual adds tie.")
@click.option("--all-layers", is_flag=True, help="Zeros in the first and the last layer too.")
@click.option("--target", default="cortex-m4", show_default=True, help="CPU: edgekit targets.")
@click.option("--bind", multiple=True, metavar="NAME=N", help="Size of a symbolic dimension.")
@compiler_option
@json_option
def prune_command(
    model: Path,
    calibration: Path,
    channels: float | None,
    sparsity: float | None,
    pattern: str | None,
    output: Path,
    evaluation: Path | None,
    ranking: Literal["global", "layerwise"],
    channel_multiple: int,
    inner_only: bool,
    all_layers: bool,
    target: str,
    bind: tuple[str, ...],
    compiler: str,
    json_file: str | None,
) -> None:
    """Make a float MODEL (.onnx) smaller without training, and say what that is worth.

    Give one of --channels, --sparsity and --pattern.
    """
    from edgekit.pruning import prune

    if sum(way is not None for way in (channels, sparsity, pattern)) != 1:
        raise click.UsageError("give one of --channels, --sparsity and --pattern")
    with progress() as say:
        done = prune(
            model,
            calibration=calibration,
            output=output,
            channels=channels,
            sparsity=sparsity,
            pattern=parse_pattern(pattern),
            evaluation=evaluation,
            ranking=ranking,
            multiple=channel_multiple,
            inner_only=inner_only,
            all_layers=all_layers,
            target=target,
            bind=parse_bindings(bind),
            compiler=compiler,
            progress=say,
        )
    if not write_json(json_file, done.as_json()):
        _print(done)
        click.echo(f"wrote    {output}")


def parse_pattern(text: str | None) -> tuple[int, int] | None:
    """``"2:4"`` as (2, 4); a usage error where it is not two numbers."""
    if text is None:
        return None
    keep, _, of = text.partition(":")
    if not (keep.isdigit() and of.isdigit()):
        raise click.UsageError(f"--pattern takes N:M such as 2:4, not '{text}'")
    return int(keep), int(of)


def _print(done: Pruned) -> None:
    channels = done.method.endswith("channels")
    columns = ("layer", "channels", "left") if channels else ("layer", "weights", "zeros")
    rows = [(short_name(name), a, b) for name, (a, b) in done.layers.items()]
    table(f"pruned: {done.method}", columns, rows)
    table(
        f"judged on {done.samples} samples ({done.judged_on}), compiled for {done.target}",
        ("network", "accuracy %", "agreement %", "SQNR dB", "MACs", "weights", "zeros",
         "constants B", "flash B", "RAM B", "instructions", "cycles (est.)"),
        [_row(side, done.samples) for side in done.sides],
    )  # fmt: skip
    before, after = done.file_bytes
    click.echo(f"file     {cell(before)} to {cell(after)} B, float32")
    for line in done.verdict():
        click.echo(line)


def _row(side: Side, n: int) -> tuple[object, ...]:
    sqnr = None if math.isinf(side.sqnr_db) else side.sqnr_db
    return (side.name, share(side.accuracy, n), share(side.agreement, n), sqnr, side.macs,
            side.weights, side.zeros, side.constant_bytes, side.flash_bytes, side.ram_bytes,
            side.instructions, side.cycles)  # fmt: skip
