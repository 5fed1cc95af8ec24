"""From an integer graph to a Program: kernels are chosen, memory is laid out, constants packed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from codegen import memory
from codegen.choose import RAM_SLOWDOWN, Choice, Option, Slot, choose, options
from codegen.kernel import Candidate, Kernel, Layer, NotApplicable
from codegen.liveness import VIEWS, Liveness, views
from codegen.npu.lower import Accelerated, scratch_of
from codegen.npu.partition import grouped
from codegen.program import Argument, Call, Program, StateTensor, Tensor
from codegen.schedules._sparse import share_kernels
from codegen.states import kept_states
from codegen.subpixel import as_convolutions
from codegen.thrift import ordered, thrifty
from codegen.views import as_views
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, State, Value
from edgekit.intervals import Intervals, intervals, remove_constant_channels
from edgekit.ops.base import INTEGERS, node_macs
from targets import Target
from targets.npu.config import Accelerator

#: Kernels work on four channels at a time: layers that lose channels keep a multiple of this.
CHANNEL_MULTIPLE = 4
#: Dtypes of tensors without quantization: indices and truth values.
PLAIN = ("int32", "bool")
#: Operators whose second input is weights.
WEIGHTED = ("conv2d", "conv_transpose2d", "depthwise_conv2d", "fully_connected")


def build_program(
    graph: Graph,
    target: Target,
    *,
    sparse_weights: str = "auto",
    optimize: str = "balanced",
    threads: int = 1,
    accelerator: Accelerator | None = None,
) -> Program:
    """Choose a kernel for every node, lay out memory and pack constants.

    The program computes what `graph` does, without channels that are constant for every input.

    Args:
        optimize: one of `codegen.choose.OBJECTIVES`.
        sparse_weights: when weights with zeros are stored as a bitmask and values: "smallest"
            wherever it saves bytes, "auto" where it saves a quarter of a layer's and no faster
            kernel is given up for it (or `optimize` is "size"), "off" never.
        threads: most threads that share out the parts of a kernel: each gets a scratch buffer, and
            no kernel that has parts writes over its input.
        accelerator: sizes of the target's accelerator that are not those of its name.

    Raises:
        EdgekitError: E311 where operators have no kernel (all of them at once), E310 where an
            accumulator can overflow, E320 where the installed TVM is not the pinned one.
    """
    if target.gpu:
        optimize = "speed"  # calls are layers (docs/GPU.md)
    faster = graph if optimize == "size" else as_convolutions(graph)
    if accelerator is None:
        accelerator = target.accelerator
    smaller, found = arranged(faster, accelerator, in_place=not target.gpu)

    def builder(g: Graph, objective: str, most_instructions: int = 0) -> _Builder:
        known = found if g is smaller else intervals(g)
        return _Builder(
            graph, g, known, target, sparse_weights, objective, most_instructions, threads,
            accelerator,
        )  # fmt: skip

    if optimize != "ram" or accelerator:  # it has memory of its own, and stripes too
        return builder(smaller, optimize).build()
    most = int(builder(smaller, "balanced").built()[1] * RAM_SLOWDOWN)

    def thrifty_build(g: Graph) -> _Builder:
        return builder(thrifty(g, lambda h: builder(h, "ram", most).built(), most), "ram", most)

    best = thrifty_build(smaller)
    if faster is not graph:  # convolutions that spread pixels need room for their blocks
        other = thrifty_build(reduced(graph)[0])
        (arena, steps), (least, _) = other.built(), best.built()
        best = other if steps <= most and arena < least else best
    return best.build()


def reduced(graph: Graph, in_place: bool = True) -> tuple[Graph, Intervals]:
    """The graph that a program runs instead of `graph`, and what its tensors can hold.

    `in_place`: concats and slices that can be bytes of other tensors are (`codegen.views`).
    """
    smaller = ordered(remove_constant_channels(graph, CHANNEL_MULTIPLE))
    smaller = kept_states(as_views(smaller) if in_place else smaller)
    return smaller, intervals(smaller)


def arranged(
    graph: Graph, accelerator: Accelerator | None, in_place: bool = True
) -> tuple[Graph, Intervals]:
    """`reduced`, in an order that suits an accelerator."""
    smaller, found = reduced(graph, in_place)
    if accelerator:
        smaller = grouped(smaller, lambda node: layer_of(smaller, node, found), accelerator)
    return smaller, found


def layer_of(
    graph: Graph, node: Node, found: Intervals | None = None, sparse_weights: str = "off"
) -> Layer:
    """A node of an integer graph as schedules look at it; without `found`, for any operands."""
    values = tuple(graph.values[i] for i in node.inputs)
    constants = {i: graph.constants[i] for i in node.inputs if i in graph.constants}
    of_x = found.values.get(node.inputs[0]) if found else None
    out, *further = (graph.values[name] for name in node.outputs)
    return Layer(node, values, constants, out, sparse_weights, of_x, tuple(further))


class _Builder:
    def __init__(
        self,
        original: Graph,
        graph: Graph,
        found: Intervals,
        target: Target,
        sparse_weights: str,
        optimize: str,
        most_instructions: int,
        threads: int = 1,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.threads = threads
        self.most_instructions = most_instructions
        self.original = original
        self.graph = graph
        self.intervals = found
        self.target = target
        self.sparse_weights = sparse_weights
        self.optimize = optimize
        #: A model that is left in float has float inputs and outputs (`edgekit.floating`).
        self._quantized = any(v.quant is not None for v in original.values.values())
        self.constants = bytearray()
        self.packed: dict[bytes, int] = {}
        self.npu = Accelerated(graph, self._layer, accelerator)
        self.alive = Liveness(self.graph)
        for run in self.npu.runs:
            self.alive.as_one_step(run.steps, run.inside, run.inputs)

    def built(self) -> tuple[int, int]:
        """Bytes of the arena, and the instructions of all kernels whose cost is known."""
        chosen = self._choose()
        plan = memory.plan(self._buffers(chosen), self._sharings(chosen))
        costs = [choice.option.candidate.cost for choice in chosen.values()]
        return plan.arena_bytes, sum(cost.instructions for cost in costs if cost)

    def build(self) -> Program:
        chosen = self._choose()
        buffers, sharings = self._buffers(chosen), self._sharings(chosen)
        plan = memory.plan(buffers, sharings)
        made = {step: self._call(step, choice, plan) for step, choice in chosen.items()}
        made |= self.npu.calls(partial(self._offset, plan=plan), plan.offsets, self._pack)
        calls = dict(sorted(made.items()))
        states = tuple(self._state(state, plan) for state in self.graph.states)
        return Program(
            name=self.graph.name,
            target=self.target.name,
            calls=tuple(calls.values()),
            arena_bytes=plan.arena_bytes,
            arena_lower_bound=plan.lower_bound,
            constants=bytes(self.constants),
            inputs=tuple(self._tensor(name, plan) for name in self.graph.inputs),
            outputs=tuple(self._tensor(name, plan) for name in self.graph.outputs),
            states=states,
            threads=self.threads,
            shares={name: place[0] for name, place in views(self.graph, states=False).items()},
            model_macs=sum(node_macs(self.original, n) for n in self.original.nodes),
            buffers=tuple(buffers),
            sharings=tuple(sharings),
            traffic=self._traffic(calls),
            offsets=plan.offsets,
            steps=tuple(calls),
        )

    # ---- kernels

    def _choose(self) -> dict[int, Choice]:
        """A kernel for every step that runs one."""
        slots: dict[int, Slot] = {}
        missing = []
        for step, node in enumerate(self.graph.nodes):
            if node.op in VIEWS or step in self.npu.steps:
                continue
            try:
                layer = self._layer(node)
                found = options(layer, self.target, every=self.optimize == "size")
                weights = node.inputs[1] if node.op in WEIGHTED else ""
                slots[step] = Slot(found, partial(_need, self.alive, step), weights)
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
        chosen = choose(
            list(slots.values()), self.optimize, weight_bytes(self.original), self.most_instructions
        )
        padded = share_kernels(choice.option.candidate for choice in chosen)
        for i, candidate in padded.items():
            chosen[i] = replace(chosen[i], option=replace(chosen[i].option, candidate=candidate))
        return dict(zip(slots, chosen, strict=True))

    def _layer(self, node: Node) -> Layer:
        layer = layer_of(self.graph, node, self.intervals, self.sparse_weights)
        return replace(layer, parts=self.threads > 1)

    def _channels_kept(self, node: Node) -> str:
        """How many of the result's channels are left, "" where all are."""
        if node.output not in self.original.values:
            return ""
        after, before = (g.values[node.output].shape for g in (self.graph, self.original))
        return "" if after[-1] == before[-1] else f"{after[-1]} of {before[-1]} channels kept"

    # ---- memory

    def _sharings(self, chosen: dict[int, Choice]) -> list[memory.Sharing]:
        """Buffers that may lie over others that are read while they are made."""
        own = {step: self._candidate(choice) for step, choice in chosen.items()}
        own |= self.npu.candidates
        sharings = []
        for output, first in self.alive.first.items():
            for source in self.alive.first:
                if source == output or self.alive.first[source] >= first:
                    continue
                if self.alive.alive(source, first):
                    found = self.alive.distance(output, source, own)
                    if found.same or found.below is not None:
                        sharings.append(memory.Sharing(output, source, found.same, found.below))
        return sharings

    def _candidate(self, choice: Choice) -> Candidate:
        """What may share memory: nothing where parts are made in any order."""
        candidate, kernel = choice.option.candidate, choice.option.kernel
        if self.threads > 1 and kernel.units:
            return replace(candidate, in_place=False, overlap=None)
        return candidate

    def _scratch(self, kernel: Kernel) -> int:
        """Bytes of a kernel's scratch buffers, one for each thread that makes parts of it."""
        if self.threads > 1 and kernel.units:
            return memory.aligned(kernel.scratch_bytes) * self.threads
        return kernel.scratch_bytes

    def _buffers(self, chosen: dict[int, Choice]) -> list[memory.Buffer]:
        alive = self.alive
        buffers = [
            memory.Buffer(name, alive.nbytes(name), first, alive.last.get(name, first))
            for name, first in alive.first.items()
        ]
        for step, choice in chosen.items():
            if scratch := self._scratch(choice.option.kernel):
                buffers.append(memory.Buffer(scratch_of(step), scratch, step, step))
        return buffers + self.npu.scratch_buffers

    def _offset(self, name: str, plan: memory.Plan) -> int:
        root, offset = self.alive.place(name)
        return plan.offsets[root] + offset

    def _traffic(self, calls: dict[int, Call]) -> dict[str, int]:
        """Bytes that are read from and written to every buffer, estimated (`codegen.regions`)."""
        traffic: dict[str, int] = {}
        for step, call in calls.items():
            products = 2 * call.macs
            for a in call.arguments:
                if not a.in_arena:
                    continue
                name = self.alive.place(a.value)[0] if a.value else scratch_of(step)
                moved = a.nbytes
                if a.role == "scratch":
                    moved = a.nbytes + products
                elif a.role == "input" and not call.scratch_bytes:
                    moved = max(a.nbytes, products // 2)
                traffic[name] = traffic.get(name, 0) + moved
        return traffic

    # ---- calls

    def _call(self, step: int, choice: Choice, plan: memory.Plan) -> Call:
        node, candidate = self.graph.nodes[step], self._candidate(choice)
        kernel = choice.option.kernel
        inputs, outputs = iter(candidate.inputs), iter(node.outputs)
        arguments = []
        for operand in candidate.spec.operands:
            if operand.role == "constant":
                data = candidate.constants[operand.name]
                assert data.size == operand.count and str(data.dtype) == operand.dtype, operand
                arguments.append(Argument("constant", self._pack(data), operand.nbytes))
                continue
            value = next(inputs if operand.role == "input" else outputs)
            offset = self._offset(value, plan)
            arguments.append(Argument(operand.role, offset, operand.nbytes, value))
        if scratch := self._scratch(kernel):
            arguments.append(Argument("scratch", plan.offsets[scratch_of(step)], scratch))
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
            macs=node_macs(self.graph, node),
            note="; ".join(
                filter(None, [self._channels_kept(node), choice.note, self.npu.reason(step)])
            ),
            variant=choice.option.variant,
            runner_up=_runner_up(choice),
            cost=choice.option.instructions,
        )

    def _pack(self, data: np.ndarray) -> int:
        """Append to the constants (equal arrays once); returns the offset."""
        raw = np.ascontiguousarray(data).tobytes()
        if raw not in self.packed:
            self.constants += bytes(-len(self.constants) % memory.ALIGN)
            self.packed[raw] = len(self.constants)
            self.constants += raw
        return self.packed[raw]

    def _state(self, state: State, plan: memory.Plan) -> StateTensor:
        raw = np.ascontiguousarray(state.initial).tobytes()
        alike = raw == raw[:1] * len(raw)
        return StateTensor(
            self._tensor(state.name, plan),
            state.next,
            fill=raw[0] if alike else None,
            initial=0 if alike else self._pack(state.initial),
        )

    def _tensor(self, name: str, plan: memory.Plan) -> Tensor:
        value: Value = self.graph.values[name]
        kinds = PLAIN if self._quantized else (*PLAIN, "float32")
        plain = value.dtype in kinds and value.quant is None
        if not plain and (value.dtype not in INTEGERS or value.quant is None):
            raise EdgekitError(
                "E312",
                f"'{name}' is {value.dtype}: inputs and outputs of a program are quantized "
                "int8 or int16, indices (int32) or truth values (bool)",
                help="quantize the model with --calibration",
            )
        if self.alive.place(name)[0] not in plan.offsets:
            raise EdgekitError("E313", f"output '{name}' does not depend on any input")
        return Tensor(
            name=name,
            shape=value.shape,
            dtype=value.dtype,
            scale=1.0 if value.quant is None else float(value.quant.scale[0]),
            zero_point=0 if value.quant is None else int(value.quant.zero_point[0]),
            offset=self._offset(name, plan),
            nbytes=value.nbytes,
            layout=self.graph.metadata.get("layout", {}).get(name, ""),
        )


def weight_bytes(graph: Graph) -> int:
    """Bytes of the weights that layers multiply by, as int8."""
    return sum(graph.constants[node.inputs[1]].size for node in graph.nodes if node.op in WEIGHTED)


def _need(alive: Liveness, step: int, option: Option) -> int:
    scratch = option.kernel.scratch_bytes if option.candidate.cost else 0
    return alive.need(step, option.candidate, scratch)


def _runner_up(choice: Choice) -> str:
    other, taken = choice.runner_up, choice.option
    if other is None or not taken.candidate.cost:
        return ""
    flash = other.flash - taken.flash
    return f"{other.variant}: ~{other.instructions} instructions, {flash:+d} B of constants"


def _share(arguments: list[Argument]) -> bool:
    """Whether the output has bytes in common with the first input."""
    x = next((a for a in arguments if a.role == "input"), None)
    y = next(a for a in arguments if a.role == "output")
    return x is not None and x.offset < y.offset + y.nbytes and y.offset < x.offset + x.nbytes
