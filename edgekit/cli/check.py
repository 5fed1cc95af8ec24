"""``edgekit check``."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.common import json_option, table, write_json
from edgekit.cli.compile import parse_bindings, short_name


@click.command("check")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--target", default="cortex-m4", show_default=True, help="CPU: edgekit targets.")
@click.option("--bind", multiple=True, metavar="NAME=N", help="Size of a symbolic dimension.")
@json_option
def check_command(model: Path, target: str, bind: tuple[str, ...], json_file: str | None) -> None:
    """Say which nodes of MODEL a target cannot run, all at once, before anything is compiled."""
    from edgekit.check import check

    findings = check(model, target=target, bind=parse_bindings(bind))
    rows = [(short_name(f.node), f.op, f.kernel, f.reason) for f in findings]
    columns = ("node", "operator", "kernel", "note")
    bad = [f for f in findings if not f.kernel]
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table(f"{model.name} on {target}", columns, rows)
        click.echo(_not_supported(len(bad)) if bad else f"all {len(findings)} nodes are supported")
    if bad:
        raise click.exceptions.Exit(1)


def _not_supported(count: int) -> str:
    # Of how many is not known where the importer gave up on those very nodes.
    return "1 node is not supported" if count == 1 else f"{count} nodes are not supported"
