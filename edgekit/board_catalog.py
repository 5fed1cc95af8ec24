"""What boards there are: the rows of `edgekit boards`, of one board, and of docs/BOARDS.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from targets import Board


def row(board: Board) -> dict[str, Any]:
    """One board as the list shows it; sizes in KiB, `MHz` is None where the clock is unknown."""
    return {
        "board": board.name,
        "core": board.core or board.target.name,
        "features": ", ".join(board.target.features),
        "MHz": board.clock_hz / 1e6 if board.clock_hz else None,
        "flash KiB": None if board.linux else board.flash.size // 1024,
        "RAM KiB": board.ram.size // 1024,
        "routes": ", ".join(board.routes) or f"package: {board.packages_only}",
        "description": board.description,
        "tested": board.tested,
    }


def details(board: Board) -> dict[str, Any]:
    """Everything of one board, in the words and units of its file."""
    found: dict[str, Any] = {
        "board": board.name,
        "description": board.description,
        "chip": board.chip,
        "core": board.core or board.target.name,
        "target": board.target.name,
        "features": list(board.target.features),
        "clock_hz": board.clock_hz,
        "routes": list(board.routes),
        "packages_only": board.packages_only,
        "settings": {route: dict(values) for route, values in board.settings.items()},
        "usb": list(board.usb),
        "usb_device": board.usb_device,
        "transports": list(board.transports),
        "counters": list(board.counters),
        "regions": [
            {"name": r.name, "kind": r.kind, "start": r.start, "size": r.size,
             "wait_states": r.wait_states}
            for r in ([] if board.linux else board.regions)
        ],
        "boot": board.boot,
        "caches": board.caches,
        "setup": [vars(step) for step in board.setup],
        "cold": [vars(step) for step in board.cold],
        "tested": board.tested,
        "notes": board.notes,
    }  # fmt: skip
    if not board.linux:
        found["uart"] = {
            "kind": board.uart.kind,
            "base": board.uart.base,
            "clock_hz": board.uart.clock_hz or board.clock_hz,
            "baud": board.uart.baud,
        }
    if board.target.accelerator is not None:
        found["accelerator"] = {
            "configuration": board.target.accelerator.name,
            "base": board.accelerator_base,
        }
    if board.trigger is not None:
        found["trigger"] = vars(board.trigger)
    return found


def markdown(boards: Mapping[str, Board]) -> str:
    """docs/BOARDS.md."""
    real = [b for b in boards.values() if not (b.emulated or b.runner)]
    emulated = [b for b in boards.values() if b.emulated or b.runner]
    lines = [
        "# Boards",
        "",
        "`edgekit boards --markdown docs/BOARDS.md` writes this page from the board files; "
        "`edgekit boards NAME` shows everything of one. A board is one file: "
        "[ADDING_A_BOARD.md](ADDING_A_BOARD.md).",
        "",
        f"## Real: {len(real)} boards",
        "The clock is what the file's set-up yields, which may be less than the chip's best.",
        "",
        *_table(real),
        "",
        f"## Emulated: {len(emulated)} boards",
        "Programs on this machine, whose flash is a file.",
        "",
        *_table(emulated),
    ]
    return "\n".join(lines) + "\n"


def _table(boards: list[Board]) -> list[str]:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head = ["board", "what", "core", "MHz", "flash KiB", "RAM KiB", "routes", "tested"]
    rows = [line(head), line(["---"] * len(head))]
    for board in boards:
        cells = row(board)
        core = cells["core"] + (f" ({cells['features']})" if cells["features"] else "")
        mhz = "" if cells["MHz"] is None else f"{cells['MHz']:g}"
        flash = "" if cells["flash KiB"] is None else str(cells["flash KiB"])
        text = " ".join(part for part in (cells["tested"], board.notes) if part)
        rows.append(
            line([f"`{board.name}`", board.description, core, mhz, flash, str(cells["RAM KiB"]),
                  cells["routes"], text])
        )  # fmt: skip
    return rows
