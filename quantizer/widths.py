"""What every layer computes with: bits of weights, integers of activations, float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Node, raw_inputs
from edgekit.ops import operator
from quantizer.groups import width_groups
from quantizer.weights import CHANNEL_AXIS

WIDTHS = (4, 8)
ACTIVATION_WIDTHS = (8, 16)
#: The key of a mapping that stands for every layer which it does not name.
EVERY = "*"
#: Operators that can stay in float32.
FLOAT_OPERATORS = (*CHANNEL_AXIS, "add", "mul")


@dataclass(frozen=True)
class Formats:
    """How every layer computes and every tensor is stored.

    Attributes:
        weight_bits: 4 or 8 by the name of every layer with integer weights.
        dtypes: "int8", "int16" or "float32" by the name of every activation.
        floats: names of the layers that compute in float32.
    """

    weight_bits: Mapping[str, int]
    dtypes: Mapping[str, str]
    floats: frozenset[str] = frozenset()


def formats_of(
    graph: Graph,
    weight_bits: int | Mapping[str, int],
    activation_bits: int | Mapping[str, int],
    float_layers: Collection[str],
) -> Formats:
    """The formats that the options of `quantizer.quantize` ask for.

    Raises:
        EdgekitError: E211 weights, E280 activations, E281 float layers.
    """
    floats = _float_layers(graph, float_layers)
    bits = widths_of(graph, weight_bits)
    if isinstance(weight_bits, Mapping) and (both := sorted(floats & set(weight_bits))):
        raise EdgekitError(
            "E281",
            f"layer '{both[0]}' is to stay in float32 and to have weights of "
            f"{weight_bits[both[0]]} bits",
            help="name it in one of the two options",
        )
    return Formats(
        {name: width for name, width in bits.items() if name not in floats},
        _dtypes(graph, activation_bits, floats),
        floats,
    )


def layer_name(node: Node) -> str:
    return node.name or node.output


def weighted(graph: Graph) -> list[Node]:
    """The nodes with weights, in execution order."""
    return [node for node in graph.nodes if node.op in CHANNEL_AXIS]


def constant_dtype(node: Node, dtypes: Mapping[str, str]) -> str:
    """The dtype of a constant operand: as wide as the widest other tensor of the node."""
    wide = any(dtypes.get(name) == "int16" for name in (*node.inputs, *node.outputs))
    return "int16" if wide else "int8"


def widths_of(graph: Graph, weight_bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits of every weighted layer by name.

    Four bits for all means: all but the first and the last layer, whose errors meet the input and
    the scores directly, and depthwise layers, which hold few weights and average few products.
    A mapping gives layers by name and, as `EVERY`, what holds for the others (8 where absent).

    Raises:
        EdgekitError: E211 for an unknown layer or a width that is neither 4 nor 8.
    """
    named = _named(weight_bits, WIDTHS, "E211", "weights", "weights have 4 or 8 bits")
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


def _named(
    bits: int | Mapping[str, int], allowed: tuple[int, ...], code: str, what: str, help: str
) -> dict[str, int]:
    """A number of bits for all layers, or by layer, as a mapping; refuses other widths."""
    named = {EVERY: bits} if isinstance(bits, int) else dict(bits)
    for name, width in named.items():
        if width not in allowed or isinstance(width, bool):
            where = "all layers" if name == EVERY else repr(name)
            raise EdgekitError(code, f"{what} of {width} bits for {where}", help=help)
    return named


def _float_layers(graph: Graph, names: Collection[str]) -> frozenset[str]:
    layers = {layer_name(node): node for node in graph.nodes}
    for name in names:
        if name not in layers:
            raise EdgekitError(
                "E281", f"there is no layer '{name}'", help=did_you_mean(name, list(layers))
            )
        if layers[name].op not in FLOAT_OPERATORS:
            raise EdgekitError(
                "E281",
                f"layer '{name}' is a {layers[name].op}, which cannot stay in float32",
                help=f"these can: {', '.join(FLOAT_OPERATORS)}; others can have 16 bits",
            )
    return frozenset(names)


def _dtypes(
    graph: Graph, activation_bits: int | Mapping[str, int], floats: Collection[str]
) -> dict[str, str]:
    """The dtype of every activation.

    A layer's bits are those of its result; operators that cannot change the width have their
    operands', so that one of them that is named names these (`quantizer.groups`). A tensor is
    float32 where it goes from float layers to float layers only. Inputs whose integers are given
    keep their dtype whatever was asked for.
    """
    named = _named(
        activation_bits, ACTIVATION_WIDTHS, "E280", "activations", "activations have 8 or 16 bits"
    )
    general = named.pop(EVERY, 8)
    groups = width_groups(graph)
    tensors = {name: name for name in graph.inputs if name in groups}
    tensors |= {layer_name(node): node.output for node in graph.nodes if node.output in groups}
    asked: dict[str, int] = {}
    for name, width in named.items():
        if name not in tensors:
            raise EdgekitError(
                "E280",
                f"there is no layer or input '{name}' to have {width}-bit activations",
                help=did_you_mean(name, list(tensors)),
            )
        place = groups.of(tensors[name])
        asked[place] = max(width, asked.get(place, 0))
    for node in graph.nodes:
        asked |= {groups.of(name): 16 for name in operator(node.op).wide(node) if name in groups}
    given = {groups.of(name): dtype for name, (dtype, _) in raw_inputs(graph).items()}
    dtypes = {
        name: given.get(root := groups.of(name), f"int{asked.get(root, general)}")
        for name in groups.names
    }
    for node in graph.nodes:
        readers = graph.consumers(node.output)
        inner = readers and all(layer_name(reader) in floats for reader in readers)
        if layer_name(node) in floats and inner and node.output not in graph.outputs:
            dtypes[node.output] = "float32"
    return dtypes
