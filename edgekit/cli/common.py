"""What commands share: options, tables, progress, JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

json_option = click.option(
    "--json", "json_file", metavar="FILE", help="Write the figures as JSON; '-' is standard output."
)
compiler_option = click.option(
    "--compiler",
    type=click.Choice(["zig", "gcc"]),
    default="zig",
    show_default=True,
    help="C compiler for firmware.",
)
mode_option = click.option(
    "--aot", is_flag=True, help="Ahead-of-time compiled C instead of the interpreter."
)


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    foot: Sequence[object] = (),
) -> None:
    """Print a table; columns whose cells are numbers are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        box=box.SIMPLE_HEAD,
        show_footer=bool(foot),
        pad_edge=False,
    )
    for i, name in enumerate(columns):
        right = all(_numeric(row[i]) for row in rows) and bool(rows)
        shown.add_column(
            name,
            justify="right" if right else "left",
            footer=cell(foot[i]) if foot else "",
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*(cell(value) for value in row))
    # A pipe has no width: wide enough that nothing is folded.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    # Not the table's own title: rich would fold it to the width of the table.
    console.print(Text(title, style="bold"), shown)


def _numeric(value: object) -> bool:
    return value is None or isinstance(value, (int, float))


def cell(value: object) -> str:
    """A table cell: thin spaces between thousands, shapes as 1x2x3, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, (tuple, list)):
        return "x".join(str(v) for v in value)
    from rich.markup import escape

    return escape(str(value))


def share(value: float | None, n: int) -> str:
    """A share in percent with the half width of its 95 % interval."""
    if value is None:
        return ""
    half = 1.96 * math.sqrt(value * (1 - value) / n)
    return f"{100 * value:.2f} ± {100 * half:.1f}"


def write_json(file: str | None, value: Any) -> bool:
    """Write `value` where --json asked for it; True where that was standard output."""
    if file is None:
        return False
    body = json.dumps(value, indent=1) + "\n"
    if file == "-":
        click.echo(body, nl=False)
        return True
    write_file(Path(file), body.encode())
    return False


def write_file(path: Path, data: bytes) -> None:
    """Write through a temporary name; raises EdgekitError E704."""
    from edgekit.errors import EdgekitError
    from edgekit.toolchain.cache import write_atomic

    try:
        write_atomic(path, data)
    except OSError as error:
        raise EdgekitError(
            "E704", f"cannot write '{path}': {error.strerror or error}", help="check the folder"
        ) from None


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on standard error, which vanishes when done and is absent in pipes."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as p:
        task = p.add_task("", total=1.0)

        def update(stage: str, share: float) -> None:
            p.update(task, description=stage, completed=share or None)

        yield update
