"""Fewer channels: ranked by what their removal costs, consumers refitted, shapes really smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Node
from pruner.checks import check_ratio, nothing_to_prune, prepared
from pruner.groups import remove, trace
from pruner.ranking import Order, rank
from pruner.ridge import answering
from pruner.walk import Solve, refit
from quantizer.moments import Moments

Ranking = Literal["global", "layerwise"]
RANKINGS: tuple[str, ...] = get_args(Ranking)


@dataclass(frozen=True)
class Thinned:
    """The smaller float graph, and of each family (first layer: before, after) its channels."""

    graph: Graph
    channels: dict[str, tuple[int, int]]
    kept: dict[str, str]


def prune_channels(
    graph: Graph,
    calibration: Mapping[str, np.ndarray],
    ratio: float,
    *,
    ranking: Ranking = "global",
    multiple: int = 4,
    inner_only: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Thinned:
    """Remove a share of the channels and refit what reads them.

    Args:
        graph: canonical float graph.
        calibration: {input name: array [n, ...] of real values}.
        ratio: the share of the prunable channels that goes, in (0, 1); channels that residual adds
            tie count once.
        ranking: "global" takes those channels of the whole network that cost least error per saved
            multiply-accumulate, "layerwise" the share of each family of layers.
        multiple: families lose channels in blocks of so many; kernels read four at a time.
        inner_only: leave channels alone that several layers make, such as those of residual adds.

    Raises:
        EdgekitError: E201 .. E205 calibration data, E208 NaN in the network, E231 the graph is
            quantized, E232 a ratio outside (0, 1), E233 a layer that would be emptied, E234 nothing
            to prune, E236 an unknown ranking or multiple.
    """
    report = progress or (lambda stage, share: None)
    check_ratio("the share of channels", ratio)
    if ranking not in RANKINGS or multiple < 1:
        raise EdgekitError(
            "E236",
            f"ranking '{ranking}' in blocks of {multiple} channels",
            help=did_you_mean(ranking, list(RANKINGS)) + "; blocks of 1 or more",
        )
    graph, data = prepared(graph, calibration)
    channels = trace(graph)
    families = [f for f in channels.families if len(f.producers) == 1 or not inner_only]
    if not families:
        reasons = "; ".join(f"'{name}' keeps its channels, {why}"
                            for name, why in list(channels.kept.items())[:3])  # fmt: skip
        raise nothing_to_prune(
            graph, reasons or "it has no layer with channels", "sparsity needs no channels"
        )
    orders = rank(graph, channels, families, data, report)
    gone = select(orders, ratio, ranking, multiple)
    if not gone:
        count = sum(len(f.groups) for f in families)
        raise nothing_to_prune(
            graph, f"a share of {ratio} of {count} channels is not one block of {multiple}",
            "raise the share, or take smaller blocks (--channel-multiple 1)",
        )  # fmt: skip
    solve = {
        node.output: _without(~np.isin(channels.of[node.inputs[0]], list(gone)))
        for node in graph.nodes
        if node.op in ("conv2d", "fully_connected") and node.attrs.get("groups", 1) == 1
    }
    fitted = refit(graph, data, solve, report)
    sizes = {
        f.name: (len(f.groups), len(f.groups) - int(np.isin(f.groups, list(gone)).sum()))
        for f in families
    }
    return Thinned(remove(fitted, channels, gone), sizes, channels.kept)


def select(orders: list[Order], ratio: float, ranking: str, multiple: int) -> set[int]:
    """The groups that go.

    Raises:
        EdgekitError: E233 where a family would lose its last block.
    """
    most = {i: (len(o.groups) - 1) // multiple for i, o in enumerate(orders)}  # blocks that may go
    if ranking == "layerwise":
        blocks = {}
        for i, o in enumerate(orders):
            blocks[i] = int(ratio * len(o.groups) / multiple + 0.5)
            if blocks[i] > most[i]:
                raise _emptied(o, ratio, blocks[i] * multiple, multiple)
    else:
        wanted = int(ratio * sum(len(o.groups) for o in orders) / multiple + 0.5)
        if wanted > sum(most.values()):
            smallest = min(orders, key=lambda o: len(o.groups))
            raise _emptied(smallest, ratio, len(smallest.groups), multiple)
        blocks = dict.fromkeys(most, 0)
        for _ in range(wanted):
            open_ = [i for i in most if blocks[i] < most[i]]
            best = min(open_, key=lambda i: _next_cost(orders[i], blocks[i], multiple))
            blocks[best] += 1
    return {int(g) for i, o in enumerate(orders) for g in o.groups[: blocks[i] * multiple]}


def _next_cost(order: Order, blocks: int, multiple: int) -> float:
    part = order.costs[blocks * multiple : (blocks + 1) * multiple]
    return float(part.sum()) / max(order.macs, 1.0)


def _emptied(order: Order, ratio: float, count: int, multiple: int) -> EdgekitError:
    total = len(order.groups)
    return EdgekitError(
        "E233",
        f"removing a share of {ratio} would take {min(count, total)} of {total} channels from "
        f"'{order.family.name}' and leave {max(total - count, 0)}",
        help=f"at least one has to stay: lower the share (in blocks of {multiple})",
    )


def _without(live: np.ndarray) -> Solve:
    """Refit of a layer that reads only the live ones of its operand's channels, bool[C]."""

    def solve(node: Node, r: np.ndarray, found: Moments) -> np.ndarray:
        taps = np.flatnonzero(np.tile(live, r.shape[1] // len(live)))
        new = np.zeros_like(r)
        h, cross = found.h[0], found.cross[0]
        new[:, taps] = answering(r, h[np.ix_(taps, taps)], cross[taps], taps)
        return new

    return solve
