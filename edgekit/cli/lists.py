"""``edgekit targets``, ``boards`` and ``ops``: what there is."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from edgekit.cli.common import json_option, table, write_file, write_json

#: Characters of what a board was tested against that the list shows.
_SHOWN = 44


@click.command("targets")
@json_option
def targets_command(json_file: str | None) -> None:
    """List the CPUs that models can be compiled for."""
    from edgekit.devices.find import all_targets

    known = all_targets().values()
    families = {t.name: (("npu",) if t.accelerator else ()) + t.families for t in known}
    rows = [(t.name, t.description, ", ".join(families[t.name]), t.default_board)
            for t in known]  # fmt: skip
    columns = ("target", "description", "kernel families", "reference board")
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table("targets", columns, rows)


@click.command("boards")
@click.argument("name", required=False)
@click.option(
    "--markdown",
    "page",
    type=click.Path(path_type=Path),
    help="Write edgekit's own boards to this file instead.",
)
@json_option
def boards_command(name: str | None, page: Path | None, json_file: str | None) -> None:
    """List the boards that firmware can be flashed to, or show everything of one."""
    import targets
    from edgekit import board_catalog
    from edgekit.devices.find import all_boards, check_board, find_board

    if page is not None:
        write_file(page, board_catalog.markdown(targets.boards()).encode())
    elif name is not None:
        board = find_board(name)
        check_board(board)
        if not write_json(json_file, board_catalog.details(board)):
            _show_board(board_catalog.details(board))
    else:
        rows = [board_catalog.row(board) for board in all_boards().values()]
        if not write_json(json_file, rows):
            columns = [c for c in rows[0] if c != "description"]
            for row in rows:
                row["tested"] = textwrap.shorten(row["tested"], _SHOWN, placeholder=" ...")
            table("boards", columns, [[row[c] for c in columns] for row in rows])
            click.echo("edgekit boards NAME shows everything of one")


def _show_board(details: dict[str, Any]) -> None:
    """One board for people: addresses in hexadecimal, its steps as its file has them."""
    regions, steps = details.pop("regions"), {k: details.pop(k) for k in ("setup", "cold")}
    facts = [(key, _words(value, key)) for key, value in details.items() if value]
    table(details["board"], ("", ""), facts)
    if regions:
        columns = ("memory", "kind", "start", "KiB", "wait states")
        places = [
            (r["name"], r["kind"], f"{r['start']:#010x}", r["size"] // 1024, r["wait_states"])
            for r in regions
        ]
        table("memories, the first of each kind is used", columns, places)
    for key, taken in steps.items():
        if taken:
            lines = [
                (s["op"], f"{s['address']:#010x}", f"{s['value']:#x}", f"{s['mask']:#x}",
                 s["comment"]) for s in taken
            ]  # fmt: skip
            table(key, ("step", "address", "value", "mask", "register"), lines)


def _words(value: Any, key: str = "") -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v, k)}".strip() for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if (isinstance(value, int) and key not in ("baud", "clock_hz", "")) or key == "base":
        return f"{value:#x}"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


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
    from edgekit.check import NPU
    from edgekit.devices.find import find_target

    if page is not None:
        write_file(page, catalog.markdown().encode())
        return
    chosen = find_target(target) if target else None
    families = None if chosen is None else chosen.families
    if chosen is not None and chosen.accelerator:
        families = (NPU, *chosen.families)
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
