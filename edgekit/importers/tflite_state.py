"""Variables of a .tflite file: what a model keeps from one inference to the next.

VAR_HANDLE names a variable, CALL_ONCE runs a subgraph that gives variables their first content,
READ_VARIABLE and ASSIGN_VARIABLE read and write them. In the graph a variable that is read before
it is written is a state; one that is written first is that value under another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgekit.graph import Quant, Shape, State, Value
from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite_builder import TfliteBuilder, handles
from edgekit.importers.tflite_read import Tensor, TfliteNode

#: Container and name, which together say which variable a handle means.
Key = tuple[str, str]


@dataclass
class Variables:
    """The variables of a file while its nodes are imported in order."""

    handles: dict[int, Key] = field(default_factory=dict)
    #: What CALL_ONCE assigns.
    first: dict[Key, Tensor] = field(default_factory=dict)
    #: The value that a variable holds at this node, where one was assigned in this inference.
    current: dict[Key, str] = field(default_factory=dict)
    #: The state that a variable is, where it was read before it was assigned.
    states: dict[Key, str] = field(default_factory=dict)
    #: First contents and later ones of states, by the name of the state.
    initial: dict[str, np.ndarray] = field(default_factory=dict)
    following: dict[str, str] = field(default_factory=dict)

    def state(
        self,
        b: TfliteBuilder,
        name: str,
        shape: Shape,
        dtype: str,
        quant: Quant | None,
        initial: np.ndarray,
    ) -> str:
        """Add a state to the graph; `follow` says what it becomes after an inference."""
        b.graph.add_value(Value(name, shape, dtype, quant))
        self.initial[name] = initial
        return name

    def follow(self, b: TfliteBuilder, state: str, value: str) -> None:
        """Let `state` take the content of `value` after the inference.

        Raises:
            Refused: where they differ in shape, type or scale.
        """
        before, after = b.value(state), b.value(value)
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            raise invalid(
                f"'{state}' is {before.dtype}{list(before.shape)}, it is assigned "
                f"{after.dtype}{list(after.shape)}"
            )
        if before.quant != after.quant:
            raise Refused(f"'{value}' is assigned to '{state}', which has another scale")
        self.following[state] = value

    def close(self, b: TfliteBuilder) -> None:
        """Give the graph its states; those that nothing assigns are constants."""
        for name, data in self.initial.items():
            following = self.following.get(name, name)
            if following == name:
                b.graph.constants[name] = data
            else:
                b.graph.states.append(State(name, following, data))


def first_content(tensor: Tensor, given: Tensor | None, dtype: str) -> np.ndarray:
    """What a variable holds before the first inference: TFLM's zero where nothing was assigned.

    Raises:
        EdgekitError: E103 where `given` has another shape or type.
        Refused: where it has another scale.
    """
    if given is None:
        zero_point = 0 if tensor.quant is None else int(tensor.quant.zero_point[0])
        return np.full(tensor.shape, zero_point, dtype)
    if given.shape != tensor.shape or given.dtype != tensor.dtype:
        raise invalid(
            f"'{tensor.name}' is {tensor.dtype}{list(tensor.shape)}, it begins with "
            f"{given.dtype}{list(given.shape)}"
        )
    if given.quant is not None and given.quant != tensor.quant:
        raise Refused(f"'{given.name}' has another scale than '{tensor.name}', which it begins")
    assert given.data is not None
    return given.data.astype(dtype)


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
        variables.states[key] = variables.state(b, out.name, out.shape, dtype, quant, initial)
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
