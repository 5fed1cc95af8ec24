"""Variables of a .tflite file.

VAR_HANDLE names one, CALL_ONCE runs a subgraph that gives them their first content, READ_VARIABLE
and ASSIGN_VARIABLE read and write them.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import TfliteNode
from edgekit.importers.tflite.variables import Key, first_content


def _key(node: TfliteNode) -> Key:
    import tflite

    options = node.options(tflite.VarHandleOptions)
    return (
        (options.Container() or b"").decode("utf-8", "replace"),
        (options.SharedName() or b"").decode("utf-8", "replace"),
    )


def _handle(b: TfliteBuilder, node: TfliteNode, handles: Mapping[int, Key]) -> Key:
    if not node.inputs or node.inputs[0] not in handles:
        raise invalid(f"'{node.name}' ({node.op}) has no variable")
    return handles[node.inputs[0]]


@handles("VAR_HANDLE")
def var_handle(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any; together with READ_VARIABLE and ASSIGN_VARIABLE it becomes a state of the graph."""
    if len(node.outputs) != 1:
        raise invalid(f"'{node.name}' ({node.op}) has {len(node.outputs)} results, 1 is needed")
    b.variables.handles[node.outputs[0]] = _key(node)


@handles("READ_VARIABLE")
def read_variable(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any variable of int8, int16 or float32 numbers."""
    variables = b.variables
    key, out = _handle(b, node, variables.handles), b.result(node)
    dtype, quant = b.kind_of(out)
    if key in variables.current:
        if b.value(variables.current[key]).quant != quant:
            raise Refused("it reads the variable under another scale than it was written with")
        b.take(node, variables.current[key])
        return
    if key not in variables.states:
        initial = first_content(out, variables.first.get(key), dtype)
        variables.states[key] = variables.state(b, out, initial)
    elif b.value(variables.states[key]).quant != quant:
        raise Refused("the variable is read under two scales")
    b.take(node, variables.states[key])


@handles("ASSIGN_VARIABLE")
def assign_variable(b: TfliteBuilder, node: TfliteNode) -> None:
    """A value of the scale, type and shape that the variable is read with."""
    variables = b.variables
    key = _handle(b, node, variables.handles)
    variables.current[key] = b.x(node, 1)
    if key in variables.states:
        variables.follow(b, variables.states[key], variables.current[key])


@handles("CALL_ONCE")
def call_once(b: TfliteBuilder, node: TfliteNode) -> None:
    """A subgraph that assigns constants to variables."""
    import tflite

    called = b.subgraph(node, int(node.options(tflite.CallOnceOptions).InitSubgraphIndex()))
    names: dict[int, Key] = {}
    for inner in called.nodes:
        if inner.op == "VAR_HANDLE" and len(inner.outputs) == 1:
            names[inner.outputs[0]] = _key(inner)
        elif inner.op == "ASSIGN_VARIABLE" and len(inner.inputs) == 2:
            tensor = called.tensors[inner.inputs[1]]
            if tensor.data is None:
                raise Refused(f"'{tensor.name}', with which a variable begins, is no constant")
            b.variables.first[_handle(b, inner, names)] = tensor
        else:
            raise Refused(f"its subgraph '{called.name}' does more than assign constants")
