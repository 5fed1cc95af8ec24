"""``edgekit library``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.common import cell, json_option, progress, table, write_json

if TYPE_CHECKING:
    from edgekit.library import Library


@click.command("library")
@click.argument("outs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write.  [default: library/ in the first of OUTS]",
)
@json_option
def library_command(outs: tuple[Path, ...], output: Path | None, json_file: str | None) -> None:
    """Make a library for programs under Linux of OUTS, one model compiled for one or more CPUs.

    Static, shared, with a C header and a Python module. Where there are several CPUs, the best
    program that the machine can run is chosen when the model is opened.
    """
    from edgekit.library import build

    with progress() as say:
        done = build(outs, output, progress=say)
    if not write_json(json_file, done.as_json()):
        _print(done)


def _print(done: Library) -> None:
    table(
        f"library {done.name}",
        ("program", "threads", "arena B", "kernels", "constants B"),
        [(p.target, p.threads, p.arena, p.kernels, p.constants) for p in done.programs],
    )
    together = sum(p.constants for p in done.programs)
    click.echo(
        f"shared   {cell(done.shared)} B stripped: code {cell(done.shared_code)} B, "
        f"constants {cell(done.constants)} B"
        + (f" of {cell(together)} B, equal ones once" if done.constants < together else "")
    )
    if done.bundle:
        click.echo(f"GPU      {cell(done.bundle)} B of the constants: functions, weights, samples")
    click.echo(f"static   {cell(done.static)} B")
    click.echo(f"memory   {cell(done.context)} B for an instance")
    click.echo(f"wrote    {done.path}")
