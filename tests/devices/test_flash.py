"""Flashing over a route that breaks or lies: what is retried, and what the user is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.devices import flash as flashing
from edgekit.devices import routes
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.flash import ATTEMPTS, flash
from edgekit.devices.links.link import Link
from edgekit.devices.routes import Access, Route
from edgekit.errors import EdgekitError
from targets import Board


class Cut:
    """A board's memory behind a cable that is cut after so many bytes, each time it is plugged."""

    def __init__(self, cuts: list[int], worn: int | None = None) -> None:
        self.cuts, self.worn = list(cuts), worn
        self.memory: dict[int, int] = {}
        self.left = 0
        self.resets = 0

    def plug(self) -> None:
        self.left = self.cuts.pop(0) if self.cuts else 1 << 30

    def spend(self, count: int) -> int:
        """How many of `count` bytes still pass."""
        passed = min(self.left, count)
        self.left -= passed
        return passed

    def content(self, image: FlashImage) -> bytes:
        return b"".join(
            bytes(self.memory.get(at + i, 0xFF) for i in range(len(d))) for at, d in image.segments
        )


class CutRoute(Route):
    name = "virtual"
    proven = "a stand-in"
    cable: Cut

    def connect(self) -> None:
        self.cable.plug()

    def erase(self, address: int, size: int) -> None:
        for at in range(address, address + size):
            self.cable.memory[at] = 0xFF

    def write(self, address: int, data: bytes) -> None:
        passed = self.cable.spend(len(data))
        for i, byte in enumerate(data[:passed]):
            self.cable.memory[address + i] = byte ^ (self.cable.worn == address + i)
        self.check(passed, len(data))

    def read(self, address: int, size: int) -> bytes:
        self.check(self.cable.spend(size), size)
        return bytes(self.cable.memory[address + i] for i in range(size))

    def check(self, passed: int, wanted: int) -> None:
        if passed < wanted:
            raise EdgekitError("E604", "the cable is cut")

    def reset(self) -> None:
        self.cable.resets += 1

    def stream(self, elf: Path | None = None) -> Link:
        raise NotImplementedError


@pytest.fixture
def elf(virtual: Board, build: object) -> Path:
    return build(virtual).elf  # type: ignore[operator]


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "find_route", lambda _name: CutRoute)
    monkeypatch.setattr(flashing, "PAUSE", 0)


@pytest.mark.usefixtures("plugged")
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, 40_000), max_size=ATTEMPTS + 1))
def test_a_cut_cable_at_any_byte_is_repaired_or_told(
    elf: Path, virtual: Board, cuts: list[int]
) -> None:
    image = load_elf(elf)
    CutRoute.cable = cable = Cut(cuts)
    broken = [cut for cut in cuts[:ATTEMPTS] if cut < 2 * image.bytes]
    if len(broken) == ATTEMPTS:
        with pytest.raises(EdgekitError, match=r"broke 3 times; .* incomplete") as e:
            flash(virtual, elf)
        assert e.value.code == "E604" and cable.resets == 0
        cable.cuts.clear()
    flash(virtual, elf)  # the second run repairs
    assert cable.content(image) == b"".join(data for _, data in image.segments)


@pytest.mark.usefixtures("plugged")
def test_a_worn_byte_is_found_and_nothing_started(elf: Path, virtual: Board) -> None:
    address = load_elf(elf).segments[0][0] + 77
    CutRoute.cable = Cut([], worn=address)
    with pytest.raises(EdgekitError, match=f"failed at {address:#010x}") as caught:
        flash(virtual, elf)
    assert caught.value.code == "E605" and CutRoute.cable.resets == 0


def test_a_route_that_the_board_has_not(virtual: Board, elf: Path) -> None:
    with pytest.raises(EdgekitError, match="has no route 'uf2'") as caught:
        flash(virtual, elf, access=Access(route="uf2"))
    assert caught.value.code == "E601"
