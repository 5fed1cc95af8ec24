"""Which channels of which tensors stand or fall together.

A *tensor's channels* are the elements of its last axis. Operators that work channel by channel tie
the channels of their result to those of their operands: depthwise convolutions, pooling, `add`,
`mul`, `clip`, and reshapes and transposes that keep the last axis (or repeat it: a flattening).
Tied channels form a *class*. A convolution or fully connected layer ends classes: it reads some and
makes others. Everything else *pins* the channels that it touches, so that they stay: graph inputs,
outputs and states, softmax, layers in float32, grouped convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops.interval import channels_of

#: Operators whose result's channel c depends on channel c of each operand only.
BY_CHANNEL = (
    *("unary", "clip", "add", "sub", "mul", "div", "pow", "mod", "squared_difference", "prelu"),
    *("minimum", "maximum", "average_pool2d", "max_pool2d"),
)


def is_dense(graph: Graph, node: Node) -> bool:
    """A convolution of one group or a fully connected layer, in integers, with constant weights."""
    return (
        node.op in ("conv2d", "fully_connected")
        and node.attrs.get("groups", 1) == 1
        and not node.attrs.get("float")
        and all(i in graph.constants for i in node.inputs[1:])
    )


@dataclass(frozen=True)
class Groups:
    """`of[value]` is the class of each channel, int [C], for every value that is no constant.

    `pinned` is bool over classes, `members` lists the classes of each group: what is connected
    through tensors, such as all channels of a layer and of the depthwise layer behind it.
    """

    of: dict[str, np.ndarray]
    pinned: np.ndarray
    members: list[np.ndarray]


def groups(graph: Graph) -> Groups:
    """Classes of channels of all activations of `graph`."""
    first: dict[str, int] = {}
    total = 0
    for name in [*graph.sources, *(name for n in graph.nodes for name in n.outputs)]:
        first[name] = total
        total += channels_of(graph.values[name])

    def elements(name: str) -> np.ndarray:
        return first[name] + np.arange(channels_of(graph.values[name]))

    kept = {*graph.sources, *graph.outputs, *(state.next for state in graph.states)}
    pins = [elements(i) for i in kept if i in first]
    ties: list[tuple[np.ndarray, np.ndarray]] = []
    for node in graph.nodes:
        if is_dense(graph, node):
            continue
        out = elements(node.output)
        pins += [elements(name) for name in node.outputs[1:]]
        for name in node.inputs:
            if name in graph.constants:
                continue
            source = _source(graph, node, name)
            if source is None:
                pins += [elements(name), out]
            else:
                ties.append((elements(name)[source], out))
    label = _merged(total, ties)
    classes, of_element = np.unique(label, return_inverse=True)
    pinned = np.zeros(len(classes), bool)
    for e in pins:
        pinned[of_element[e]] = True
    of = {name: of_element[elements(name)] for name in first}
    within = [(np.full(len(c), c[0]), c) for c in of.values()]
    group = _merged(len(classes), within)
    return Groups(of, pinned, [np.flatnonzero(group == g) for g in np.unique(group)])


def _source(graph: Graph, node: Node, operand: str) -> np.ndarray | None:
    """The channel of `operand` that each channel of the result is made of; None where it is not."""
    before = channels_of(graph.values[operand])
    after = channels_of(graph.values[node.output])
    if node.attrs.get("float") or graph.values[operand].dtype == "float32":
        return None
    if node.op in BY_CHANNEL:
        return np.arange(after) if before == after else None
    if node.op == "depthwise_conv2d":
        constant = all(i in graph.constants for i in node.inputs[1:])
        return np.arange(after) // (after // before) if constant else None
    if node.op == "reshape":
        return np.arange(after) % before if after % before == 0 else None
    if node.op == "transpose":
        perm = node.attrs["perm"]
        return np.arange(after) if perm[-1] == len(perm) - 1 else None
    return None


def _merged(count: int, ties: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The least element that each of `count` elements is connected with through `ties`."""
    label = np.arange(count)
    changed = True
    while changed:
        before = label.copy()
        for a, b in [*ties, *ties[::-1]]:
            least = np.minimum(label[a], label[b])
            np.minimum.at(label, a, least)
            np.minimum.at(label, b, least)
        changed = not np.array_equal(before, label)
    return label
