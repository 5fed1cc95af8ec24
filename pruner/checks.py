"""What both kinds of pruning refuse."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.data import prepare
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from quantizer.calibrate import check_samples


def prepared(
    graph: Graph, calibration: Mapping[str, np.ndarray]
) -> tuple[Graph, dict[str, np.ndarray]]:
    """A copy of the graph without unused nodes, and the checked calibration data.

    Raises:
        EdgekitError: E201 .. E205 calibration data, E231 the graph is quantized.
    """
    integer = [v for v in graph.values.values() if v.dtype != "float32" or v.quant is not None]
    if integer:
        raise EdgekitError(
            "E231",
            f"'{graph.name}' is quantized ('{integer[0].name}' is {integer[0].dtype}): "
            "only float models are pruned",
            help="prune the float model that it was made from, then compile that",
        )
    data = prepare(graph, calibration, source="the calibration data")
    check_samples(data)
    graph = graph.copy()
    graph.drop_unused()
    return graph, data


def check_ratio(what: str, ratio: float | None) -> float:
    """The ratio, if it lies between 0 and 1.

    Raises:
        EdgekitError: E232.
    """
    if ratio is None or not 0 < ratio < 1:
        raise EdgekitError(
            "E232",
            f"{what} is {ratio}, it has to lie between 0 and 1",
            help="0.1 removes a tenth, 0.5 half",
        )
    return ratio


def nothing_to_prune(graph: Graph, why: str, help: str) -> EdgekitError:
    """The E234 of a model in which nothing can be removed."""
    return EdgekitError("E234", f"'{graph.name}' has nothing to prune: {why}", help=help)
