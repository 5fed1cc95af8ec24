"""``edgekit diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.common import json_option, progress, table, write_file, write_json
from edgekit.cli.compile import parse_bindings, short_name

if TYPE_CHECKING:
    from edgekit.diff import Diff
    from edgekit.graph import Graph


@click.command("diff")
@click.argument("first", metavar="MODEL|OUT1", type=click.Path(path_type=Path))
@click.argument("second", metavar="OUT2", type=click.Path(path_type=Path))
@click.option(
    "--data", "data_file", type=click.Path(path_type=Path), required=True, help="Samples."
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=256, show_default=True,
    help="How many of the samples to take, from the first on.",
)  # fmt: skip
@click.option("--no-lift", is_flag=True, help="Do not measure what 16-bit tensors would gain.")
@click.option("--bind", multiple=True, metavar="NAME=N", help="Size of a symbolic dimension.")
@click.option("--html", metavar="FILE", help="Write a page with plots.")
@json_option
def diff_command(
    first: Path,
    second: Path,
    data_file: Path,
    samples: int,
    no_lift: bool,
    bind: tuple[str, ...],
    html: str | None,
    json_file: str | None,
) -> None:
    """Compare, tensor by tensor, a model file (or a compiled model) with a compiled model.

    SQNR is that of the whole integer network up to a tensor; local SQNR that of the one layer,
    fed with the first model's values: it says who is to blame.
    """
    from edgekit import data
    from edgekit.diff import compare, page
    from edgekit.output import open_output

    right = open_output(second).graph
    left = _first(first, bind)
    loaded = data.load(data_file, right)
    with progress() as say:
        found = compare(
            left,
            right,
            {name: x[:samples] for name, x in loaded.arrays.items()},
            labels=None if loaded.labels is None else loaded.labels[:samples],
            names=(first.name or str(first), second.name or str(second)),
            lift=not no_lift,
            progress=say,
        )
    if html is not None:
        write_file(Path(html), page(found).encode())
    if not write_json(json_file, found.as_json()):
        _print(found)
        if html is not None:
            click.echo(f"wrote    {html}")


def _first(path: Path, bind: tuple[str, ...]) -> Graph:
    from edgekit import importers
    from edgekit.output import open_output

    if path.is_dir():
        return open_output(path).graph
    return importers.load(path, bind=parse_bindings(bind), float_behind=True)


def _print(diff: Diff) -> None:
    columns = ("tensor", "operator", "SQNR dB", "local dB", "max error", "cosine", "saturated %",
               "range used %", "16 bit: gain dB", "RAM +B", "flash +B")  # fmt: skip
    rows = [
        (short_name(t.name), t.op, t.sqnr_db, t.local_sqnr_db, f"{t.max_error:.4g}",
         f"{t.cosine:.5f}", 100 * t.saturated, 100 * t.used,
         t.lift.gain_db if t.lift else None, t.lift.ram_bytes if t.lift else None,
         t.lift.flash_bytes if t.lift else None)
        for t in diff.tensors
    ]  # fmt: skip
    table(f"{diff.left} against {diff.right}, {diff.samples} samples", columns, rows)
    for line in summary(diff):
        click.echo(line)


def summary(diff: Diff) -> list[str]:
    """The findings in lines of plain text."""
    lines = [f"logits   {diff.logits_sqnr_db:.1f} dB SQNR ('{short_name(diff.logits)}')"]
    if diff.agreement is not None:
        lines.append(f"classes  {100 * diff.agreement:.2f} % of the samples get the same one")
    if diff.accuracy_left is not None and diff.accuracy_right is not None:
        lines.append(
            f"accuracy {100 * diff.accuracy_left:.2f} % and {100 * diff.accuracy_right:.2f} %"
        )
    for t in diff.worst_locally():
        lines.append(f"loses    {t.local_sqnr_db:.1f} dB in '{short_name(t.layer)}' ({t.op}) alone")
    for t in diff.worth_lifting():
        assert t.lift is not None
        lines.append(
            f"16 bits  for '{short_name(t.name)}' gain {t.lift.gain_db:+.2f} dB of the logits "
            f"for {t.lift.ram_bytes} B more RAM and {t.lift.flash_bytes} B more flash (estimated): "
            f"edgekit compile --layer-activations '{t.layer}=16'"
        )
    if diff.weights_only_db is not None and diff.lift_base_db is not None:
        lines.append(
            f"limit    {diff.weights_only_db:.1f} dB with no activation quantized (weights alone; "
            f"{diff.lift_base_db:.1f} dB with all, on {diff.lift_samples} samples)"
        )
    if diff.unmatched:
        lines.append(f"unmatched {len(diff.unmatched)} tensors, '{diff.unmatched[0]}' for one")
    return lines
