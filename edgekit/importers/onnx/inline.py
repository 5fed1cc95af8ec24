"""Nodes of functions and subgraphs in the place of the node that calls them.

ONNX has three kinds of calls: functions that the file brings along, functions by which the
standard itself defines an operator, and the subgraphs of If, Loop and Scan. All come down to the
nodes of a `Body` under names of their own. Loops and nesting can make a small file large, so the
number of nodes is bounded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.importers.common import invalid
from edgekit.importers.onnx.node import (
    Body,
    OnnxNode,
    Parameter,
    decode_function,
    operand,
)

#: Nodes after inlining; the largest networks for small devices have some thousands.
MAX_NODES = 50_000
Functions = dict[tuple[str, str, str], Body]


def instantiate(
    body: Body, call: OnnxNode, names: dict[str, str], prefix: str
) -> tuple[list[OnnxNode], dict[str, str]]:
    """The nodes of `body` under names that nothing else has.

    Args:
        call: the node that calls it; its attributes stand for the body's parameters.
        names: what the body's inputs are called outside.
        prefix: makes the other names unique.

    Returns:
        The nodes, and what every name of the body is called outside.
    """
    names = dict(names)
    for name in (*body.constants, *(o for n in body.nodes for o in n.outputs if o)):
        names[name] = f"{prefix}/{name}"
    attrs = {**body.attrs, **call.attrs}
    nodes = []
    for node in body.nodes:
        nodes.append(
            replace(
                node,
                name=f"{call.name}/{node.name}",
                inputs=[names.get(i, i) for i in node.inputs],
                outputs=[names.get(o, o) for o in node.outputs],
                attrs=_bound(node.attrs, attrs, names),
            )
        )
    return nodes, names


def _bound(attrs: dict[str, Any], given: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Attributes with parameters replaced; a parameter without a value leaves its attribute out."""
    result: dict[str, Any] = {}
    for key, value in attrs.items():
        if isinstance(value, Parameter):
            if value.name in given:
                result[key] = given[value.name]
        else:
            result[key] = _renamed(value, given, names) if isinstance(value, Body) else value
    return result


def _renamed(body: Body, given: dict[str, Any], names: dict[str, str]) -> Body:
    """A subgraph whose names of the graph around it are called as `names` says."""
    own = {*body.inputs, *body.constants, *(o for n in body.nodes for o in n.outputs)}
    outer = {k: v for k, v in names.items() if k not in own}
    nodes = [
        replace(n, inputs=[outer.get(i, i) for i in n.inputs], attrs=_bound(n.attrs, given, outer))
        for n in body.nodes
    ]
    return replace(body, nodes=nodes, outputs=[outer.get(o, o) for o in body.outputs])


def inlined(nodes: list[OnnxNode], functions: Functions) -> list[OnnxNode]:
    """`nodes` with every call of one of `functions` replaced by the function's nodes.

    Raises:
        EdgekitError: E103 for functions that call each other without end, E107 for too many nodes.
    """
    if not functions:
        return nodes
    result: list[OnnxNode] = []
    # Each entry is a node with the functions that it came out of.
    todo: list[tuple[OnnxNode, tuple[int, ...]]] = [(n, ()) for n in reversed(nodes)]
    count = 0
    while todo:
        node, inside = todo.pop()
        body = _function(node, functions)
        if body is None:
            result.append(_with_inlined_bodies(node, functions))
        elif id(body) in inside:
            raise invalid(f"the function '{body.name}' calls itself")
        else:
            count += 1
            expanded = call(body, node, f"{node.outputs[0] if node.outputs else node.name}.{count}")
            todo += [(n, (*inside, id(body))) for n in reversed(expanded)]
        check_count(len(result) + len(todo))
    return result


def _function(node: OnnxNode, functions: Functions) -> Body | None:
    found = functions.get((node.domain, node.op, node.overload))
    return found or (None if node.domain else functions.get(("ai.onnx", node.op, node.overload)))


