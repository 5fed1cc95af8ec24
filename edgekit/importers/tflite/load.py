"""TFLite to a graph: integer models with the same integers, scales and rounding rules; float ones
as they are.

Layouts differ only in depthwise weights: TFLite's [1, KH, KW, O] is [KH, KW, O] here. SAME and
VALID become explicit pads by TFLite's formula, fused activations a `clamp`. QUANTIZE behind an
input and DEQUANTIZE before an output vanish: inputs and outputs carry their quantization.
Variables become states of the graph (`edgekit.importers.tflite.state`).

A model with int8 weights that computes on floats (dynamic-range quantization, "hybrid" kernels) is
taken for the float network behind it: its weights become the reals that they stand for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.importers.common import DAMAGE, Refused, Unsupported, damaged, invalid
from edgekit.importers.tflite.batches import dilated
from edgekit.importers.tflite.builder import HANDLERS, TfliteBuilder
from edgekit.importers.tflite.read import Subgraph, TfliteModel, TfliteNode, read
from edgekit.importers.tflite.variables import constant_states

FULL_INTEGER = (
    "convert again with full integer quantization (a representative dataset, TFLITE_BUILTINS_INT8, "
    "int8 input and output), or give the float model with --calibration and let edgekit quantize it"
)
#: What gives the same for uint8 as for the int8 numbers that stand for the same reals. Other
#: operators round in another way, or go by tables of their own.
OF_UINT8 = {
    "ADD", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO",
    "CONCATENATION", "CONV_2D", "DEPTH_TO_SPACE", "DEPTHWISE_CONV_2D", "EXPAND_DIMS",
    "FULLY_CONNECTED", "GATHER", "GATHER_ND", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN",
    "MINIMUM", "MIRROR_PAD", "MUL", "PACK", "PAD", "PADV2", "QUANTIZE", "RELU", "RELU6", "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "SUB", "TANH", "TILE",
    "TRANSPOSE", "UNPACK",
}  # fmt: skip
#: dtypes that say whether a node computes on integers or on floats; others are indices and masks.
NUMBERS = ("float32", "float16", "int8", "int16", "uint8")


def import_tflite(path: Path, data: bytes) -> tuple[Graph, list[Unsupported]]:
    """The graph of a .tflite file before any pass, and the nodes that edgekit cannot express.

    Where the second is not empty the graph is incomplete and must not be used.

    Raises:
        EdgekitError: E103 damaged or contradictory, E104 a batch other than 1, E106 neither an
            integer nor a float model, E107 absurd sizes.
    """
    load_handlers()
    model = read(path, data)
    kind = _kind_of(path.name, model)
    builder = TfliteBuilder(model)
    builder.floating = kind != "integer"
    if kind == "dynamic":
        builder.graph.metadata["quantized"] = kind
    main = model.subgraphs[0]
    nodes = dilated(_edges(builder, main), builder.tensors, {*main.inputs, *main.outputs})
    found = import_nodes(builder, nodes)
    if not found:
        for i in main.outputs:
            if i not in builder.names or builder.graph.is_constant(builder.names[i]):
                raise invalid(f"output '{main.tensors[i].name}' is made by no operator")
            builder.graph.outputs.append(builder.names[i])
        constant_states(builder)
    return builder.graph, found


def load_handlers() -> None:
    """Fill HANDLERS from every module of this folder."""
    from edgekit.importers import tflite

    for module in pkgutil.iter_modules(tflite.__path__):
        importlib.import_module(f"{tflite.__name__}.{module.name}")


def import_nodes(builder: TfliteBuilder, nodes: Sequence[TfliteNode]) -> list[Unsupported]:
    """Import nodes in order; those that edgekit cannot express, without those that read them."""
    found: list[Unsupported] = []
    unknown: set[int] = set()
    for node in nodes:
        reason = _import_node(builder, node, unknown)
        if reason is None:
            continue
        unknown.update(node.outputs)
        if reason:
            found.append(Unsupported(node.name, node.op, reason))
    return found


def _import_node(builder: TfliteBuilder, node: TfliteNode, unknown: set[int]) -> str | None:
    """None where the node was imported, else why not ('' where that lies in its operands)."""
    handler = HANDLERS.get(node.op)
    if handler is None:
        return "the operator is not supported"
    if unknown.intersection(node.inputs):
        return ""
    unsigned = any(builder.tensors[i].unsigned for i in (*node.inputs, *node.outputs) if i >= 0)
    if unsigned and not builder.floating and node.op not in OF_UINT8:
        return "it computes on uint8: convert again with int8 input, output and inference type"
    try:
        handler(builder, node)
    except Refused as reason:
        return str(reason)
    except DAMAGE as error:
        raise damaged(node.name, node.op, error) from None
    return None


def _kind_of(file: str, model: TfliteModel) -> str:
    """ "integer", "float", or "dynamic" for a float model with int8 weights.

    Raises:
        EdgekitError: E106 for a mixture, which lists every node that computes in float32.
    """
    main = model.subgraphs[0]
    kinds: Counter[str] = Counter()
    floats: list[TfliteNode] = []
    hybrid = False
    for node in main.nodes:
        if node.op in ("QUANTIZE", "DEQUANTIZE", "CAST") or node.op not in HANDLERS:
            continue
        results = [main.tensors[o] for o in node.outputs if o >= 0]
        if not results or results[0].dtype not in NUMBERS:
            continue
        kinds[results[0].dtype] += 1
        if results[0].dtype == "float32":
            floats.append(node)
        operands = [main.tensors[i] for i in node.inputs if i >= 0]
        weights = operands[1].dtype if len(operands) > 1 else ""
        hybrid |= bool(operands) and operands[0].dtype == "float32" and weights == "int8"
    total = kinds.total()
    if not floats:
        edges = {main.tensors[i].dtype for i in (*main.inputs, *main.outputs)}
        return "float" if not total and "float32" in edges else "integer"
    if len(floats) == total:
        constants = (t for t in main.tensors if t.data is not None)
        return "dynamic" if hybrid or any(t.dtype == "int8" for t in constants) else "float"
    raise EdgekitError(
        "E106",
        f"{file} computes in float32 in part ({len(floats)} of {total} operators)",
        help=FULL_INTEGER,
        details=[str(Unsupported(n.name, n.op, "it computes in float32")) for n in floats],
    )


def _edges(builder: TfliteBuilder, main: Subgraph) -> list[TfliteNode]:
    """Add the graph inputs; returns the nodes without conversions at inputs and outputs."""
    made = [o for n in main.nodes for o in n.outputs if o >= 0]
    if len(made) != len(set(made)) or set(made) & set(main.inputs):
        raise invalid("a tensor is made by two operators, or is an input as well")
    nodes = list(main.nodes)
    for i in main.inputs:
        _input(builder, i, nodes)
    if not builder.floating:
        for at in range(len(main.outputs)):
            _output(builder, main, at, nodes)
    return nodes


def _input(builder: TfliteBuilder, index: int, nodes: list[TfliteNode]) -> None:
    tensor = builder.tensors[index]
    readers = [n for n in nodes if index in n.inputs]
    # Recurrent operators may have time in front and the batch behind it.
    in_time = tensor.shape[1:2] == (1,) and readers and all("SEQUENCE" in n.op for n in readers)
    if tensor.shape[:1] != (1,) and not in_time:
        raise EdgekitError(
            "E104",
            f"input '{tensor.name}' has shape {list(tensor.shape)}: its first axis is the "
            "batch, which must be 1",
            help="convert the model with a batch of 1",
        )
    converted = [n for n in readers if n.op == "QUANTIZE" and tensor.dtype == "float32"]
    seen = tensor
    if not builder.floating and len(converted) == 1 and len(readers) == 1:
        made = converted[0].outputs[0]
        inner = builder.tensors[made]
        if inner.shape != tensor.shape:
            raise invalid(f"'{inner.name}' and '{tensor.name}' differ in shape")
        seen = replace(inner, name=tensor.name)
        builder.names[made] = tensor.name
        nodes.remove(converted[0])
    try:
        builder.add_input(tensor.name, seen.shape, *builder.kind_of(seen))
    except Refused as reason:
        raise EdgekitError("E106", f"input {reason}", help=FULL_INTEGER) from None
    builder.names[index] = tensor.name


def _output(builder: TfliteBuilder, main: Subgraph, at: int, nodes: list[TfliteNode]) -> None:
    """Let the integer tensor in front of a DEQUANTIZE be the output, under the output's name."""
    tensors, index = builder.tensors, main.outputs[at]
    maker = next((n for n in nodes if index in n.outputs), None)
    if maker is None or maker.op != "DEQUANTIZE" or not maker.inputs:
        return
    inner = maker.inputs[0]
    if inner < 0 or any(index in n.inputs for n in nodes) or inner in main.inputs:
        return
    main.outputs[at] = inner
    if inner not in main.outputs[:at]:  # else it has the name of another output already
        tensors[inner] = replace(tensors[inner], name=tensors[index].name)
    nodes.remove(maker)
