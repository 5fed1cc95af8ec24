"""``edgekit validate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.board import access_options, board_option
from edgekit.cli.common import compiler_option, json_option, mode_option, progress, write_json

if TYPE_CHECKING:
    from edgekit.validate import Validation


@click.command("validate")
@click.argument("out", type=click.Path(path_type=Path))
@board_option
@click.option(
    "--data",
    "data_file",
    type=click.Path(path_type=Path),
    help="Samples; default: the golden vectors that the bundle carries.",
)
@click.option("--samples", type=click.IntRange(min=1), help="Only so many, from the first on.")
@click.option(
    "--against",
    type=click.Choice(["reference", "host"]),
    default="reference",
    show_default=True,
    help="'reference' (numpy) or 'host' (the same C on this machine).",
)
@access_options
@mode_option
@compiler_option
@json_option
def validate_command(
    out: Path,
    board: str,
    data_file: Path | None,
    samples: int | None,
    against: str,
    aot: bool,
    compiler: str,
    json_file: str | None,
    **access: str | None,
) -> None:
    """Compare the outputs of OUT on a board with the reference's, byte by byte.

    Exit status 1 where any byte differs. A model with states runs through the samples in order.
    """
    from edgekit import data
    from edgekit.devices.find import find_board
    from edgekit.devices.routes import Access
    from edgekit.output import open_output
    from edgekit.validate import validate

    folder, chosen, way = open_output(out), find_board(board), Access(**access)
    inputs = labels = None
    if data_file is not None:
        loaded = data.load(data_file, folder.graph)
        taken = {name: x[:samples] for name, x in loaded.arrays.items()}
        inputs = data.quantize_inputs(folder.graph, taken)
        labels = None if loaded.labels is None else loaded.labels[:samples]
    with progress() as say:
        found = validate(
            folder, chosen, inputs, labels, against=against, mode="aot" if aot else "interpreter",
            compiler=compiler, access=way, progress=say,
        )  # fmt: skip
    for notice in found.notices:
        click.echo(f"warning: {notice}", err=True)
    if not write_json(json_file, found.as_json()):
        _print(found)
    if found.first is not None:
        raise found.error()


def _print(found: Validation) -> None:
    click.echo(
        f"{found.samples} samples on {found.board} ({found.mode}) against the {found.against}: "
        f"{found.equal} equal, {found.samples - found.equal} different "
        f"({found.different_bytes} of {found.bytes} bytes)"
        + (f", floats may be {found.tolerance:g} of the largest apart" if found.tolerance else "")
    )
    if found.correct is not None:
        peer, board = found.correct
        click.echo(
            f"accuracy {100 * board / found.samples:.2f} % on the board ({board} of "
            f"{found.samples}), {100 * peer / found.samples:.2f} % expected"
        )
