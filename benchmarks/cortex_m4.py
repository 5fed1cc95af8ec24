"""Speed, RAM and flash of MLPerf Tiny on a Cortex-M4, beside other tools.

    python -m benchmarks.cortex_m4 --shared DIR [--models kws,ad01] [--json FILE] [--update FILE]

DIR holds ``models/`` and ``data/``. Instructions come from QEMU and are exact (left out where QEMU
is not installed), cycles from the virtual board and are estimated. Every run checks the golden
vectors first: a figure whose outputs are wrong is not printed. ``--update docs/BENCHMARKS.md``
writes the tables into that document.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import edgekit
from benchmarks import tables
from benchmarks.measure import Measured, measure
from benchmarks.models import SOURCES, TFLITE, models, names_of, peers


def report(all_: list[Measured], compiler: str) -> str:
    """All tables as Markdown."""
    known = peers()
    files = [m for m in all_ if m.source == "tflite"]
    version = f"edgekit {edgekit.__version__} ({_commit()}), firmware built with {compiler}"
    parts = [f"Measured with {version}. A ratio above 1 means that edgekit needs less.\n"]
    if files:
        parts += [
            "### Instructions of one inference (exact, QEMU)\n", tables.speed(files, known),
            "### Cycles of one inference (estimated, zero wait states)\n",
            tables.cycles(files, known),
            "### RAM\n", tables.ram(files, known),
            "### Flash\n", tables.flash(files, known),
        ]  # fmt: skip
    parts += ["### Interpreter over ahead-of-time code\n", tables.interpreter(all_),
              "### Every model, from .tflite and from float .onnx\n",
              tables.sources(all_)]  # fmt: skip
    # From .onnx the same network gives the same layers, so they are listed once.
    for m in files or all_:
        parts += [f"### Layers of {m.label} from .{m.source}\n", tables.layers(m, known)]
    return "\n".join(parts)


def _commit() -> str:
    """The commit that was measured, with "changed" where the tree is not clean."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=, changed"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "no version control"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--models", type=names_of, default=list(TFLITE), help="such as kws,ad01")
    parser.add_argument("--sources", default=",".join(SOURCES), help="tflite, onnx or both")
    parser.add_argument("--compiler", choices=("zig", "gcc"), default="zig")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        # Boards of its own: what is flashed elsewhere at the same time must not matter.
        os.environ["EDGEKIT_STATE_DIR"] = str(Path(folder) / "boards")
        for source in options.sources.split(","):
            for model in models(options.shared, options.models, source):
                out = Path(folder) / f"{model.name}-{model.source}"
                found.append(
                    measure(model, out, options.compiler, lambda s: print(s, file=sys.stderr))
                )
    text = report(found, options.compiler)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([m.as_json() for m in found], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "cortex_m4", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
