"""States of models that take them as inputs and give them back as outputs.

ONNX has no states: an exported recurrent network takes what it knows as an input and returns what
it knows then as an output, which the program around it feeds back. `keep` makes such pairs states
of the graph, so that the device keeps them and `ek_reset` clears them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Node, State


def parse_pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """``("state=stateN",)`` as ``{"state": "stateN"}``.

    Raises:
        EdgekitError: E150 where one is not of that form, or an input is named twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, following = text.partition("=")
        if not (name and equals and following) or name in pairs:
            raise EdgekitError(
                "E150",
                f"--state '{text}' is not INPUT=OUTPUT, or names an input twice",
                help="for instance --state h0=hn: what output hn gives, input h0 takes next time",
            )
        pairs[name] = following
    return pairs


def keep(graph: Graph, pairs: Mapping[str, str]) -> Graph:
    """`graph` with inputs (keys of `pairs`) that become states, and outputs that update them.

    A state begins with zeros. Its input and its output leave the lists of inputs and outputs.

    Raises:
        EdgekitError: E150 for names that are no input or output, or that are named twice, E151
            where an input and its output differ, E152 where no input or no output would be left.
    """
    if not pairs:
        return graph
    result = graph.copy()
    if len(set(pairs.values())) < len(pairs):
        raise EdgekitError("E150", "an output updates two states", help="name it once")
    for name, following in pairs.items():
        for what, wanted, known in (("input", name, graph.inputs),
                                    ("output", following, graph.outputs)):  # fmt: skip
            if wanted not in known:
                raise EdgekitError(
                    "E150", f"'{graph.name}' has no {what} '{wanted}'",
                    help=did_you_mean(wanted, known),
                )  # fmt: skip
        result.states.append(_state(result, name, following))
    result.inputs = [n for n in graph.inputs if n not in pairs]
    result.outputs = [n for n in graph.outputs if n not in pairs.values()]
    if not result.inputs or not result.outputs:
        what = "input" if not result.inputs else "output"
        raise EdgekitError(
            "E152",
            f"'{graph.name}' would have no {what} left",
            help=f"leave one {what} that is no state",
        )
    return result.verify()


def _state(graph: Graph, name: str, following: str) -> State:
    """The state of an input and its output; integers of another grid are converted behind it."""
    value, after = graph.values[name], graph.values[following]
    layouts = graph.metadata.get("layout", {})
    if value.shape != after.shape or layouts.get(name) != layouts.get(following):
        raise EdgekitError(
            "E151",
            f"input '{name}' is {list(value.shape)}, output '{following}' is {list(after.shape)}: "
            "a state keeps its shape",
            help="pair each state's input with the output of the same state",
        )
    if (value.dtype, value.quant) != (after.dtype, after.quant):
        if value.quant is None or after.quant is None:
            raise EdgekitError(
                "E151",
                f"input '{name}' is {value.dtype}, output '{following}' is {after.dtype}",
                help="pair each state's input with the output of the same state",
            )
        converted = graph.fresh(f"{following}:state")
        graph.add_value(replace(value, name=converted))
        attrs = {"clamp": [None, None], "out_dtype": value.dtype}
        graph.nodes.append(Node("clip", (following,), (converted,), attrs, converted))
        following = converted
    zero = 0 if value.quant is None else int(value.quant.zero_point[0])
    return State(name, following, np.full(value.shape, zero, value.dtype))
