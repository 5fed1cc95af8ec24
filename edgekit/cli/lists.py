"""``edgekit targets``, ``boards`` and ``ops``: what there is."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.common import json_option, table, write_file, write_json


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
@click.option(
    "--of",
    "kind",
    type=click.Choice(["edgekit", "onnx", "tflite"]),
    default="edgekit",
    show_default=True,
    help="Whose operators: canonical ones, or those of model files.",
)
@click.option(
    "--markdown",
    "page",
    type=click.Path(path_type=Path),
    help="Write all tables to this file instead.",
)
@json_option
def ops_command(target: str | None, kind: str, page: Path | None, json_file: str | None) -> None:
    """List operators: what each one means or accepts, and which kernels it has."""
    from edgekit import catalog
    from edgekit.devices.find import find_target

    if page is not None:
        write_file(page, catalog.markdown().encode())
        return
    families = find_target(target).families if target else None
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    if kind == "edgekit":
        columns = ("operator", "kernels", "meaning", "rules")
        rows = [
            (e.name, ", ".join(e.families) or "none", e.meaning, "; ".join(e.rules))
            for e in catalog.canonical(families)
        ]
    else:
        columns = ("operator", "accepted")
        rows = [(e.name, e.meaning) for e in catalog.of_files(kind)]
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table(f"{len(rows)} operators", columns, rows)
