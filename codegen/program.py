"""From an integer graph to a Program: kernel calls in order, arena offsets, packed constants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from codegen import memory
from codegen.choose import Choice, Option, Slot, choose, options
from codegen.kernel import Kernel, Layer, NotApplicable
from codegen.liveness import Liveness
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

    `note` says why a faster family was not taken and how weights are stored, "" where the fastest
    was taken with plain weights. `variant` is the kernel's algorithm; `runner_up` says which other
    one was the fastest and what it would cost.
    """

    layer: str
    op: str
    kernel: Kernel
    arguments: tuple[Argument, ...]
    in_place: bool
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    macs: int
    note: str
    variant: str = ""
    runner_up: str = ""

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

    @property
    def kernels(self) -> list[Kernel]:
        """Each kernel once, in order of first use."""
        return list({c.kernel.fingerprint: c.kernel for c in self.calls}.values())


def build_program(
    graph: Graph, target: Target, *, sparse_weights: str = "auto", optimize: str = "balanced"
) -> Program:
    """Choose a kernel for every node, lay out memory and pack constants.

    Args:
        optimize: one of `codegen.choose.OBJECTIVES`.
        sparse_weights: when weights with zeros are stored as a bitmask and values: "auto" where
            that saves a quarter of a layer's bytes, "smallest" wherever it saves, "off" never.

    Raises:
        EdgekitError: E311 where operators have no kernel (all of them at once), E310 where an
            accumulator can overflow, E320 where the installed TVM is not the pinned one.
    """
    return _Builder(graph, target, sparse_weights, optimize).build()


def layer_of(graph: Graph, node: Node, sparse_weights: str = "off") -> Layer:
    """A node of an integer graph as schedules look at it."""
    values = tuple(graph.values[i] for i in node.inputs)
    constants = {i: graph.constants[i] for i in node.inputs if i in graph.constants}
    return Layer(node, values, constants, graph.values[node.output], sparse_weights)


class _Builder:
    def __init__(self, graph: Graph, target: Target, sparse_weights: str, optimize: str) -> None:
        self.graph = graph
        self.target = target
        self.sparse_weights = sparse_weights
        self.optimize = optimize
        self.constants = bytearray()
        self.packed: dict[bytes, int] = {}
        self.alias: dict[str, str] = {}

    def build(self) -> Program:
        chosen = self._choose()
        for node, _ in chosen:
            if node.op == "reshape":
                self.alias[node.output] = self._root(node.inputs[0])
        steps = [(n, c.option.candidate, c, c.option.kernel) for n, c in chosen if c is not None]
        in_place = self._in_place(steps)
        plan = memory.plan(self._buffers(steps))
        calls = [
            self._call(i, node, choice, kernel, node.output in in_place, plan)
            for i, (node, _, choice, kernel) in enumerate(steps)
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
        )

    # ---- kernels

    def _choose(self) -> list[tuple[Node, Choice | None]]:
        """A kernel for every node; None for reshapes, which need none."""
        nodes, slots, missing = [], [], []
        alive = Liveness(self.graph)
        for step, node in enumerate(self.graph.nodes):
            if node.op == "reshape":
                continue
            try:
                layer = layer_of(self.graph, node, self.sparse_weights)
                found = options(layer, self.target, every=self.optimize == "size")
            except NotApplicable as reason:
                missing.append(f"{node.name or node.output} ({node.op}): {reason}")
                continue
            nodes.append(node.output)
            slots.append(Slot(found, partial(_need, alive, step)))
        if missing:
            raise EdgekitError(
                "E311",
                f"{len(missing)} of {len(self.graph.nodes)} layers have no kernel for "
                f"'{self.target.name}'",
                details=missing,
                help="edgekit ops lists what there is",
            )
        chosen = choose(slots, self.optimize, weight_bytes(self.graph))
        padded = share_kernels(choice.option.candidate for choice in chosen)
        for i, candidate in padded.items():
            chosen[i] = replace(chosen[i], option=replace(chosen[i].option, candidate=candidate))
        by_output = dict(zip(nodes, chosen, strict=True))
        return [(node, by_output.get(node.output)) for node in self.graph.nodes]

    # ---- memory

    def _root(self, name: str) -> str:
        """The value whose buffer `name` lies in (reshapes and in-place results share one)."""
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

    def _in_place(self, steps: list[Any]) -> set[str]:
        """Let results take over the buffer of an input that dies there; returns those results."""
        taken = set()
        for i, (node, candidate, _, _) in enumerate(steps):
            if not candidate.in_place:
                continue
            source = self._root(candidate.inputs[0])
            # Asked anew each time: an earlier takeover lengthens the life of a buffer.
            if self._last_use(steps)[source] == i:
                self.alias[node.output] = source
                taken.add(node.output)
        return taken

    def _buffers(self, steps: list[Any]) -> list[memory.Buffer]:
        last = self._last_use(steps)
        buffers = [
            memory.Buffer(name, self.graph.values[name].nbytes, -1, last.get(name, -1))
            for name in self.graph.inputs
        ]
        for i, (node, _, _, kernel) in enumerate(steps):
            if self._root(node.output) == node.output:
                nbytes = self.graph.values[node.output].nbytes
                buffers.append(memory.Buffer(node.output, nbytes, i, last.get(node.output, i)))
            if kernel.scratch_bytes:
                buffers.append(memory.Buffer(_scratch(i), kernel.scratch_bytes, i, i))
        return buffers

    # ---- calls

    def _call(
        self,
        index: int,
        node: Node,
        choice: Choice,
        kernel: Kernel,
        in_place: bool,
        plan: memory.Plan,
    ) -> Call:
        candidate = choice.option.candidate
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
        values = [self.graph.values[i] for i in node.inputs]
        out = self.graph.values[node.output]
        return Call(
            layer=node.name or node.output,
            op=node.op,
            kernel=kernel,
            arguments=tuple(arguments),
            in_place=in_place,
            input_shapes=tuple(v.shape for v in values if v.name not in self.graph.constants),
            output_shape=out.shape,
            macs=operator(node.op).macs(node, values, out),
            note=choice.note,
            variant=choice.option.variant,
            runner_up=_runner_up(choice),
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


def weight_bytes(graph: Graph) -> int:
    """Bytes of the weights that layers multiply by, as int8."""
    return sum(
        graph.constants[node.inputs[1]].size
        for node in graph.nodes
        if node.op in ("conv2d", "depthwise_conv2d", "fully_connected")
    )


def _need(alive: Liveness, step: int, option: Option) -> int:
    scratch = option.kernel.scratch_bytes if option.candidate.cost else 0
    return alive.need(step, option.candidate, scratch)


def _runner_up(choice: Choice) -> str:
    other, taken = choice.runner_up, choice.option
    if other is None or not taken.candidate.cost:
        return ""
    flash = other.flash - taken.flash
    return f"{other.variant}: ~{other.instructions} instructions, {flash:+d} B of constants"


def _scratch(step: int) -> str:
    return f"scratch of step {step}"
