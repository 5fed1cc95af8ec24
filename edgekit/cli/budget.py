"""Budgets on the command line, and the table that a search chose from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.common import share, table

if TYPE_CHECKING:
    from edgekit.search import Budget, Row, Search

NAMES = ("max_flash", "max_ram", "max_latency", "max_step", "min_agreement", "min_sqnr")


def budget_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        [
            click.option("--max-flash", type=int, metavar="BYTES", help="Flash that it may take."),
            click.option("--max-ram", type=int, metavar="BYTES", help="RAM that it may take."),
            click.option("--max-latency", type=float, metavar="MS",
                         help="Milliseconds of one inference, estimated."),
            click.option("--max-step", type=float, metavar="MS",
                         help="Milliseconds of the longest kernel, estimated: one ek_step."),
            click.option("--min-agreement", type=float, metavar="PERCENT",
                         help="Samples with the float network's class."),
            click.option("--min-sqnr", type=float, metavar="DB",
                         help="Signal to noise of the logits against float; lifts layers to 16."),
            click.option("--budget", "budget_file", type=click.Path(path_type=Path),
                         help="TOML file with " + ", ".join(NAMES) + "."),
            click.option("--validation", type=click.Path(path_type=Path),
                         help="Samples to judge quality on.  [default: the calibration data]"),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def chosen_budget(options: dict[str, Any]) -> Budget:
    """The limits of the file and the options together; takes its names out of `options`.

    Raises:
        UsageError: where both name one limit.
    """
    from edgekit.search import Budget, read_budget

    named = {name: options.pop(name, None) for name in NAMES}
    named = {name: value for name, value in named.items() if value is not None}
    file = options.pop("budget_file")
    if file is None:
        return Budget(**named)
    content = read_budget(file)
    limits = {name: getattr(content, name) for name in NAMES}
    for name in named:
        if limits[name] is not None:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} is in the budget file as well: {limits[name]:g}")
    return Budget(**{**limits, **named})


def print_search(search: Search) -> None:
    """Every mixture that was built; a star marks those no other one beats everywhere."""
    from edgekit.search.rows import on_front

    def row(r: Row) -> tuple[object, ...]:
        return (
            ("> " if r is search.row else "  ") + r.name,
            "*" if on_front(r, search.rows) else "",
            len(r.choice.narrow),
            len(r.choice.wide),
            r.flash_bytes,
            r.ram_bytes,
            r.latency_ms,
            r.predicted_db,
            r.sqnr_db,
            share(r.agreement, search.samples),
            "yes" if r.fits else "no",
        )

    table(
        f"widths: {len(search.rows)} mixtures, judged on {search.samples} samples "
        f"({search.judged_on})",
        ("mixture", "front", "4-bit layers", "16-bit tensors", "flash B", "RAM B",
         "latency ms (est.)", "SQNR dB predicted", "measured", "agreement %", "fits"),
        [row(r) for r in search.rows],
    )  # fmt: skip
    for what, names in (
        ("4-bit weights", sorted(search.row.choice.narrow)),
        ("16-bit tensors", sorted(search.row.choice.wide)),
    ):
        if names:
            click.echo(f"  {what}: {', '.join(names)}")
