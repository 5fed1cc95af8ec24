"""From an integer graph to a Program: kernel calls in order, arena offsets, packed constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codegen import memory
from codegen.emit import emit
from codegen.kernel import Candidate, Kernel, Layer, NotApplicable
from codegen.schedules import families
from codegen.schedules._sparse import share_kernels
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Value
from edgekit.ops import operator
from edgekit.ops.base import INTEGERS
from targets import Target


@dataclass(frozen=True)
class Argument:
    """A pointer of a call: `nbytes` at `offset` of the arena, or of the constants.

    `role` is the operand's ("input", "constant", "output") or "scratch"; `value` names the graph
    value that lies there, "" for constants and scratch.
    """

    role: str
    offset: int
    nbytes: int
    value: str = ""

    @property
    def in_arena(self) -> bool:
        return self.role != "constant"


@dataclass(frozen=True)
class Call:
    """One kernel call, with what a report says of it.

    `in_place` and `overlap` are what the kernel allows (`codegen.kernel.Candidate`) where its
    output does share memory with its first input; False and None where the two lie apart. `note`
    says why a faster family was not taken and how weights are stored, "" where the fastest was
    taken with plain weights.
    """

    layer: str
    op: str
    kernel: Kernel
    arguments: tuple[Argument, ...]
    in_place: bool
    overlap: int | None
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    macs: int
    note: str

    @property
    def constant_bytes(self) -> int:
        return sum(a.nbytes for a in self.arguments if a.role == "constant")

    @property
    def scratch_bytes(self) -> int:
        return self.kernel.scratch_bytes


@dataclass(frozen=True)
class Tensor:
    """An input or output of the program: int8 or int16 in the arena.

    `layout` is "NCHW" where the model file declared it so; the bytes here are always NHWC.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    offset: int
    nbytes: int
    layout: str = ""


@dataclass(frozen=True)
class Program:
    """A model for one target. `constants` is one aligned blob in the order of use."""

    name: str
    target: str
    calls: tuple[Call, ...]
    arena_bytes: int
    arena_lower_bound: int
    constants: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    #: What the memory plan was made of, and the bytes that each buffer's readers and writers move
    #: (`codegen.regions`).
    buffers: tuple[memory.Buffer, ...] = ()
    sharings: tuple[memory.Sharing, ...] = ()
    traffic: dict[str, int] = field(default_factory=dict)

    @property
    def kernels(self) -> list[Kernel]:
        """Each kernel once, in order of first use."""
        return list({c.kernel.fingerprint: c.kernel for c in self.calls}.values())


def build_program(graph: Graph, target: Target, *, sparse_weights: str = "auto") -> Program:
    """Choose a kernel for every node, lay out memory and pack constants.

    Args:
        sparse_weights: when weights with zeros are stored as a bitmask and values: "auto" where
            that saves a quarter of a layer's bytes, "smallest" wherever it saves, "off" never.

    Raises:
        EdgekitError: E311 where operators have no kernel (all of them at once), E310 where an
            accumulator can overflow, E320 where the installed TVM is not the pinned one.
    """
    return _Builder(graph, target, sparse_weights).build()


def layer_of(graph: Graph, node: Node, sparse_weights: str = "off") -> Layer:
    """A node of an integer graph as schedules look at it."""
    values = tuple(graph.values[i] for i in node.inputs)
    constants = {i: graph.constants[i] for i in node.inputs if i in graph.constants}
    return Layer(node, values, constants, graph.values[node.output], sparse_weights)


def select(layer: Layer, target: Target) -> tuple[Candidate, str]:
    """The best candidate for `layer` in the target's families, and why none better applies."""
    reasons = []
    available = families().get(layer.node.op, {})
    for name in target.families:
        if name not in available:
            reasons.append(f"{name}: no {layer.node.op} kernel")
            continue
        try:
            candidate = available[name].select(layer)
            return candidate, "; ".join([*reasons, *filter(None, [candidate.note])])
        except NotApplicable as reason:
            reasons.append(f"{name}: {reason}")
    raise NotApplicable("; ".join(reasons))


