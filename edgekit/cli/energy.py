"""``edgekit energy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.common import json_option, table, write_json
from edgekit.cli.compile import short_name

if TYPE_CHECKING:
    from edgekit.energy import Energy


@click.command("energy")
@click.argument("profile", metavar="PROFILE.json", type=click.Path(path_type=Path))
@click.argument("trace", metavar="TRACE.csv", type=click.Path(path_type=Path))
@click.option(
    "--voltage", type=click.FloatRange(0, 100, min_open=True), help="Volts; default: the trace's."
)
@click.option("--time-column", help="Column of the time; default: found by its name.")
@click.option("--current-column", help="Column of the current.")
@click.option("--voltage-column", help="Column of the voltage.")
@click.option("--trigger-column", help="Column of the trigger pin; default: the pin that moves.")
@json_option
def energy_command(
    profile: Path,
    trace: Path,
    voltage: float | None,
    time_column: str | None,
    current_column: str | None,
    voltage_column: str | None,
    trigger_column: str | None,
    json_file: str | None,
) -> None:
    """Energy of each layer, from a power analyser's trace of `edgekit profile --trigger`.

    PROFILE.json is what that wrote with --json. Traces are CSV files of a PPK2, a Joulescope, an
    Otii, or any others with a header that names columns and units.
    """
    from edgekit.energy import Columns, energy, read_trace
    from edgekit.energy.account import load_profile

    board, timing = load_profile(profile)
    columns = Columns(time_column, current_column, voltage_column, trigger_column)
    found = energy(board, timing, read_trace(trace, columns), voltage)
    if not write_json(json_file, found.as_json()):
        _print(found)


def _print(found: Energy) -> None:
    rows = [
        (i, short_name(layer.name), 1e3 * layer.seconds, layer.energy_uj, layer.min_uj,
         layer.median_uj, layer.max_uj, layer.current_ma,
         100 * layer.energy_uj / found.whole.energy_uj
         if layer.energy_uj is not None and found.whole.energy_uj else None)
        for i, layer in enumerate(found.layers)
    ]  # fmt: skip
    whole = found.whole
    table(
        f"energy on {found.board}, {found.runs} run{'s' * (found.runs != 1)}",
        ("", "layer", "ms", "uJ", "min", "median", "max", "mA", "%"),
        rows,
        ("", "whole", 1e3 * whole.seconds, whole.energy_uj, whole.min_uj, whole.median_uj,
         whole.max_uj, whole.current_ma, None),
    )  # fmt: skip
    for layer in [*found.layers, whole]:
        if layer.why:
            click.echo(f"no figure for '{short_name(layer.name)}': {layer.why}")
    click.echo(
        f"{found.edges} edges, a sample every {1e6 * found.interval:.4g} us: a layer's ends are "
        "known to one sample"
    )
    if found.refused:
        click.echo(f"{len(found.refused)} pulses are no whole run; {found.refused[0]}", err=True)
