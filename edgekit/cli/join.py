"""``edgekit join``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.common import cell, compiler_option, json_option, progress, table, write_json
from edgekit.cli.compile import short_name

if TYPE_CHECKING:
    from edgekit.joining import Joined


@click.command("join")
@click.argument("outs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write."
)
@compiler_option
@json_option
def join_command(
    outs: tuple[Path, ...], output: Path, compiler: str, json_file: str | None
) -> None:
    """Give the compiled models OUTS, which run one after the other, one arena.

    The folder has each model as a folder of its own, for run, flash and profile, and C sources of
    all of them together.
    """
    from edgekit.joining import join

    with progress() as say:
        done = join(outs, output, compiler=compiler, progress=say)
    if not write_json(json_file, done.as_json()):
        _print(done)


def _print(done: Joined) -> None:
    members = done.members
    table(
        f"{len(members)} models for {done.target}",
        ("model", "arena alone B", "states B", "reaches to B", "kernels", "of them shared",
         "kernels flash B"),
        [(short_name(m.name), m.arena, m.kept, m.reach, m.kernels, m.shared, m.kernel_flash)
         for m in members],
        ("sum", sum(m.arena for m in members), sum(m.kept for m in members), None, None, None,
         sum(m.kernel_flash for m in members)),
    )  # fmt: skip
    rest = done.arena - sum(m.kept for m in members)
    click.echo(
        f"arena    {cell(done.arena)} B: states {cell(done.arena - rest)} B, the rest of the "
        f"largest {cell(rest)} B; {cell(done.arena_saved)} B saved"
    )
    click.echo(
        f"kernels  {cell(done.kernel_flash)} B of flash, each once; "
        f"{cell(done.flash_saved)} B saved"
    )
    click.echo(f"wrote    {done.path}")