class _Builder:
    def __init__(self, graph: Graph, target: Target, sparse_weights: str) -> None:
        self.graph = graph
        self.target = target
        self.sparse_weights = sparse_weights
        self.constants = bytearray()
        self.packed: dict[bytes, int] = {}
        self.alias: dict[str, str] = {}

    def build(self) -> Program:
        chosen = self._choose()
        for node, _, _ in chosen:
            if node.op == "reshape":
                self.alias[node.output] = self._root(node.inputs[0])
        steps = [(n, c, why, emit(c.spec)) for n, c, why in chosen if c is not None]
        buffers, sharings = self._buffers(steps), self._sharings(steps)
        plan = memory.plan(buffers, sharings)
        calls = [
            self._call(i, node, candidate, why, kernel, plan)
            for i, (node, candidate, why, kernel) in enumerate(steps)
        ]
        return Program(
            name=self.graph.name,
            target=self.target.name,
            calls=tuple(calls),
            arena_bytes=plan.arena_bytes,
            arena_lower_bound=plan.lower_bound,
            constants=bytes(self.constants),
            inputs=tuple(self._tensor(name, plan) for name in self.graph.inputs),
            outputs=tuple(self._tensor(name, plan) for name in self.graph.outputs),
            buffers=tuple(buffers),
            sharings=tuple(sharings),
            traffic=self._traffic(calls),
        )

    # ---- kernels

    def _choose(self) -> list[tuple[Node, Candidate | None, str]]:
        chosen: list[tuple[Node, Candidate | None, str]] = []
        missing = []
        for node in self.graph.nodes:
            if node.op == "reshape":
                chosen.append((node, None, ""))
                continue
            try:
                layer = layer_of(self.graph, node, self.sparse_weights)
                chosen.append((node, *select(layer, self.target)))
            except NotApplicable as reason:
                missing.append(f"{node.name or node.output} ({node.op}): {reason}")
        if missing:
            raise EdgekitError(
                "E311",
                f"{len(missing)} of {len(self.graph.nodes)} layers have no kernel for "
                f"'{self.target.name}'",
                details=missing,
                help="edgekit ops lists what there is",
            )
        padded = share_kernels(candidate for _, candidate, _ in chosen)
        return [(n, padded.get(i, c), why) for i, (n, c, why) in enumerate(chosen)]

    # ---- memory

    def _root(self, name: str) -> str:
        """The value whose buffer `name` lies in (reshapes share their operand's)."""
        while name in self.alias:
            name = self.alias[name]
        return name

    def _last_use(self, steps: list[Any]) -> dict[str, int]:
        """Last step that reads each buffer; outputs are read after the end."""
        last: dict[str, int] = {}
        for i, (_, candidate, _, _) in enumerate(steps):
            for name in candidate.inputs:
                last[self._root(name)] = i
        for name in self.graph.outputs:
            last[self._root(name)] = len(steps)
        return last

    def _sharings(self, steps: list[Any]) -> list[memory.Sharing]:
        """Results that may lie over an input that dies where they are made."""
        last = self._last_use(steps)
        sharings = []
        for i, (node, candidate, _, _) in enumerate(steps):
            if not candidate.in_place and candidate.overlap is None:
                continue
            source, *others = map(self._root, candidate.inputs)
            # The kernel promises nothing of other operands.
            if last[source] == i and source not in others:
                sharings.append(
                    memory.Sharing(node.output, source, candidate.in_place, candidate.overlap)
                )
        return sharings

    def _buffers(self, steps: list[Any]) -> list[memory.Buffer]:
        last = self._last_use(steps)
        buffers = [
            memory.Buffer(name, self.graph.values[name].nbytes, -1, last.get(name, -1))
            for name in self.graph.inputs
        ]
        for i, (node, _, _, kernel) in enumerate(steps):
            nbytes = self.graph.values[node.output].nbytes
            buffers.append(memory.Buffer(node.output, nbytes, i, last.get(node.output, i)))
            if kernel.scratch_bytes:
                buffers.append(memory.Buffer(_scratch(i), kernel.scratch_bytes, i, i))
        return buffers

    def _traffic(self, calls: list[Call]) -> dict[str, int]:
        """Bytes that are read from and written to every buffer, estimated (`codegen.regions`)."""
        traffic: dict[str, int] = {}
        for i, call in enumerate(calls):
            products = 2 * call.macs
            for a in call.arguments:
                if not a.in_arena:
                    continue
                name = self._root(a.value) if a.value else _scratch(i)
                moved = a.nbytes
                if a.role == "scratch":
                    moved = a.nbytes + products
                elif a.role == "input" and not call.scratch_bytes:
                    moved = max(a.nbytes, products // 2)
                traffic[name] = traffic.get(name, 0) + moved
        return traffic

    # ---- calls

    def _call(
        self,
        index: int,
        node: Node,
        candidate: Candidate,
        why: str,
        kernel: Kernel,
        plan: memory.Plan,
    ) -> Call:
        inputs = iter(candidate.inputs)
        arguments = []
        for operand in candidate.spec.operands:
            if operand.role == "constant":
                data = candidate.constants[operand.name]
                assert data.size == operand.count and str(data.dtype) == operand.dtype, operand
                arguments.append(Argument("constant", self._pack(data), operand.nbytes))
                continue
            value = next(inputs) if operand.role == "input" else node.output
            offset = plan.offsets[self._root(value)]
            arguments.append(Argument(operand.role, offset, operand.nbytes, value))
        if kernel.scratch_bytes:
            arguments.append(
                Argument("scratch", plan.offsets[_scratch(index)], kernel.scratch_bytes)
            )
        shares = _share(arguments)
        assert not shares or all(
            o.alias
            for role in ("input", "output")
            for o in [next(o for o in candidate.spec.operands if o.role == role)]
        ), candidate.spec.name
        values = [self.graph.values[i] for i in node.inputs]
        out = self.graph.values[node.output]
        return Call(
            layer=node.name or node.output,
            op=node.op,
            kernel=kernel,
            arguments=tuple(arguments),
            in_place=shares and candidate.in_place,
            overlap=candidate.overlap if shares else None,
            input_shapes=tuple(v.shape for v in values if v.name not in self.graph.constants),
            output_shape=out.shape,
            macs=operator(node.op).macs(node, values, out),
            note=why,
        )

    def _pack(self, data: np.ndarray) -> int:
        """Append to the constants (equal arrays once); returns the offset."""
        raw = np.ascontiguousarray(data).tobytes()
        if raw not in self.packed:
            self.constants += bytes(-len(self.constants) % memory.ALIGN)
            self.packed[raw] = len(self.constants)
            self.constants += raw
        return self.packed[raw]

    def _tensor(self, name: str, plan: memory.Plan) -> Tensor:
        value: Value = self.graph.values[name]
        if value.dtype not in INTEGERS or value.quant is None:
            raise EdgekitError(
                "E312",
                f"'{name}' is {value.dtype}: inputs and outputs of a program are quantized "
                "int8 or int16",
                help="quantize the model with --calibration",
            )
        root = self._root(name)
        if root not in plan.offsets:
            raise EdgekitError("E313", f"output '{name}' does not depend on any input")
        return Tensor(
            name=name,
            shape=value.shape,
            dtype=value.dtype,
            scale=float(value.quant.scale[0]),
            zero_point=int(value.quant.zero_point[0]),
            offset=plan.offsets[root],
            nbytes=value.nbytes,
            layout=self.graph.metadata.get("layout", {}).get(name, ""),
        )


def _share(arguments: list[Argument]) -> bool:
    """Whether the output has bytes in common with the first input."""
    x = next((a for a in arguments if a.role == "input"), None)
    y = next(a for a in arguments if a.role == "output")
    return x is not None and x.offset < y.offset + y.nbytes and y.offset < x.offset + x.nbytes


def _scratch(step: int) -> str:
    return f"scratch of step {step}"
