"""The graph IR: values, nodes, constants, and the rules that every legal graph keeps.

A graph is a list of nodes in execution order (static single assignment: a name is written once).
Shapes are static and the leading axis of activations is the batch, bound to 1. Activations are
NHWC once the layout pass has run. Quantization is a property of a value, integer semantics a
property of an operator (`edgekit.ops`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

DTYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
Shape = tuple[int, ...]


class GraphError(Exception):
    """An illegal graph: a bug in an importer or a pass, never a user's mistake."""


@dataclass(frozen=True)
class Quant:
    """Affine quantization: ``real = scale * (integer - zero_point)``.

    `scale` is float32 and `zero_point` int32, both of shape [1] (per tensor) or [channels]
    (per channel along `axis`).
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None

    @staticmethod
    def make(scale: Any, zero_point: Any = 0, axis: int | None = None) -> Quant:
        """Build from scalars or sequences; a single zero point serves all channels."""
        s = np.atleast_1d(np.asarray(scale, np.float32))
        z = np.atleast_1d(np.asarray(zero_point, np.int32))
        return Quant(s, np.broadcast_to(z, s.shape).copy() if z.size == 1 else z, axis)

    @property
    def per_channel(self) -> bool:
        return self.axis is not None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Quant)
            and self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )

    def __hash__(self) -> int:
        return hash((self.axis, self.scale.tobytes(), self.zero_point.tobytes()))


@dataclass(frozen=True)
class Value:
    """A tensor: static shape, dtype, and quantization where it holds quantized integers."""

    name: str
    shape: Shape
    dtype: str = "float32"
    quant: Quant | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def sample_shape(self) -> Shape:
        """The shape of one sample: without the batch axis of 1, where there is one in front."""
        return self.shape[1:] if self.shape[:1] == (1,) else self.shape

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Node:
    """One operator call. `attrs` holds JSON values only (numbers, strings, lists, None)."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def output(self) -> str:
        return self.outputs[0]


@dataclass(frozen=True)
class State:
    """A tensor that outlives an inference: value `name` is read during one, and takes the content
    of value `next` after it.

    Both have one shape, dtype and quantization; `initial` is what the first inference reads, an
    array of the value's shape and dtype.
    """

    name: str
    next: str
    initial: np.ndarray


