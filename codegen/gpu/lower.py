"""From a graph and its Program to the same layers for a GPU: variants, places, constants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from codegen import memory
from codegen.gpu.kernel import Place, Variant
from codegen.gpu.layout import Blocked, blocked
from codegen.gpu.precision import in_precision, stored_dtype
from codegen.gpu.program import (
    ALIGN,
    ARENA,
    CONSTANTS,
    DeviceLayer,
    DeviceTensor,
    GpuProgram,
    PlacedArgument,
    PlacedLaunch,
    PlacedVariant,
)
from codegen.gpu.reshaped import variants_as_stored
from codegen.gpu.resources import within_limits
from codegen.gpu.sources import prelude
from codegen.kernel import Layer, NotApplicable
from codegen.liveness import Liveness
from codegen.lower import arranged, layer_of
from codegen.program import Program
from codegen.subpixel import as_convolutions
from edgekit.graph import Graph

#: The memory plan counts in its own multiples; ours are so much larger.
UNIT = ALIGN // memory.ALIGN


def build_gpu_program(graph: Graph, program: Program) -> GpuProgram:
    """Variants of every call of `program`, which `codegen.lower.build_program` made of `graph` for
    a target with a GPU, and a plan of the device's memory.

    A layer without a variant is the CPU's, with the reason why.
    """
    return _Builder(graph, program).build()


class _Builder:
    def __init__(self, graph: Graph, program: Program) -> None:
        self.program = program
        self.graph, self.intervals = arranged(as_convolutions(graph), None, in_place=False)
        self.precision = str(graph.metadata.get("precision", ""))
        self.alive = Liveness(self.graph)
        self.constants = bytearray()
        self.packed: dict[bytes, int] = {}
        self.index: dict[str, int] = {}
        self.refused: dict[int, tuple[str, ...]] = {}

    def build(self) -> GpuProgram:
        found = {step: self._variants(step) for step in self.program.steps}
        plan = memory.plan(list(self._buffers(found)))
        offsets = {name: at * UNIT for name, at in plan.offsets.items()}
        tensors = self._tensors(offsets)
        layers = tuple(self._layer(step, found[step], offsets) for step in self.program.steps)
        return GpuProgram(
            tensors=tensors,
            layers=layers,
            inputs=tuple(self.index[self._root(t.name)] for t in self.program.inputs),
            outputs=tuple(self.index[self._root(t.name)] for t in self.program.outputs),
            constants=bytes(self.constants),
            arena_bytes=plan.arena_bytes * UNIT,
            prelude=prelude(),
        )

    def _root(self, value: str) -> str:
        return self.alive.place(value)[0]

    def _layout(self, root: str) -> Blocked:
        value = self.graph.values[root]
        return blocked(value.shape, stored_dtype(value, self.precision))

    # ---- variants

    def _variants(self, step: int) -> list[Variant] | str:
        """Those of a call, or why there are none."""
        node = self.graph.nodes[step]
        layer = layer_of(self.graph, node, self.intervals)
        try:
            layer = in_precision(layer, self.precision)
            kept, refused = within_limits(variants_as_stored(layer, self._stored(layer)))
        except NotApplicable as reason:
            return str(reason)
        self.refused[step] = tuple(refused)
        return kept or "; ".join(refused)

    def _stored(self, layer: Layer) -> dict[str, tuple[int, ...]]:
        """Shapes in which the layer's operands lie on the device, by value."""
        names = [v.name for v in layer.inputs if v.name not in layer.constants]
        return {name: self.graph.values[self._root(name)].shape for name in names}

    # ---- memory

    def _buffers(self, found: dict[int, list[Variant] | str]) -> Iterator[memory.Buffer]:
        """What is planned: tensors, and for each call the scratch of its neediest variant."""
        for root, first in self.alive.first.items():
            yield _buffer(root, self._layout(root).nbytes, first, self.alive.last.get(root, first))
        for step, own in found.items():
            most = max(
                (sum(_scratch(v).values()) for v in own if isinstance(v, Variant)), default=0
            )
            if most:
                yield _buffer(_scratch_of(step), most, step, step)

    def _tensors(self, offsets: dict[str, int]) -> tuple[DeviceTensor, ...]:
        there = {t.name: t.offset for t in (*self.program.inputs, *self.program.outputs)}
        there |= {a.value: a.offset for c in self.program.calls for a in c.arguments if a.value}
        on_cpu = {self._root(name): at - self.alive.place(name)[1] for name, at in there.items()}
        tensors: list[DeviceTensor] = []
        for root in self.alive.first:
            layout = self._layout(root)
            self.index[root] = len(tensors)
            tensors.append(
                DeviceTensor(
                    pixels=layout.pixels,
                    channels=layout.channels,
                    element_bytes=np.dtype(layout.dtype).itemsize,
                    offset=offsets[root],
                    nbytes=layout.nbytes,
                    cpu_offset=on_cpu[root],
                    half={"float16": 1, "float32": 2}.get(layout.dtype, 0),
                )
            )
        return tuple(tensors)

    # ---- calls

    def _layer(self, step: int, found: list[Variant] | str, offsets: dict[str, int]) -> DeviceLayer:
        node = self.graph.nodes[step]
        names = [name for name in node.inputs if name not in self.graph.constants]
        inputs, outputs = ([self._root(n) for n in part] for part in (names, node.outputs))
        placed = []
        for variant in found if isinstance(found, list) else []:
            places = self._places(variant, inputs, outputs, offsets, _scratch_of(step))
            launches = tuple(
                PlacedLaunch(
                    launch.function,
                    tuple(places[a] for a in launch.arguments),
                    launch.global_size,
                    (launch.local_size, *launch.others),
                )
                for launch in variant.launches
            )
            placed.append(PlacedVariant(variant.name, launches, variant.needs))
        return DeviceLayer(
            tuple(placed),
            tuple(self.index[root] for root in inputs),
            tuple(self.index[root] for root in outputs),
            found if isinstance(found, str) else "",
            self.refused.get(step, ()),
        )

    def _places(
        self,
        variant: Variant,
        inputs: list[str],
        outputs: list[str],
        offsets: dict[str, int],
        scratch: str,
    ) -> dict[Place, PlacedArgument]:
        places = {}
        for kind, roots in (("input", inputs), ("output", outputs)):
            for i, root in enumerate(roots):
                nbytes = self._layout(root).nbytes
                places[Place(kind, i)] = PlacedArgument(
                    ARENA, offsets[root], nbytes, kind == "output"
                )
        for name, data in variant.constants.items():
            places[Place("constant", name=name)] = PlacedArgument(
                CONSTANTS, self._pack(data), data.nbytes
            )
        at = offsets.get(scratch, 0)
        for name, nbytes in _scratch(variant).items():
            places[Place("scratch", name=name)] = PlacedArgument(ARENA, at, nbytes, True)
            at += nbytes
        return places

    def _pack(self, data: np.ndarray) -> int:
        """Append to the constants (equal arrays once); returns the offset."""
        raw = np.ascontiguousarray(data).tobytes()
        if raw not in self.packed:
            self.constants += bytes(-len(self.constants) % ALIGN)
            self.packed[raw] = len(self.constants)
            self.constants += raw
        return self.packed[raw]


def _buffer(name: str, nbytes: int, first: int, last: int) -> memory.Buffer:
    return memory.Buffer(name, -(-nbytes // ALIGN) * memory.ALIGN, first, last)


def _scratch(variant: Variant) -> dict[str, int]:
    """A variant's scratch buffers, each as large as the next one's place wants it."""
    return {name: -(-nbytes // ALIGN) * ALIGN for name, nbytes in variant.scratch.items()}


def _scratch_of(step: int) -> str:
    return f"scratch of step {step}"
