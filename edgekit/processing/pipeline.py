"""Where a processing meets the stages of a compilation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.processing.attach import attach_input, attach_output
from edgekit.processing.audio_step import Audio
from edgekit.processing.model import Processing
from edgekit.processing.read import load
from edgekit.report import Quality
from edgekit.search.budget import Budget
from edgekit.streaming import Hop, stream


@dataclass(frozen=True)
class Around:
    """The steps around a model, None for none."""

    processing: Processing | None

    @staticmethod
    def of(processing: Processing | str | Path | None, limits: Budget, streamed: bool) -> Around:
        """From a processing, or a YAML file of one; `streamed` says that the model is, too.

        Raises:
            EdgekitError: E187 where a budget wants a search that calibration on features or
                streams rule out, and for two ways of streaming at once.
        """
        if isinstance(processing, str | Path):
            processing = load(processing)
        before = processing.before if processing else None
        every = before.every_ms if isinstance(before, Audio) else None
        if every and streamed:
            raise EdgekitError(
                "E187",
                f"the processing says 'every_ms: {every:g}', and --stream is given too",
                help="every_ms keeps features and runs the network on all of them, --stream keeps "
                "what the network's layers need: take one of them",
            )
        features = processing and before and processing.calibrate == "features"
        if limits and (features or every):
            raise EdgekitError(
                "E187",
                "a budget is kept by comparing networks on raw clips, and the processing says "
                + ("'calibrate: features'" if features else f"'every_ms: {every:g}'"),
                help="leave that or the budget away",
            )
        return Around(processing)

    def before(self, graph: Graph) -> Graph:
        """A float graph with what is calibrated on raw inputs."""
        p = self.processing
        return attach_input(graph, p) if p and p.calibrate == "raw" else graph

    def integer(self, graph: Graph, quality: Quality | None) -> tuple[Graph, Quality | None]:
        """An integer graph with all steps, and its quality, whose sample then may be missing."""
        p = self.processing
        if p is None:
            return graph, quality
        if p.before and "raw_inputs" not in graph.metadata:
            graph = attach_input(graph, p)
            quality = replace(quality, sample={}) if quality else None
        graph = attach_output(graph, p)
        every = p.before.every_samples if isinstance(p.before, Audio) else None
        if every is not None:
            name = next(iter(graph.metadata["raw_inputs"]))
            graph = stream(graph, Hop(1, every), name, features=True)
            quality = replace(quality, sample={}) if quality else None
        return graph, quality
