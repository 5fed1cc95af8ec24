"""What every importer shares: the record of an unsupported node, and a checked graph builder."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, GraphError, Node, Quant, Shape, Value
from edgekit.ops import operator
from edgekit.ops.base import sentence

#: What a node raises in an importer whose operands or attributes are damaged: something is missing,
#: of another type, out of range, or absurdly large.
DAMAGE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, AssertionError,
          MemoryError, RecursionError, StopIteration, struct.error, GraphError)  # fmt: skip
# Far above what any target holds. Shapes of a file are only numbers until something allocates
# them; the limit keeps an absurd one from becoming an allocation or an overflow further down.
MAX_ELEMENTS = 1 << 28
# Masks, tables of places and the like that a file of a few bytes can ask for.
MAX_MADE = 1 << 20
# Converters join the names of all fused operators; several hundred characters do occur.
MAX_NAME = 2000


class Refused(Exception):
    """A node that edgekit cannot express; the message is the reason, as the user reads it."""


@dataclass(frozen=True)
class Unsupported:
    """One node that keeps a model from being compiled."""

    node: str
    op: str
    reason: str

    def __str__(self) -> str:
        return f"'{self.node}' ({self.op}): {self.reason}"


def unsupported_error(file: str, found: Sequence[Unsupported]) -> EdgekitError:
    """The E102 that lists every unsupported node of a file."""
    kinds = len({u.op for u in found})
    return EdgekitError(
        "E102",
        f"{file}: {len(found)} nodes of {kinds} operators are not supported"
        if len(found) > 1
        else f"{file}: 1 node is not supported",
        help="`edgekit ops` lists what is; replace these operators before exporting the model",
        details=[str(u) for u in found],
    )


def invalid(
    message: str, help: str = "the file breaks its own format: export it again"
) -> EdgekitError:
    """The E103 of a model that contradicts itself."""
    return EdgekitError("E103", message, help=help)


def damaged(node: str, op: str, error: BaseException) -> EdgekitError:
    """The E103 of a node on which an importer fell over with one of DAMAGE."""
    said = (str(error).strip().splitlines() or [""])[0][:200]
    return invalid(
        f"'{node}' ({op}): operands or attributes do not fit it ({type(error).__name__}: {said})"
    )


def printable(name: str | bytes) -> str:
    """A name of a file as it may go into messages and generated text: one line, of sane length."""
    if isinstance(name, bytes):  # protobuf gives bytes where a string is not UTF-8
        name = name[: 4 * MAX_NAME].decode("utf-8", "replace")
    if len(name) <= MAX_NAME and name.isprintable():
        return name
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_NAME])


def check_size(what: str, shape: Sequence[int]) -> None:
    """Refuse shapes with dimensions below 1 or more than MAX_ELEMENTS elements.

    Raises:
        EdgekitError: E103 for an illegal dimension, E107 for a size no target can hold.
    """
    if any(d < 1 for d in shape):
        raise invalid(f"{what} has shape {list(shape)}: every dimension must be at least 1")
    elements = math.prod(shape)
    if elements > MAX_ELEMENTS:
        raise EdgekitError(
            "E107",
            f"{what} has {elements} elements {list(shape)}, at most {MAX_ELEMENTS} are accepted",
            help="check the input shape: no microcontroller holds such a tensor",
        )


def check_made(what: str, *shape: int) -> None:
    """Refuse data that an importer would have to make up and that is large beyond any use.

    Raises:
        Refused: above MAX_MADE elements.
    """
    elements = math.prod(shape)
    if elements > MAX_MADE:
        raise Refused(f"its {what} has {elements} elements, at most {MAX_MADE} are supported")


class Builder:
    """Appends nodes to a graph; shapes come from the operator table and are checked at once."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name)
        #: Names that the file uses; generated names keep clear of them.
        self.reserved: set[str] = set()
        #: What the results of the node at hand are named after, where that is not the node itself.
        self.hint = ""

    def value(self, name: str) -> Value:
        return self.graph.values[name]

    def add_input(self, name: str, shape: Shape, dtype: str, quant: Quant | None = None) -> None:
        check_size(f"input '{name}'", shape)
        self.graph.add_value(Value(name, shape, dtype, quant))
        self.graph.inputs.append(name)

    def constant(self, name: str, data: np.ndarray, quant: Quant | None = None) -> str:
        """Store `data` under a fresh name made from `name`; returns that name."""
        check_size(f"'{name}'", data.shape)
        if data.dtype.kind == "f" and not np.isfinite(data).all():
            bad = int(data.size - np.isfinite(data).sum())
            raise invalid(
                f"'{name}': {bad} of {data.size} values are infinite or not numbers",
                "training has diverged, or the file is damaged",
            )
        return self.graph.add_constant(self.fresh(name), data, quant)

    def fresh(self, name: str) -> str:
        """A name that neither the graph nor the file uses: ``name`` or ``name~2``."""
        candidate, i = name, 1
        while candidate in self.reserved or candidate in self.graph.values:
            i += 1
            candidate = f"{name}~{i}"
        return candidate

    def emit(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: dict[str, Any] | None = None,
        *,
        node: str,
        out: str = "",
        quant: Quant | None = None,
    ) -> str:
        """Append one node with one result and return the result's name.

        `node` names it in messages, `out` its result (a fresh name where empty).

        Raises:
            Refused: where a rule of the operator does not hold.
            EdgekitError: E103 where the operands do not fit the operator, E107 on absurd sizes.
        """
        return self.emit_all(op, inputs, attrs, node=node, outs=[out], quants=[quant])[0]

    def emit_all(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: dict[str, Any] | None = None,
        *,
        node: str,
        outs: Sequence[str],
        quants: Sequence[Quant | None],
    ) -> list[str]:
        """`emit` for an operator with several results; returns their names.

        `outs` and `quants` have an entry for each: its name, "" for a fresh one, and quantization.
        """
        graph = self.graph
        results: list[str] = []
        for wanted in outs:
            results.append(wanted or self._fresh_beside(results, self.hint or node))
        new = Node(op, tuple(inputs), tuple(results), attrs or {}, node)
        values = [graph.values[i] for i in inputs]
        _check_padded(op, values, attrs or {}, node)
        spec = operator(op)
        for rule in spec.rules:
            if not rule(new, values):
                found = ", ".join(f"{v.dtype}{list(v.shape)}" for v in values)
                raise Refused(f"{sentence(rule)} (operands: {found})")
        try:
            inferred = spec.infer(new, values)
        except GraphError as error:
            message = str(error) if node in str(error) else f"'{node}' ({op}): {error}"
            raise invalid(message, "the model contradicts itself at this node") from None
        for result, (shape, dtype), quant in zip(results, inferred, quants, strict=True):
            check_size(f"'{result}'", shape)
            if result in graph.values:
                raise invalid(f"'{result}' is defined twice")
            graph.add_value(Value(result, tuple(int(d) for d in shape), dtype, quant))
        graph.nodes.append(new)
        return results

    def _fresh_beside(self, taken: Sequence[str], name: str) -> str:
        """A fresh name that is not among `taken` either."""
        candidate, i = self.fresh(name), 1
        while candidate in taken:
            i += 1
            candidate = self.fresh(f"{name}~{i}")
        return candidate

    def update_state(self, name: str, following: str) -> None:
        """Say which value state `name` takes over after an inference."""
        states = self.graph.states
        at = next(i for i, state in enumerate(states) if state.name == name)
        states[at] = replace(states[at], next=following)

    def reshape(self, x: str, shape: Sequence[int], *, node: str, out: str = "") -> str:
        """Append a reshape that keeps the quantization of `x`."""
        if math.prod(shape) != self.value(x).size:
            raise invalid(
                f"'{node}' reshapes {list(self.value(x).shape)} to {list(shape)}: "
                f"{self.value(x).size} against {math.prod(shape)} elements"
            )
        attrs = {"shape": [int(d) for d in shape]}
        return self.emit("reshape", [x], attrs, node=node, out=out, quant=self.value(x).quant)

    def transpose(self, x: str, perm: Sequence[int], *, node: str, out: str = "") -> str:
        """Append a transpose that keeps the quantization of `x`."""
        attrs = {"perm": [int(p) for p in perm]}
        return self.emit("transpose", [x], attrs, node=node, out=out, quant=self.value(x).quant)


def _check_padded(op: str, values: list[Value], attrs: dict[str, Any], node: str) -> None:
    """Refuse an absurd size of an image with its padding, which only references allocate."""
    if "pads" in attrs and op.endswith("2d") and len(values[0].shape) == 4:
        n, height, width, channels = values[0].shape
        top, left, bottom, right = attrs["pads"]
        padded = (n, height + top + bottom, width + left + right, channels)
        check_size(f"'{node}' with padding", padded)
