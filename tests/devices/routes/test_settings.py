"""What board files and docs/FLASHING.md say of routes is what the routes know."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.devices.clients.sectors import parse_sectors
from edgekit.devices.routes import Access, open_route, route_names
from targets import boards
from targets.model import EMULATORS

PAGE = (Path(__file__).parents[3] / "docs" / "FLASHING.md").read_text(encoding="utf-8")

PAIRS = [(b.name, r) for b in boards().values() for r in b.routes if r in route_names()]


@pytest.mark.parametrize(("name", "route"), PAIRS)
def test_settings_of_all_boards(name: str, route: str) -> None:
    open_route(boards()[name], Access(route=route))  # E639 where a key is unknown or wrong


def test_sectors_fill_the_flash() -> None:
    found = [
        (parse_sectors(str(b.settings["stm32-uart"]["sectors"]), b.name), b)
        for b in boards().values()
        if "sectors" in b.settings.get("stm32-uart", {})
    ]
    assert found
    for sizes, board in found:
        assert sum(sizes) == board.flash.size, board.name


@pytest.mark.parametrize("route", [r for r in route_names() if r not in EMULATORS])
def test_every_route_has_a_row_and_a_section(route: str) -> None:
    assert f"| [`{route}`](#{route}) |" in PAGE and f"\n## {route}\n" in PAGE
