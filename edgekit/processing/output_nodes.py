"""Classes and boxes as nodes behind the outputs of an integer graph."""

from __future__ import annotations

from typing import Any

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Node, Value
from edgekit.ops import operator
from edgekit.processing.check import refuse
from edgekit.processing.output_step import Classify, Detect


def classify_nodes(graph: Graph, step: Classify) -> None:
    """The output with the scores becomes the number of a class (and stays where asked for).

    What a softmax reads is compared where the softmax itself is not needed: its order is the same.
    """
    scores = _output(graph, step.output or graph.outputs[0])
    at = graph.outputs.index(scores)
    x = scores
    maker = graph.producer(scores)
    plain = step.threshold is None and not step.scores
    if plain and maker is not None and maker.op == "softmax":
        x = maker.inputs[0]
    shape = graph.values[x].shape
    if len(shape) < 2 or (shape[-1] == 1 and step.threshold is None):
        refuse(
            "classify",
            [f"output '{scores}' {list(shape)} has one score, which needs a threshold"],
            "E183",
        )
    if shape[-1] < step.top:
        refuse(
            "classify", [f"top {step.top} of the {shape[-1]} scores of output '{scores}'"], "E183"
        )
    made: list[str]
    if step.threshold is not None:
        made = _add(graph, "threshold", [x], {"value": float(step.threshold)}, ["class"])
    elif step.top == 1:
        attrs = {"kind": "max", "axis": len(shape) - 1, "keepdims": False, "last": False}
        made = _add(graph, "arg", [x], attrs, ["class"])
    else:
        attrs = {"k": step.top, "axis": len(shape) - 1, "largest": True, "sorted": True}
        made = _add(graph, "top_k", [x], attrs, ["top_scores", "classes"])
        made.reverse()
    graph.outputs[at : at + 1] = [*made, scores] if step.scores else made
    graph.drop_unused()


def detect_nodes(graph: Graph, step: Detect) -> None:
    """A first output with numbers and classes of boxes; boxes and scores stay outputs."""
    boxes, scores = _output(graph, step.boxes), _output(graph, step.scores)
    attrs = {"most": step.most, "iou": float(step.iou), "value": float(step.threshold)}
    graph.outputs[:0] = _add(graph, "nms", [boxes, scores], attrs, ["detections"])


def _output(graph: Graph, name: str) -> str:
    if name not in graph.outputs:
        raise EdgekitError(
            "E186",
            f"'{graph.name}' has no output '{name}'",
            help=did_you_mean(name, graph.outputs),
        )
    return name


def _add(
    graph: Graph, op: str, inputs: list[str], attrs: dict[str, Any], names: list[str]
) -> list[str]:
    """A node at the end; its results have the grid of the operand where they are quantized."""
    values = [graph.values[i] for i in inputs]
    outputs = tuple(graph.fresh(name) for name in names)
    node = Node(op, tuple(inputs), outputs, attrs, outputs[0])
    for name, (shape, dtype) in zip(outputs, operator(op).checked(node, values), strict=True):
        quant = values[0].quant if dtype == values[0].dtype else None
        graph.add_value(Value(name, shape, dtype, quant))
    graph.nodes.append(node)
    return list(outputs)
