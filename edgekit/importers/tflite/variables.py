"""What a model keeps from one inference to the next, while its nodes are imported in order.

In the graph a variable that is read before it is written is a state; one that is written first is
that value under another name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgekit.graph import State, Value
from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.read import Tensor

if TYPE_CHECKING:
    from edgekit.importers.tflite.builder import TfliteBuilder

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

    def state(self, b: TfliteBuilder, tensor: Tensor, initial: np.ndarray) -> str:
        """Add the state that a variable is when it is first read, named as `tensor`."""
        dtype, quant = b.kind_of(tensor)
        b.graph.add_value(Value(tensor.name, tensor.shape, dtype, quant))
        b.graph.states.append(State(tensor.name, tensor.name, initial))
        return tensor.name

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
        b.update_state(state, value)


def constant_states(b: TfliteBuilder) -> None:
    """Make constants of the states that nothing changes."""
    changing = []
    for state in b.graph.states:
        if state.next == state.name:
            b.graph.constants[state.name] = state.initial
        else:
            changing.append(state)
    b.graph.states = changing


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
