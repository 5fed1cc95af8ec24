"""``edgekit report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.common import json_option, write_file, write_json

if TYPE_CHECKING:
    from edgekit.htmlreport.compare import Change, Comparison

#: Lines on what became worse in layers.
MOST_LINES = 10


@click.command("report")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE", help="The HTML file to write.")
@click.option(
    "--profile", "profiles", multiple=True, type=click.Path(path_type=Path), metavar="FILE.json",
    help="Figures of edgekit profile --json; may be repeated, the first is the one on top.",
)  # fmt: skip
@click.option(
    "--energy", "energies", multiple=True, type=click.Path(path_type=Path), metavar="FILE.json",
    help="Figures of edgekit energy --json; may be repeated.",
)  # fmt: skip
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="OTHER",
    help="Compare with another output folder, or with a file of edgekit report --json.",
)  # fmt: skip
@click.option(
    "--fail-on-regression", "percent", type=click.FloatRange(min=0), metavar="PERCENT",
    help="Status 1 where speed, flash or RAM grew by more than that; needs --against.",
)  # fmt: skip
@json_option
def report_command(
    out: Path,
    output: str | None,
    profiles: tuple[Path, ...],
    energies: tuple[Path, ...],
    against: Path | None,
    percent: float | None,
    json_file: str | None,
) -> None:
    """Write what is known of OUT as one HTML file: graph, latency, memory, flash, accuracy.

    The file loads nothing and opens from disk. With --against it shows what became better and
    worse, layer by layer.
    """
    from edgekit.htmlreport import compare, gather, open_other, page
    from edgekit.output import open_output

    if output is None and json_file is None:
        raise click.UsageError("give -o FILE.html, or --json FILE, or both")
    if percent is not None and against is None:
        raise click.UsageError("--fail-on-regression needs --against OTHER")
    facts = gather(open_output(out), profiles, energies)
    found = compare(facts, open_other(against), str(against)) if against else None
    if output is not None:
        write_file(Path(output), page(facts, found).encode())
    compared = {"comparison": found.as_json()} if found else {}
    if not write_json(json_file, {**facts.as_json(), **compared}):
        for gap in facts.gaps:
            click.echo(f"note     {gap}")
        for line in summary(found) if found else ():
            click.echo(line)
        if output is not None:
            click.echo(f"wrote    {output}")
    if found is not None and percent is not None:
        _refuse(found, percent)


def summary(found: Comparison) -> list[str]:
    """The comparison in lines of plain text."""
    lines = [f"note     {remark}" for remark in found.remarks]
    lines += [
        f"{c.verdict or '?':8} {_change(c)}" for c in found.totals if c.gates or c.unit == "dB"
    ]
    worse = [(c, row) for row in found.layers for c in row.changes if c.verdict == "worse"]
    worse.sort(key=lambda pair: -(pair[0].percent or 0))
    lines += [f"worse    '{row.name}' ({row.op}): {_change(c)}" for c, row in worse[:MOST_LINES]]
    if len(worse) > MOST_LINES:
        lines.append(f"         and {len(worse) - MOST_LINES} more figures of layers")
    return lines


def _change(c: Change) -> str:
    grown = f" ({c.percent:+.1f} %)" if c.percent is not None else ""
    return f"{c.what}: {_figure(c.before)} to {_figure(c.after)} {c.unit}{grown}"


def _figure(x: float | None) -> str:
    if x is None:
        return "unknown"
    return f"{x:,.0f}".replace(",", " ") if float(x).is_integer() else f"{x:.2f}"


def _refuse(found: Comparison, percent: float) -> None:
    from edgekit.errors import EdgekitError

    if not found.judges_speed:
        raise EdgekitError(
            "E746",
            f"no speed is known of both this build and '{found.other}': nothing to judge",
            details=list(found.remarks),
            help="give both a profile of one board, or compile both where their board can run",
        )
    grown = found.regressions(percent)
    if grown:
        what = "1 figure" if len(grown) == 1 else f"{len(grown)} figures"
        raise EdgekitError(
            "E745",
            f"{what} grew by more than {percent:g} % against '{found.other}'",
            details=[_change(c) for c in grown],
            help="the report names the layers; allow more with --fail-on-regression",
        )
