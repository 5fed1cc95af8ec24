"""``edgekit targets``, ``boards`` and ``ops``: what there is."""

from __future__ import annotations

import click

from edgekit.cli.common import json_option, table, write_json


@click.command("targets")
@json_option
def targets_command(json_file: str | None) -> None:
    """List the CPUs that models can be compiled for."""
    from targets import targets

    rows = [(t.name, t.description, ", ".join(t.families), t.default_board)
            for t in targets().values()]  # fmt: skip
    columns = ("target", "description", "kernel families", "reference board")
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table("targets", columns, rows)


@click.command("boards")
@json_option
def boards_command(json_file: str | None) -> None:
    """List the boards that firmware can be flashed to."""
    from targets import boards

    rows = [
        (b.name, b.target.name, b.clock_hz / 1e6, b.flash.size // 1024, b.ram.size // 1024,
         b.route, b.description)
        for b in boards().values()
    ]  # fmt: skip
    columns = ("board", "target", "MHz", "flash KiB", "RAM KiB", "route", "description")
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table("boards", columns, rows)


@click.command("ops")
@click.option("--target", help="Only kernel families of this target.")
@json_option
def ops_command(target: str | None, json_file: str | None) -> None:
    """List the operators of canonical graphs and which kernels they have."""
    from codegen.templates import families_of
    from edgekit.devices.find import find_target
    from edgekit.ops import operators

    wanted = find_target(target).families if target else None
    rows = []
    for name, op in operators().items():
        kernels = [f for f in families_of(name) if wanted is None or f in wanted]
        rows.append((name, ", ".join(kernels) or "none needed", op.summary))
    columns = ("operator", "kernels", "meaning")
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table("operators", columns, rows)
