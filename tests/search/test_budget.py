"""Budgets: from files and the command line, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from edgekit.cli.budget import chosen_budget
from edgekit.errors import EdgekitError
from edgekit.search import Budget, read_budget
from edgekit.search.budget import check_budget


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text("max_flash = 40000\nmin_agreement = 98.5\n")
    assert read_budget(path) == Budget(max_flash=40000, min_agreement=98.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_flsh = 1\n", "max_flash"),
        ("max_flash = 'big'\n", "max_flash is 'big'"),
        ("max_ram = 0\n", "max_ram is 0"),
        ("max_ram = true\n", "max_ram is True"),
        ("max_latency = nan\n", "max_latency is nan"),
        ("min_agreement = 101\n", "101"),
        ("max_flash = \n", "no TOML"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "budget.toml"
    path.write_text(text)
    with pytest.raises(EdgekitError) as caught:
        read_budget(path)
    assert caught.value.code == "E290" and message in str(caught.value) + str(caught.value.help)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="No such file") as caught:
        read_budget(tmp_path / "none.toml")
    assert caught.value.code == "E290"
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgekitError):
        read_budget(tmp_path / "binary")


def test_options_and_file_together(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text("max_flash = 40000\n")
    options = {"max_flash": None, "max_ram": 9000, "max_latency": None, "min_agreement": None}
    left = {**options, "budget_file": path, "compiler": "zig"}
    assert chosen_budget(left) == Budget(max_flash=40000, max_ram=9000)
    assert left == {"compiler": "zig"}
    with pytest.raises(click.UsageError, match="--max-flash"):
        chosen_budget({**options, "max_flash": 1, "budget_file": path})


def test_empty_budget_is_none() -> None:
    assert not Budget() and Budget(max_ram=1)
    assert check_budget(Budget()) == Budget()
