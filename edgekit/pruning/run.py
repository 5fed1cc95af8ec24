"""``prune``: from a model file to a smaller one, and what that is worth on the target."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit import data, importers, pipeline
from edgekit.errors import EdgekitError
from edgekit.exporters import save_onnx, to_onnx
from edgekit.graph import Graph
from edgekit.judge import Judge
from edgekit.pruning.result import Pruned, Side, sizes_of

if TYPE_CHECKING:
    from edgekit.pipeline import Progress
    from pruner.channels import Ranking


def prune(
    model: Path,
    *,
    calibration: Path | Mapping[str, np.ndarray],
    output: Path | None = None,
    channels: float | None = None,
    sparsity: float | None = None,
    pattern: tuple[int, int] | None = None,
    evaluation: Path | None = None,
    ranking: Ranking = "global",
    multiple: int = 4,
    inner_only: bool = False,
    all_layers: bool = False,
    target: str = "cortex-m4",
    bind: dict[str, int] | None = None,
    compiler: str = "zig",
    progress: Progress | None = None,
) -> Pruned:
    """Prune a float ONNX model, without training, and measure what that is worth on `target`.

    Exactly one of `channels`, `sparsity` and `pattern` is given; docs/PRUNING.md has what they are.

    Args:
        calibration: typical samples: an .npz or .npy file, or arrays by input name.
        output: the pruned float model as a dense ONNX file; None writes none.
        channels: share of the channels that goes, in (0, 1).
        sparsity: share of the weights of each inner layer that becomes zero, in (0, 1).
        pattern: (N, M): at most N of M neighbouring weights stay.
        evaluation: samples to judge on, with a ``label`` array for accuracy; the calibration data
            where None.
        ranking, multiple, inner_only: as `pruner.prune_channels`.
        all_layers: as `pruner.prune_weights`.
        bind: sizes of symbolic dimensions by name.
        progress: called with a stage's name and its share done, 0 to 1.

    Raises:
        EdgekitError: E1xx the model, E20x the data, E231 to E236 as `pruner`, E237 where not
            exactly one way of pruning is named, E704 where `output` cannot be written.
    """
    import pruner

    say = progress or (lambda stage, share: None)
    named = [way for way in (channels, sparsity, pattern) if way is not None]
    if len(named) != 1:
        raise EdgekitError(
            "E237",
            f"{len(named)} ways of pruning are named, 1 is needed",
            help="give one of channels, sparsity and pattern",
        )
    if output is not None:
        check_file(Path(output))
    say("import", 0.0)
    graph = importers.load(Path(model), bind=bind)
    samples, labelled = _samples(graph, calibration, evaluation)
    layers: dict[str, tuple[int, int]]
    if channels is not None:
        thin = pruner.prune_channels(
            graph,
            samples,
            channels,
            ranking=ranking,
            multiple=multiple,
            inner_only=inner_only,
            progress=say,
        )
        pruned, layers = thin.graph, thin.channels
        method = f"{100 * channels:g} % of the channels"
    else:
        sparse = pruner.prune_weights(
            graph, samples, sparsity=sparsity, pattern=pattern, all_layers=all_layers, progress=say
        )
        pruned, layers = sparse.graph, sparse.layers
        method = (f"{pattern[0]}:{pattern[1]} weights" if pattern else
                  f"{100 * (sparsity or 0):g} % of the weights of each layer")  # fmt: skip
    judge = Judge(graph, labelled)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        bench = Bench(Path(folder), judge, samples, target, compiler, say)
        sizes = (len(to_onnx(graph).SerializeToString()), save_onnx(pruned, bench.file(pruned)))
        result = Pruned(
            graph=pruned,
            method=method,
            target=target,
            layers=layers,
            samples=labelled.count,
            judged_on=Path(evaluation).name if evaluation else "the calibration data itself",
            file_bytes=sizes,
            before=bench.real("float", graph),
            after=bench.real("pruned float", pruned),
            before_int8=bench.compiled("int8", graph),
            # Zeros are pruned for flash, and sparse weights are slower: one is not had without the
            # other.
            after_int8=bench.compiled(
                "pruned int8", pruned, sparse_weights="smallest" if channels is None else "auto"
            ),
            before_int4=bench.compiled("int4", graph, weight_bits=4),
        )
    if output is not None:
        save_onnx(pruned, Path(output))
    return result


def _samples(
    graph: Graph, calibration: Path | Mapping[str, np.ndarray], evaluation: Path | None
) -> tuple[dict[str, np.ndarray], data.Samples]:
    """(calibration arrays, samples to judge on)."""
    if isinstance(calibration, Mapping):
        loaded = data.Samples(data.prepare(graph, calibration))
    else:
        loaded = data.load(Path(calibration), graph)
    return loaded.arrays, data.load(Path(evaluation), graph) if evaluation else loaded


def check_file(path: Path) -> None:
    """Refuse, before any work is done, a file that could not be written.

    Raises:
        EdgekitError: E704.
    """
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    why = ""
    if path.is_dir():
        why = "it is a folder"
    elif not parent.is_dir():
        why = f"'{parent}' is not a folder"
    elif not os.access(parent, os.W_OK):
        why = f"no right to write in '{parent}'"
    if why:
        raise EdgekitError("E704", f"cannot write '{path}': {why}", help="choose another -o FILE")


class Bench:
    """Compiles networks for the target and takes their figures."""

    def __init__(
        self,
        folder: Path,
        judge: Judge,
        calibration: dict[str, np.ndarray],
        target: str,
        compiler: str,
        say: Progress,
    ) -> None:
        self.folder, self.judge, self.calibration = folder, judge, calibration
        self.target, self.compiler, self.say = target, compiler, say

    def file(self, graph: Graph) -> Path:
        return self.folder / f"{id(graph)}.onnx"

    def real(self, name: str, graph: Graph) -> Side:
        """A float network."""
        return Side(name, **asdict(self.judge.quality(graph)), **sizes_of(graph))

    def compiled(
        self, name: str, graph: Graph, *, sparse_weights: str = "auto", **quantization: Any
    ) -> Side:
        if not self.file(graph).exists():
            save_onnx(graph, self.file(graph))
        done = pipeline.compile(
            self.file(graph),
            output=self.folder / name.replace(" ", "-"),
            target=self.target,
            calibration=self.calibration,
            quantization=quantization,
            sparse_weights=sparse_weights,
            compiler=self.compiler,
            progress=lambda stage, share: self.say(f"{name}: {stage}", share),
        )
        report = done.report
        return Side(
            name,
            **asdict(self.judge.quality(done.graph)),
            **sizes_of(done.graph),
            constant_bytes=sum(layer.constant_bytes for layer in report.layers),
            flash_bytes=report.flash_bytes,
            ram_bytes=report.ram_bytes,
            cycles=report.cycles,
            instructions=report.instructions,
        )
