"""What the documentation says exists, and what exists is in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import targets
from edgekit import board_catalog, catalog
from edgekit.cli import COMMANDS, cli

ROOT = Path(__file__).parents[1]
CLI = (ROOT / "docs" / "CLI.md").read_text()


def test_error_codes_and_their_table_agree() -> None:
    source = "".join(
        p.read_text()
        for room in ("edgekit", "quantizer", "pruner", "codegen", "finetune")
        for p in (ROOT / room).rglob("*.py")
    )
    raised = set(re.findall(r"\"(E\d{3})\"", source))
    listed = re.findall(r"^\| (E\d{3}) \|", CLI, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert raised == set(listed)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_commands_are_documented(name: str) -> None:
    assert f"`{name}" in CLI or f"edgekit {name}" in CLI
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for parameter in command.params:
        for option in parameter.opts:
            assert not option.startswith("--") or option in CLI, f"{name} {option}"


def test_documented_options_exist() -> None:
    known = {
        option
        for name in COMMANDS
        for command in [cli.get_command(click.Context(cli), name)]
        if command is not None
        for parameter in command.params
        for option in parameter.opts
    } | {"--help", "--version"}
    text = CLI + (ROOT / "README.md").read_text() + (ROOT / "docs" / "TUTORIAL.md").read_text()
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), f"{page} links to {target}"


def test_every_room_is_on_the_map() -> None:
    """Modules and folders of edgekit, folders of the others, in DESIGN's table."""
    design = (ROOT / "docs" / "DESIGN.md").read_text()
    table = design.split("## Rooms\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`([\w./]+)`", table))
    for place in (ROOT / "edgekit").iterdir():
        if place.suffix == ".py" and not place.name.startswith("__"):
            assert f"edgekit/{place.name}" in named, place
    for house in ("edgekit", "codegen", "targets", "edgekit/devices", "firmware"):
        for place in (ROOT / house).iterdir():
            if place.is_dir() and (house == "firmware" or (place / "__init__.py").exists()):
                assert named & {f"{house}/{place.name}/", f"{place.name}/"}, place
    for name in named:
        if name.startswith(("edgekit/", "codegen/", "targets/", "firmware/")):
            assert (ROOT / name).exists(), name


def test_the_page_of_operators_is_current() -> None:
    page = (ROOT / "docs" / "OPERATORS.md").read_text()
    assert page == catalog.markdown(), "edgekit ops --markdown docs/OPERATORS.md"


def test_the_page_of_boards_is_current() -> None:
    page = (ROOT / "docs" / "BOARDS.md").read_text()
    assert page == board_catalog.markdown(targets.boards()), (
        "edgekit boards --markdown docs/BOARDS.md"
    )


def test_every_operator_of_a_file_says_what_it_accepts() -> None:
    for kind, least in (("onnx", 150), ("tflite", 100)):
        entries = catalog.of_files(kind)
        assert len(entries) >= least
        assert not [e.name for e in entries if len(e.meaning.split()) < 2]
