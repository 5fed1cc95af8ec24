"""How many bits each layer's weights get."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Node
from quantizer.weights import CHANNEL_AXIS

WIDTHS = (4, 8)
#: The key of a mapping that stands for every layer which it does not name.
EVERY = "*"


def layer_name(node: Node) -> str:
    return node.name or node.output


def weighted(graph: Graph) -> list[Node]:
    """The nodes with weights, in execution order."""
    return [node for node in graph.nodes if node.op in CHANNEL_AXIS]


def widths_of(graph: Graph, weight_bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits of every weighted layer by name.

    Four bits for all means: all but the first and the last layer, whose errors meet the input and
    the scores directly, and depthwise layers, which hold few weights and average few products.
    A mapping gives layers by name and, as `EVERY`, what holds for the others (8 where absent).

    Raises:
        EdgekitError: E211 for an unknown layer or a width that is neither 4 nor 8.
    """
    named = {EVERY: weight_bits} if isinstance(weight_bits, int) else dict(weight_bits)
    for name, bits in named.items():
        if bits not in WIDTHS or isinstance(bits, bool):
            raise EdgekitError(
                "E211",
                f"weights of {bits} bits for {'all layers' if name == EVERY else repr(name)}",
                help="weights have 4 or 8 bits",
            )
    general = named.pop(EVERY, 8)
    layers = weighted(graph)
    names = [layer_name(node) for node in layers]
    for name in named:
        if name not in names:
            raise EdgekitError(
                "E211",
                f"'{name}' is no layer with weights, so it cannot have {named[name]} bits",
                help=did_you_mean(name, names),
            )
    kept = {names[0], names[-1]} if names else set()
    kept |= {layer_name(node) for node in layers if node.op == "depthwise_conv2d"}
    rule = {name: 8 if name in kept else general for name in names}
    return rule | named
