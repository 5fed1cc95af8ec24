"""What pruning without training costs and gains: accuracy, bytes, MACs, cycles, int4 beside it.

    python -m benchmarks.pruning --shared DIR [--models kws] [--json FILE] [--update FILE]

Pruned on the calibration set, judged on the evaluation set; compiled for cortex-m4.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.models import Model, models, names_of
from edgekit import data, importers
from edgekit.cli.common import share
from edgekit.graph import Graph
from edgekit.judge import Judge
from edgekit.pruning import Side
from edgekit.pruning.run import Bench
from pruner import prune_channels, prune_weights

MODELS = ["kws", "resnet8", "vww96", "ad01"]
TARGET = "cortex-m4"
#: What is compared with what others measured on resnet8: its three inner families alone.
INNER = {"ratio": 0.125, "ranking": "layerwise", "multiple": 1, "inner_only": True}
CHANNELS: dict[str, dict[str, Any]] = {
    "channels 10 %": {"ratio": 0.1},
    "channels 12.5 %": {"ratio": 0.125},
    "channels 25 %": {"ratio": 0.25},
    "channels 12.5 %, layerwise": {"ratio": 0.125, "ranking": "layerwise"},
}
WEIGHTS: dict[str, dict[str, Any]] = {
    "sparsity 50 %": {"sparsity": 0.5},
    "pattern 2:4": {"pattern": (2, 4)},
}


@dataclass(frozen=True)
class Row:
    """`real` is the float network, `integer` what is compiled; `cpu` seconds are of pruning."""

    model: str
    choice: str
    samples: int
    real: Side
    integer: Side
    cpu: float


def evaluate(model: Model) -> list[Row]:
    graph = importers.load(model.path)
    assert model.calibration is not None
    calibration = data.load(model.calibration, graph).arrays
    judged = data.load(model.evaluation, graph)
    judge = Judge(graph, judged)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), judge, calibration, TARGET, "zig", lambda stage, share: None)

        def add(choice: str, network: Graph, cpu: float = 0.0, **quantization: Any) -> None:
            real = bench.real(choice, network)
            integer = bench.compiled(choice, network, **quantization)
            rows.append(Row(model.label, choice, judged.count, real, integer, cpu))

        add("unpruned", graph)
        add("unpruned, int4", graph, weight_bits=4)
        kinds = {**CHANNELS, **({"inner 12.5 %": INNER} if model.name == "resnet8" else {})}
        for choice, options in kinds.items():
            started = time.process_time()
            thin = prune_channels(graph, calibration, **options).graph
            add(choice, thin, time.process_time() - started)
        for choice, options in WEIGHTS.items():
            started = time.process_time()
            sparse = prune_weights(graph, calibration, **options).graph
            add(choice, sparse, time.process_time() - started)
    return rows


def report(rows: list[Row]) -> str:
    columns = ("model", "choice", "n", "float accuracy %", "int accuracy %", "agreement %",
               "SQNR dB", "MACs", "constants B", "flash B", "RAM B", "cycles (est.)",
               "CPU s")  # fmt: skip
    return tables.table(
        columns,
        [
            (r.model, r.choice, r.samples, share(r.real.accuracy, r.samples),
             share(r.integer.accuracy, r.samples), share(r.integer.agreement, r.samples),
             r.integer.sqnr_db, r.integer.macs, r.integer.constant_bytes, r.integer.flash_bytes,
             r.integer.ram_bytes, r.integer.cycles, r.cpu)
            for r in rows
        ],
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--models", type=names_of, default=MODELS, help="such as kws,ad01")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    rows = [row for m in models(options.shared, options.models, "onnx") for row in evaluate(m)]
    text = report(rows)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "pruning", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
