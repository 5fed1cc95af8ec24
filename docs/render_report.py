"""Refresh what the documents show of the command line: ``python docs/render_report.py``.

* ``docs/images/report.svg`` becomes the report of compiling the digits sample;
* in every ```` ```console ```` block of the documents, each line ``$ edgekit ...`` is run from the
  root of the project and what follows it is replaced by what it printed.

A block is left alone where it runs anything but edgekit. Files go to ``out/``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from edgekit.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/CLI.md", "docs/TUTORIAL.md", "docs/ADDING_A_BOARD.md",
             "docs/ADDING_A_TARGET.md", "docs/ADDING_AN_OPERATOR.md")  # fmt: skip
REPORT = (
    "edgekit compile samples/digits/digits.onnx --target cortex-m4 "
    "--calibration samples/digits/digits_calibration.npz -o out/digits"
)
WIDTH = 118
_BLOCK = re.compile(r"(```console\n)(.*?)(```\n)", re.DOTALL)


def run(command: str) -> str:
    """What an edgekit command prints, errors included, without trailing spaces."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        main(shlex.split(command.removeprefix("edgekit ")))
    text = said.getvalue().replace(str(Path.home()), "/home/you")
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line) + "\n"


def render_svg(path: Path) -> None:
    """The report of `compile` as a picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ {REPORT}", style="bold green"))
    console.print(Text(run(REPORT)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(console.export_svg(title="edgekit compile"), encoding="utf-8")


def refreshed(block: str) -> str:
    """A block's commands, each followed by its output of now."""
    commands: list[str] = []
    continues = False
    for line in block.splitlines():
        if continues:
            commands[-1] += "\n" + line
        elif line.startswith("$ "):
            commands.append(line)
        else:
            continue
        continues = line.endswith("\\")
    if not commands or not all(c.startswith("$ edgekit ") for c in commands):
        return block
    return "".join(
        f"{command}\n{run(command[2:].replace(chr(92) + chr(10), ' '))}" for command in commands
    )


def render() -> None:
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="edgekit-docs-") as boards:
        os.environ["EDGEKIT_STATE_DIR"] = boards
        render_svg(ROOT / "docs" / "images" / "report.svg")
        for name in DOCUMENTS:
            path = ROOT / name
            text = path.read_text(encoding="utf-8")
            changed = _BLOCK.sub(lambda m: m[1] + refreshed(m[2]) + m[3], text)
            path.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    render()
    sys.exit(0)
