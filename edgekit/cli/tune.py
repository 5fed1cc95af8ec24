"""``edgekit tune``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.board import access_options
from edgekit.cli.common import compiler_option, json_option, progress, table, write_json

if TYPE_CHECKING:
    from edgekit.tuning.sweep import Job, Outcome


@click.command("tune")
@click.argument("outs", nargs=-1, required=True, metavar="OUT...", type=click.Path(path_type=Path))
@click.option("--board", "boards", multiple=True, required=True, help="Board: edgekit boards.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="Time for measuring; what is left then is for another run.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Runs of each variant, of which the fastest counts.",
)
@click.option("--restart", is_flag=True, help="Measure everything again.")
@click.option(
    "--allow-cpu",
    is_flag=True,
    help="Take a device that computes on the CPU too, to try the tuner itself.",
)
@click.option(
    "--scheduler",
    default="",
    metavar="ADDRESS",
    help="Several OUT or --board: share the jobs out over this cluster of dask.distributed.",
)
@access_options
@compiler_option
@json_option
def tune_command(
    outs: tuple[Path, ...],
    boards: tuple[str, ...],
    seconds: float,
    repeat: int,
    restart: bool,
    allow_cpu: bool,
    scheduler: str,
    compiler: str,
    json_file: str | None,
    **access: str | None,
) -> None:
    """Time the variants and local sizes of each layer of OUT on a board's GPU.

    The fastest are kept beside the bundle, in OUT/tuning, and by the board's program, which takes
    them from its next start on. A second run goes on where the first one ended.
    """
    from edgekit.tuning.sweep import Job

    if len(outs) * len(boards) > 1 or scheduler:
        if any(access.values()):
            raise click.UsageError("--route, --port, --serial and --transport are for one board")
        jobs = [
            Job(str(out.resolve()), board, seconds, repeat, restart, allow_cpu, compiler)
            for out in outs
            for board in boards
        ]
        _sweep(jobs, scheduler, json_file)
        return
    from edgekit.devices.find import find_board
    from edgekit.devices.routes import Access
    from edgekit.output import open_output
    from edgekit.tuning import tune
    from edgekit.tuning.tune import notice

    with progress() as say:
        tuned = tune(
            open_output(outs[0]), find_board(boards[0]), seconds=seconds, repeat=repeat,
            restart=restart, allow_cpu=allow_cpu, compiler=compiler, access=Access(**access),
            progress=say,
        )  # fmt: skip
    if text := notice(tuned):
        click.echo(f"warning: {text}", err=True)
    if not write_json(json_file, tuned.as_json()):
        _print(tuned.as_json())


def _sweep(jobs: Sequence[Job], scheduler: str, json_file: str | None) -> None:
    from edgekit.errors import EdgekitError
    from edgekit.tuning.sweep import sweep

    outcomes: list[Outcome] = []
    with progress() as say:
        say(f"{len(jobs)} jobs", 0.0)
        for outcome in sweep(jobs, scheduler=scheduler):
            outcomes.append(outcome)
            say(f"{outcome.job.folder} on {outcome.job.board}", len(outcomes) / len(jobs))
    if not write_json(json_file, [o.as_json() for o in outcomes]):
        rows = [_row(o) for o in outcomes]
        table("Sweep", ["model", "board", "measured", "left", "us before", "us now", "error"], rows)
    if failed := [o for o in outcomes if o.error]:
        raise EdgekitError(
            "E386",
            f"{len(failed)} of {len(jobs)} jobs failed",
            details=[f"{o.job.folder} on {o.job.board}: {o.error}" for o in failed],
            help="the same command goes on with what is left",
        )


def _row(outcome: Outcome) -> list[object]:
    job, figures = outcome.job, outcome.figures
    if figures is None:
        return [Path(job.folder).name, job.board, None, None, None, None, outcome.error]
    before, now = _sums(figures)
    return [Path(job.folder).name, job.board, figures["measured"], figures["left"],
            before / 1000 or None, now / 1000 or None, ""]  # fmt: skip


def _sums(figures: dict[str, Any]) -> tuple[int, int]:
    return (
        sum(layer["default_ns"] for layer in figures["layers"]),
        sum(layer["ns"] for layer in figures["layers"]),
    )


def _print(figures: dict[str, Any]) -> None:
    from edgekit.cli.compile import short_name

    rows = [
        [i, short_name(layer["name"]), layer["variant"] or "not measured", layer["local_sizes"],
         *((layer["default_ns"] / 1000, layer["ns"] / 1000) if layer["variant"] else (None, None))]
        for i, layer in enumerate(figures["layers"])
    ]  # fmt: skip
    measured = sum(bool(layer["variant"]) for layer in figures["layers"])
    what = "total" if measured == len(rows) else f"{measured} of {len(rows)}"
    before, now = _sums(figures)
    us = "us (a CPU)" if figures["is_cpu"] else "us"
    table(
        f"{figures['device']} ({figures['driver']})",
        ["", "layer", "variant", "local sizes", f"{us} before", f"{us} now"],
        rows,
        ["", what, "", "", before / 1000, now / 1000],
    )
    for text in figures["wrong"]:
        click.echo(f"  {text}")
    left = f", {figures['left']} left for another run" if figures["left"] else ""
    click.echo(f"{figures['measured']} variants and local sizes measured{left}")
    click.echo(f"wrote    {figures['choices']}")
