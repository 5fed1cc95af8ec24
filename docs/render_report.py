"""Draw the report of ``edgekit compile`` and ``edgekit profile`` as an SVG for the README.

    python docs/render_report.py docs/images/report.svg

Everything in the picture is printed by the commands themselves, for the shipped sample.
"""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.text import Text

from edgekit.cli import main
from samples.digits import CALIBRATION, MODEL

WIDTH = 132


def printed(*arguments: object) -> str:
    """What a command prints on standard output."""
    out = io.StringIO()
    with redirect_stdout(out):
        status = main([str(a) for a in arguments])
    if status:
        raise SystemExit(status)
    return out.getvalue()


def render(target: Path) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "digits"
        for shown, arguments in (
            ("edgekit compile digits.onnx --calibration digits_calibration.npz -o out/digits",
             ["compile", MODEL, "--calibration", CALIBRATION, "-o", out]),
            ("edgekit profile out/digits --board virtual-cortex-m4",
             ["profile", out, "--board", "virtual-cortex-m4"]),
        ):  # fmt: skip
            console.print(Text(f"$ {shown}", style="bold green"))
            lines = printed(*arguments).replace(str(out), "out/digits").splitlines()
            console.print(Text("\n".join(line.rstrip() for line in lines) + "\n"))
    target.write_text(console.export_svg(title="edgekit"), encoding="utf-8")


if __name__ == "__main__":
    render(Path(sys.argv[1]))
