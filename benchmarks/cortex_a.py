"""MLPerf Tiny on Cortex-A: instructions per inference, beside XNNPACK's and others'.

    python -m benchmarks.cortex_a --models DIR [--names kws,ad01] [--cores cortex-a53,cortex-a76]
        [--builds balanced,speed] [--json FILE] [--update FILE]

DIR holds the int8 .tflite files. Instructions are exact counts in qemu-user (docs/PROFILING.md),
one thread, of the ahead-of-time code; eight random inputs are compared with the reference first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from benchmarks import tables
from benchmarks.cortex_m import _commit, _say, _words
from benchmarks.models import TFLITE, Model, models, names_of
from edgekit import library, pipeline, reference
from edgekit.execute import execute, session
from edgekit.output import Output
from targets import board, target

PEERS = Path(__file__).with_name("peers_cortex_a.toml")
CORES = ("cortex-a53", "cortex-a76", "armv7-neon")
INPUTS = 8
#: The tool that ratios are to.
MAIN = "xnnpack"


@dataclass(frozen=True)
class Layer:
    """One kernel call: exact instructions, and what its template counts (None: nothing)."""

    name: str
    op: str
    out: tuple[int, ...]
    macs: int
    kernel: str
    instructions: int
    cost: int | None


@dataclass(frozen=True)
class Measured:
    """Instructions of one inference; bytes in bytes.

    `interpreter` are the instructions of the same kernels through the interpreter. `library` is the
    stripped shared library of the model (`edgekit library`), `without` that without the weights,
    `constants` the weights.
    """

    name: str
    label: str
    core: str
    build: str
    macs: int
    instructions: int
    interpreter: int
    differing: int
    compared: int
    library: int
    without: int
    constants: int
    arena: int
    layers: tuple[Layer, ...]


def measure(model: Model, core: str, optimize: str, folder: Path, compiler: str) -> Measured:
    """Compile `model`, compare its outputs on random inputs with the reference's, and count.

    Raises:
        EdgekitError: whatever compiling or running raises.
        RuntimeError: the board counts no instructions.
    """
    done = pipeline.compile(
        model.path, output=folder, target=core, compiler=compiler, optimize=optimize
    )
    on = board(target(core).default_board)
    differing, compared = _compare(done.output, on.name, compiler)
    total, layers = _count(done.output, on.name, "aot", compiler)
    interpreter, _ = _count(done.output, on.name, "interpreter", compiler)
    linked = library.build([folder])
    return Measured(
        name=model.name,
        label=model.label,
        core=core,
        build=optimize,
        macs=done.report.macs,
        instructions=total,
        interpreter=interpreter,
        differing=differing,
        compared=compared,
        library=linked.shared,
        without=linked.shared_code,
        constants=linked.constants,
        arena=done.report.ram["arena"],
        layers=tuple(
            Layer(r.name, r.op, tuple(r.output_shape[1:]), r.macs, r.variant, counted, r.cost)
            for r, counted in zip(done.report.layers, layers, strict=True)
        ),
    )


def _compare(folder: Output, where: str, compiler: str) -> tuple[int, int]:
    """Bytes of the outputs that differ from the reference's, and how many there are."""
    graph, rng = folder.graph, np.random.default_rng(1)
    feeds = {}
    for name in graph.inputs:
        value = graph.values[name]
        limits = np.iinfo(value.dtype)
        shape = (INPUTS, *value.sample_shape)
        feeds[name] = rng.integers(limits.min, limits.max + 1, shape, value.dtype)
    found = execute(folder, feeds, where, mode="aot", compiler=compiler)
    want = reference.run(graph, feeds)
    pairs = [(found[n].tobytes(), want[n].tobytes()) for n in graph.outputs]
    differing = sum(a != b for f, w in pairs for a, b in zip(f, w, strict=True))
    return differing, sum(len(w) for _, w in pairs)


def _count(folder: Output, where: str, way: str, compiler: str) -> tuple[int, tuple[int, ...]]:
    golden = folder.bundle.golden[-1]
    with session(folder, board(where), mode=way, compiler=compiler) as device:
        profile = device.profile(list(golden.inputs), 1)
    if profile.unit != "instructions":
        raise RuntimeError(f"{where} counts {profile.unit}, not instructions")
    return profile.total, profile.layers


def peers() -> dict[str, Any]:
    """Other tools' instructions: model, tool, core."""
    return tomllib.loads(PEERS.read_text(encoding="utf-8"))


def report(all_: Sequence[Measured], compiler: str) -> str:
    """All tables as Markdown."""
    version = f"edgekit {edgekit.__version__} ({_commit()}), built with {compiler}"
    parts = [
        f"Measured with {version}. Exact instructions of one inference, one thread; a ratio below "
        "1 means that edgekit needs fewer.\n",
        main_table(all_),
        "### Other tools\n",
        "Instructions per inference, in thousands, of int8 models but for the last column.\n",
        peer_table(all_),
        "### What templates count, and what ran\n",
        "Kernels are chosen by what their templates count when they write them; here beside what "
        "was executed, of the layers whose kernel has such a count.\n",
        cost_table(all_),
    ]
    fastest = all_[-1].build
    for name in dict.fromkeys(m.name for m in all_):
        mine = [m for m in all_ if (m.name, m.build) == (name, fastest)]
        parts += [f"### Layers of {mine[0].label}, {fastest}\n", layer_table(mine)]
    return "\n".join(parts)