def _with_inlined_bodies(node: OnnxNode, functions: Functions) -> OnnxNode:
    bodies = {k: v for k, v in node.attrs.items() if isinstance(v, Body)}
    if not bodies:
        return node
    done = {k: replace(v, nodes=inlined(v.nodes, functions)) for k, v in bodies.items()}
    return replace(node, attrs={**node.attrs, **done})


def call(body: Body, node: OnnxNode, prefix: str) -> list[OnnxNode]:
    """The nodes of a function that `node` calls; the results have the names that `node` gives."""
    if len(node.inputs) > len(body.inputs) or len(node.outputs) > len(body.outputs):
        raise invalid(
            f"node '{node.name}' calls '{body.name}' with {len(node.inputs)} operands and "
            f"{len(node.outputs)} results, it has {len(body.inputs)} and {len(body.outputs)}"
        )
    names = {name: operand(node, i) for i, name in enumerate(body.inputs)}
    nodes, names = instantiate(body, node, names, prefix)
    made = {o for n in nodes for o in n.outputs}
    rename: dict[str, str] = {}
    for inner, outer in zip(body.outputs, node.outputs, strict=False):
        if not outer:
            continue
        if names.get(inner) in made and names[inner] not in rename:
            rename[names[inner]] = outer
        elif inner in names:  # an input or another result handed out
            source = rename.get(names[inner], names[inner])
            nodes.append(
                OnnxNode("Identity", "", f"{node.name}/{outer}", [source], [outer], {}, node.opset)
            )
        else:
            raise invalid(f"the function '{body.name}' does not make its result '{inner}'")
    return [
        replace(
            n,
            inputs=[rename.get(i, i) for i in n.inputs],
            outputs=[rename.get(o, o) for o in n.outputs],
            attrs=_bound(n.attrs, {}, rename),
        )
        for n in nodes
    ]


def check_count(count: int) -> None:
    """Refuse a number of nodes that no model for small devices has (E107)."""
    if count > MAX_NODES:
        raise EdgekitError(
            "E107",
            f"functions and loops make more than {MAX_NODES} nodes",
            help="export the model without loops, or with fewer rounds",
        )


def standard_function(
    node: OnnxNode, types: list[tuple[str, tuple[int, ...]] | None], folder: Path
) -> Body | None:
    """The function by which the standard defines an operator, None where it does not.

    Args:
        types: dtype and shape of the operands (None where absent); the function may depend on them.
    """
    import onnx
    from onnx import helper

    try:
        schema = onnx.defs.get_schema(node.op, min(node.opset, 1 << 30), node.domain)
    except onnx.defs.SchemaError:
        return None
    if any(isinstance(v, Body) for v in node.attrs.values()):
        return None
    defaults = {
        name: helper.get_attribute_value(a.default_value)
        for name, a in schema.attributes.items()
        if a.default_value.type
    }
    plain = {
        k: v.decode() if isinstance(v, bytes) else list(v) if not isinstance(v, int | float) else v
        for k, v in defaults.items()
    }
    if schema.has_function:
        function = schema.function_body
    elif schema.has_context_dependent_function:
        attrs = {k: v for k, v in node.attrs.items() if v is not None}
        proto = helper.make_node(node.op, node.inputs, node.outputs, domain=node.domain, **attrs)
        protos = [
            helper.make_tensor_type_proto(
                helper.np_dtype_to_tensor_dtype(np.dtype(t[0])), t[1]
            ).SerializeToString()
            if t
            else b""
            for t in types
        ]
        try:
            built = schema.get_context_dependent_function(proto.SerializeToString(), protos)
        except RuntimeError:
            return None
        if not built:
            return None
        function = onnx.FunctionProto.FromString(built)
    else:
        return None
    body = decode_function(function, folder, node.opset)
    return replace(body, attrs={**plain, **body.attrs})
