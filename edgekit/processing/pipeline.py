"""Where a processing meets the stages of a compilation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.processing.attach import attach_input, attach_output
from edgekit.processing.model import Processing
from edgekit.processing.read import load
from edgekit.report import Quality
from edgekit.search.budget import Budget


@dataclass(frozen=True)
class Around:
    """The steps around a model, None for none."""

    processing: Processing | None

    @staticmethod
    def of(processing: Processing | str | Path | None, limits: Budget) -> Around:
        """From a processing, or a YAML file of one.

        Raises:
            EdgekitError: E187 where a budget wants a search that calibration on features rules out.
        """
        if isinstance(processing, str | Path):
            processing = load(processing)
        if limits and processing and processing.before and processing.calibrate == "features":
            raise EdgekitError(
                "E187",
                "a budget is kept by comparing networks on raw inputs, and the processing says "
                "'calibrate: features'",
                help="calibrate on raw samples or pixels, or leave the budget away",
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
        return attach_output(graph, p), quality