def main_table(all_: Sequence[Measured]) -> str:
    """Every model, core and build beside XNNPACK."""
    known = peers()
    columns = ("core", "model", "build", "instructions", "per MAC", "XNNPACK", "ratio",
               "through the interpreter", "bytes differing", "library without weights B",
               "library B", "arena B")  # fmt: skip
    rows: list[list[tables.Cell]] = []
    for core, made in product(CORES, dict.fromkeys(m.build for m in all_)):
        mine = [m for m in all_ if (m.core, m.build) == (core, made)]
        ratios = []
        for m in mine:
            theirs = known[m.name][MAIN].get(core)
            ratio = m.instructions / theirs if theirs else None
            ratios += [ratio] if ratio else []
            rows.append([core, m.label, made, m.instructions, f"{m.instructions / m.macs:.3f}",
                         theirs, ratio, m.interpreter, f"{m.differing} of {m.compared}", m.without,
                         m.library, m.arena])  # fmt: skip
        if ratios:
            mean = f"**{tables.geometric_mean(ratios):.2f}** ({len(ratios)})"
            rows.append([core, "**geometric mean**", made, None, None, None, mean, *[None] * 5])
    return tables.table(columns, rows)


def peer_table(all_: Sequence[Measured]) -> str:
    """Every tool that was measured, beside edgekit's fastest build."""
    known = peers()
    tools = ("xnnpack", "litert", "litert_reference", "onnxruntime", "onnxruntime_float")
    columns = ("core", "model", "edgekit", "XNNPACK (LiteRT)", "LiteRT without", "LiteRT reference",
               "onnxruntime", "onnxruntime, float")  # fmt: skip
    rows: list[list[tables.Cell]] = []
    for core, name in product(CORES, dict.fromkeys(m.name for m in all_)):
        mine = [m for m in all_ if (m.core, m.name) == (core, name)]
        theirs = [known[name][tool].get(core) for tool in tools]
        if mine and any(theirs):
            best = min(m.instructions for m in mine)
            rows.append([core, mine[0].label, round(best / 1000),
                         *(round(t / 1000) if t else None for t in theirs)])  # fmt: skip
    return tables.table(columns, rows)


def cost_table(all_: Sequence[Measured]) -> str:
    """The sum of the layers' costs beside their counts, and the layer that is off the most."""
    columns = ("core", "model", "build", "layers counted", "by templates", "executed", "off %",
               "worst layer", "its kernel", "off %")  # fmt: skip
    rows: list[list[tables.Cell]] = []
    for m in all_:
        known = [(layer, layer.cost) for layer in m.layers if layer.cost is not None]
        if not known:
            continue
        said, ran = sum(c for _, c in known), sum(x.instructions for x, _ in known)
        worst, cost = max(known, key=lambda k: abs(k[1] / k[0].instructions - 1))
        rows.append([m.core, m.label, m.build, f"{len(known)} of {len(m.layers)}", said, ran,
                     f"{100 * (said / ran - 1):+.1f}", f"{m.layers.index(worst)} {worst.op}",
                     worst.kernel, f"{100 * (cost / worst.instructions - 1):+.1f}"])  # fmt: skip
    return tables.table(columns, rows)


def layer_table(cores: Sequence[Measured]) -> str:
    """A row per layer of one model and build, the cores beside each other."""
    heads = [(f"{m.core}: kernel", "instructions", "per MAC") for m in cores]
    columns = ("", "operator", "out", "MACs", *(c for head in heads for c in head))
    rows: list[list[tables.Cell]] = []
    for i, same in enumerate(zip(*(m.layers for m in cores), strict=True)):
        x = same[0]
        row: list[tables.Cell] = [i, x.op, "x".join(map(str, x.out)), x.macs]
        for y in same:
            per = f"{y.instructions / y.macs:.3f}" if y.macs else None
            row += [y.kernel, y.instructions, per]
        rows.append(row)
    return tables.table(columns, rows)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", type=Path, required=True, help="folder of model files")
    parser.add_argument("--names", type=names_of, default=list(TFLITE), help="such as kws,ad01")
    parser.add_argument("--cores", type=_words, default=list(CORES), help="targets")
    parser.add_argument("--builds", type=_words, default=["balanced", "speed"], help="objectives")
    parser.add_argument("--compiler", choices=("zig", "gcc"), default="zig")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        os.environ["EDGEKIT_STATE_DIR"] = str(Path(folder) / "boards")
        files = models(options.models.resolve().parent, options.names, "tflite")
        for core, made, model in product(options.cores, options.builds, files):
            out = Path(folder) / f"{model.name}-{core}-{made}"
            found.append(measure(model, core, made, out, options.compiler))
            m = found[-1]
            _say(f"{core} {m.label} {made}: {m.instructions:,} instructions, {m.differing} differ")
            if options.json:
                options.json.write_text(json.dumps([asdict(m) for m in found], indent=1) + "\n")
    text = report(found, options.compiler)
    print(text)
    if options.update:
        tables.update(options.update, "cortex_a", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