@dataclass
class Graph:
    """`values` has every tensor, constants and inputs included; `constants` has the data."""

    name: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    # What a user must know of inputs and outputs and what was done to them: for instance
    # {"layout": {"x": "NCHW"}} says that the model file declared x as NCHW though it is NHWC here.
    metadata: dict[str, Any] = field(default_factory=dict)

    # ---- reading

    def producer(self, name: str) -> Node | None:
        return next((n for n in self.nodes if name in n.outputs), None)

    def consumers(self, name: str) -> list[Node]:
        return [n for n in self.nodes if name in n.inputs]

    @property
    def sources(self) -> list[str]:
        """What an inference starts from: the inputs and the states."""
        return [*self.inputs, *(state.name for state in self.states)]

    @property
    def results(self) -> list[str]:
        """What an inference leaves behind: the outputs and what states hold next."""
        return [*self.outputs, *(state.next for state in self.states)]

    def is_constant(self, name: str) -> bool:
        return name in self.constants

    # ---- writing

    def add_value(self, value: Value) -> str:
        self.values[value.name] = value
        return value.name

    def add_constant(self, name: str, data: np.ndarray, quant: Quant | None = None) -> str:
        """Store `data` under a fresh name that starts with `name`; returns that name."""
        name = self.fresh(name)
        data = np.ascontiguousarray(data).reshape(data.shape)  # which makes scalars vectors
        self.values[name] = Value(name, tuple(data.shape), str(data.dtype), quant)
        self.constants[name] = data
        return name

    def fresh(self, name: str) -> str:
        if name not in self.values:
            return name
        i = 1
        while f"{name}_{i}" in self.values:
            i += 1
        return f"{name}_{i}"

    def copy(self) -> Graph:
        """A copy that may be edited freely; arrays are shared and must not be written to."""
        return replace(
            self,
            inputs=list(self.inputs),
            outputs=list(self.outputs),
            nodes=list(self.nodes),
            values=dict(self.values),
            constants=dict(self.constants),
            states=list(self.states),
            metadata=dict(self.metadata),
        )

    def drop_unused(self) -> None:
        """Remove nodes whose results nobody reads, states among them, and values nobody names."""
        used = set(self.outputs)
        before = -1
        while before != len(used):  # a state that is read needs what makes its next content
            before = len(used)
            used.update(state.next for state in self.states if state.name in used)
            kept: list[Node] = []
            for node in reversed(self.nodes):
                if used.intersection(node.outputs):
                    kept.append(node)
                    used.update(node.inputs)
        self.nodes = kept[::-1]
        self.states = [state for state in self.states if state.name in used]
        used.update(self.inputs)
        for node in self.nodes:
            used.update(node.outputs)
        self.values = {k: v for k, v in self.values.items() if k in used}
        self.constants = {k: v for k, v in self.constants.items() if k in used}

    # ---- the rules

    def verify(self) -> Graph:
        """Check every rule of a legal graph and return self.

        1. Inputs, outputs and node operands are known values; names match their keys.
        2. Constants agree with their value's shape and dtype.
        3. Each name has one origin: an input, a state, a constant, or one node; definitions come
           first.
        4. Shapes are positive and static; dtypes are known.
        5. Quantization fits: per-channel vectors match the axis, scales are finite and positive.
        6. Every operator is known, its rules hold, and its inferred output shapes and dtypes are
           the stated ones.
        7. A state, its next content and its initial one agree.

        Raises:
            GraphError: with the first rule that is broken.
        """
        from edgekit.ops import operator

        for key, value in self.values.items():
            self._verify_value(key, value)
        for key, data in self.constants.items():
            self._known(key, "constant")
            stated = self.values[key]
            if stated.shape != tuple(data.shape) or stated.dtype != str(data.dtype):
                raise GraphError(
                    f"constant '{key}' is {data.dtype}{list(data.shape)}, "
                    f"its value says {stated.dtype}{list(stated.shape)}"
                )
        for name in self.inputs:
            self._known(name, "input")
        for state in self.states:
            self._known(state.name, "state")
        sources = self.sources
        defined = set(sources) | set(self.constants)
        if len(set(sources)) != len(sources) or set(sources) & set(self.constants):
            raise GraphError("an input or state is listed twice or is a constant as well")
        for node in self.nodes:
            for name in node.inputs:
                self._known(name, f"operand of '{node.name or node.op}'")
                if name not in defined:
                    raise GraphError(f"'{node.name or node.op}' reads '{name}' before it is made")
            for name in node.outputs:
                self._known(name, f"result of '{node.name or node.op}'")
                if name in defined:
                    raise GraphError(f"'{name}' is defined twice")
                defined.add(name)
            inferred = operator(node.op).checked(node, [self.values[i] for i in node.inputs])
            stated_results = [(self.values[o].shape, self.values[o].dtype) for o in node.outputs]
            if inferred != stated_results:
                raise GraphError(
                    f"'{node.name or node.op}' gives {inferred}, the graph says {stated_results}"
                )
        for name in self.outputs:
            if name not in defined:
                raise GraphError(f"output '{name}' is never made")
        for state in self.states:
            self._verify_state(state, defined)
        return self

    def _verify_state(self, state: State, defined: set[str]) -> None:
        self._known(state.next, f"next content of state '{state.name}'")
        if state.next not in defined:
            raise GraphError(f"'{state.next}', the next content of '{state.name}', is never made")
        now, after = self.values[state.name], self.values[state.next]
        if replace(after, name=now.name) != now:
            raise GraphError(f"state '{now.name}' is {now}, its next content {after}")
        if state.initial.shape != now.shape or str(state.initial.dtype) != now.dtype:
            raise GraphError(
                f"state '{now.name}' is {now.dtype}{list(now.shape)}, its initial content "
                f"{state.initial.dtype}{list(state.initial.shape)}"
            )

    def _known(self, name: str, what: str) -> None:
        if name not in self.values:
            raise GraphError(f"{what} '{name}' is not a value of the graph")

    @staticmethod
    def _verify_value(key: str, value: Value) -> None:
        if key != value.name:
            raise GraphError(f"value '{value.name}' is stored as '{key}'")
        if value.dtype not in DTYPES:
            raise GraphError(f"value '{key}' has unknown dtype {value.dtype}")
        if any(not isinstance(d, int) or d < 1 for d in value.shape):
            raise GraphError(f"value '{key}' has shape {value.shape}: every dimension must be >= 1")
        q = value.quant
        if q is None:
            return
        if q.scale.shape != q.zero_point.shape or q.scale.ndim != 1:
            raise GraphError(f"value '{key}': scale and zero point differ in shape")
        if q.axis is not None and not 0 <= q.axis < len(value.shape):
            raise GraphError(f"value '{key}' has scales along axis {q.axis} of {len(value.shape)}")
        want = 1 if q.axis is None else value.shape[q.axis]
        if q.scale.size != want:
            raise GraphError(f"value '{key}': {q.scale.size} scales for {want} channels")
        if not (np.isfinite(q.scale).all() and (q.scale > 0).all()):
            raise GraphError(f"value '{key}': scales must be finite and positive")


def raw_inputs(graph: Graph) -> dict[str, tuple[str, Quant]]:
    """The dtype and quantization of inputs whose integers are given (samples, pixels), by name.

    ``metadata["raw_inputs"]`` has them as ``{name: [dtype, scale, zero point]}``.
    """
    found = graph.metadata.get("raw_inputs", {})
    return {
        name: (dtype, Quant.make(scale, zero_point))
        for name, (dtype, scale, zero_point) in found.items()
        if name in graph.inputs
    }


#: Operators that make an answer of scores.
DECISIONS = ("arg", "threshold", "top_k", "nms")


def logits_of(graph: Graph) -> str:
    """The first output, or what it reads where it is a softmax or an answer made of scores."""
    name = graph.outputs[0]
    for ops in (DECISIONS, ("softmax",)):
        producer = graph.producer(name)
        if producer is not None and producer.op in ops:
            name = producer.inputs[-1]
    return name


def scores_of(graph: Graph) -> list[str]:
    """What the softmaxes among the outputs read: the logits."""
    producers = [graph.producer(output) for output in graph.outputs]
    return [p.inputs[0] for p in producers if p is not None and p.op == "softmax"]
