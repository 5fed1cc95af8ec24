"""Speed, RAM and flash of MLPerf Tiny on microcontroller cores, beside other tools.

    python -m benchmarks.cortex_m --models DIR [--names kws,ad01] [--cores cortex-m4,cortex-m7]
        [--builds balanced,speed] [--sources tflite] [--json FILE] [--update FILE]

DIR holds the model files, with calibration data in ``../data`` beside it. Instructions come from
QEMU and are exact (left out where QEMU is not installed), cycles from the virtual board and are
estimated. Every run checks the golden vectors first: a figure whose outputs are wrong is not
printed. ``--update docs/BENCHMARKS.md`` writes the tables into that document.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import edgekit
from benchmarks import tables
from benchmarks.measure import Measured, measure
from benchmarks.models import SOURCES, TFLITE, models, names_of, peers
from edgekit.errors import EdgekitError
from targets import targets

MAIN = "cortex-m4"


def report(all_: list[Measured], compiler: str) -> str:
    """All tables as Markdown."""
    known = peers()
    main = [m for m in all_ if m.core == MAIN]
    files = [m for m in main if m.source == "tflite"]
    balanced = [m for m in main if m.build == "balanced"]
    version = f"edgekit {edgekit.__version__} ({_commit()}), firmware built with {compiler}"
    parts = [f"Measured with {version}. A ratio above 1 means that edgekit needs less.\n"]
    if files:
        names = list(dict.fromkeys(m.name for m in files))
        parts += [
            "### Builds for the Cortex-M4, from .tflite\n", tables.builds(files, known),
            "### What the ratios are to\n", tables.theirs(known, names),
        ]  # fmt: skip
    if others := [m for m in all_ if m.core != MAIN]:
        parts += ["### Other cores\n", tables.cores(others, known)]
    if main:
        parts += ["### Every model, from .tflite and from float .onnx\n", tables.sources(main)]
    if balanced:
        parts += ["### Interpreter over ahead-of-time code\n", tables.interpreter(balanced)]
    # From .onnx the same network gives the same layers, so they are listed once.
    for m in [m for m in files if m.build == "balanced"] or balanced:
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
    parser.add_argument("--models", type=Path, required=True, help="folder of model files")
    parser.add_argument("--names", type=names_of, default=list(TFLITE), help="such as kws,ad01")
    small = [name for name, target in targets().items() if target.port != "linux"]
    parser.add_argument("--cores", type=_words, default=small, help="targets")
    parser.add_argument("--builds", type=_words, default=["balanced", "speed", "ram"],
                        help="objectives; other cores than the M4 take the first")  # fmt: skip
    parser.add_argument("--sources", type=_words, default=list(SOURCES), help="tflite, onnx")
    parser.add_argument("--compiler", choices=("zig", "gcc"), default="zig")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    return parser.parse_args(argv)


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        # Boards of its own: what is flashed elsewhere at the same time must not matter.
        os.environ["EDGEKIT_STATE_DIR"] = str(Path(folder) / "boards")
        for source, core in product(options.sources, options.cores):
            if core != MAIN and source != options.sources[0]:
                continue  # the same layers again
            for build in options.builds if core == MAIN else options.builds[:1]:
                for model in models(options.models.resolve().parent, options.names, source):
                    out = Path(folder) / f"{model.name}-{model.source}-{core}-{build}"
                    try:
                        found.append(measure(model, core, build, out, options.compiler, _say))
                    except EdgekitError as error:
                        if core == MAIN:
                            raise
                        _say(f"{model.label} {core}: left out: {error}")  # a board too small, say
                    if options.json:  # after each model: a long run that is stopped keeps them
                        options.json.write_text(
                            json.dumps([m.as_json() for m in found], indent=1) + "\n"
                        )
    text = report(found, options.compiler)
    print(text)
    if options.update:
        tables.update(options.update, "cortex_m", text)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
