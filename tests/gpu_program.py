"""A whole GpuProgram on this machine's OpenCL device: one arena, layer after layer.

A model of what firmware/gpu does: layers without a variant are computed by the numpy reference from
what is unpacked from the arena, and packed into it again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from gpu_device import JUNK, Device

from codegen.gpu.layout import Blocked, pack, unpack
from codegen.gpu.lower import build_gpu_program
from codegen.gpu.program import ARENA, DeviceTensor, GpuProgram, PlacedVariant
from codegen.lower import arranged, build_program
from codegen.subpixel import as_convolutions
from edgekit import reference
from edgekit.graph import Graph, Node
from edgekit.ops.base import run_node
from targets import target

#: What half may differ by, as a share of a tensor's largest: firmware/gpu/ek_gpu_test.c.
HALF_TOLERANCE = 1 / 64


class Run:
    """A graph compiled for a GPU, with a device to run it on."""

    def __init__(self, graph: Graph, where: Device) -> None:
        self.device = where
        self.program = build_program(graph, target("gpu-x86_64"))
        self.gpu: GpuProgram = build_gpu_program(graph, self.program)
        self.graph = arranged(as_convolutions(graph), None, in_place=False)[0]
        flags = where.cl.mem_flags
        self.constants = None
        if self.gpu.constants:
            self.constants = where.cl.Buffer(
                where.context,
                flags.READ_ONLY | flags.COPY_HOST_PTR,
                hostbuf=np.frombuffer(self.gpu.constants, np.uint8),
            )
        self.arena = where.cl.Buffer(where.context, flags.READ_WRITE, self.gpu.arena_bytes)

    def layers(self) -> list[tuple[Node, int]]:
        """Nodes that are calls, and their number."""
        return [(self.graph.nodes[step], i) for i, step in enumerate(self.program.steps)]

    def all_variants(self, feeds: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
        """Every variant of every layer on the reference's operands, one sample; the names of those
        that gave its bytes, by layer."""
        known = reference.run(self.graph, feeds, keep="all")
        self._build([v for layer in self.gpu.layers for v in layer.variants])
        self._fill()
        checked = {}
        for node, i in self.layers():
            layer = self.gpu.layers[i]
            for index, name in zip(layer.inputs, self._operands(node), strict=True):
                self._write(self.gpu.tensors[index], known[name])
            names = []
            for variant in layer.variants:
                for index in layer.outputs:
                    self._junk(self.gpu.tensors[index])
                self._launch(variant)
                for index, name in zip(layer.outputs, node.outputs, strict=True):
                    self._compare(index, known[name], f"{variant.name} of {node.op} {node.name}")
                names.append(variant.name)
            checked[node.name or node.output] = names
        return checked

    def outputs(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The model's outputs, one sample, from its inputs alone: first variants, and the reference
        where there is none."""
        self._build([layer.variants[0] for layer in self.gpu.layers if layer.variants])
        self._fill()
        for index, name in zip(self.gpu.inputs, self.graph.inputs, strict=True):
            self._write(self.gpu.tensors[index], feeds[name])
        for node, i in self.layers():
            layer = self.gpu.layers[i]
            if layer.variants:
                self._launch(layer.variants[0])
                continue
            read = iter(layer.inputs)
            operands = [
                self.graph.constants[name]
                if name in self.graph.constants
                else self._read(next(read)).reshape(self.graph.values[name].shape)
                for name in node.inputs
            ]
            for index, result in zip(
                layer.outputs, run_node(self.graph, node, operands), strict=True
            ):
                self._write(self.gpu.tensors[index], result)
        return [
            self._read(index).reshape(self.graph.values[name].shape)
            for index, name in zip(self.gpu.outputs, self.graph.outputs, strict=True)
        ]

    def _operands(self, node: Node) -> list[str]:
        return [name for name in node.inputs if name not in self.graph.constants]

    # ---- the arena

    def _fill(self) -> None:
        junk = np.full(self.gpu.arena_bytes, JUNK, np.uint8)
        self.device.cl.enqueue_copy(self.device.queue, self.arena, junk)

    def _junk(self, tensor: DeviceTensor) -> None:
        junk = np.full(tensor.nbytes, JUNK, np.uint8)
        self.device.cl.enqueue_copy(self.device.queue, self.arena, junk, dst_offset=tensor.offset)

    def _layout(self, tensor: DeviceTensor) -> Blocked:
        kinds = {1: "int8", 2: "int16", 4: "int32"}, {2: "float16"}, {4: "float32"}
        return Blocked(tensor.pixels, tensor.channels, kinds[tensor.half][tensor.element_bytes])

    def _packed(self, tensor: DeviceTensor, data: np.ndarray) -> np.ndarray:
        layout = self._layout(tensor)
        data = np.ascontiguousarray(data)
        typed = data.astype(layout.dtype) if tensor.half else data.view(layout.dtype)
        return pack(typed, layout)

    def _write(self, tensor: DeviceTensor, data: np.ndarray) -> None:
        raw = self._packed(tensor, data)
        self.device.cl.enqueue_copy(self.device.queue, self.arena, raw, dst_offset=tensor.offset)

    def _raw(self, tensor: DeviceTensor) -> np.ndarray:
        raw = np.empty(tensor.nbytes, np.uint8)
        self.device.cl.enqueue_copy(self.device.queue, raw, self.arena, src_offset=tensor.offset)
        return raw

    def _read(self, index: int) -> np.ndarray:
        tensor = self.gpu.tensors[index]
        layout = self._layout(tensor)
        found = unpack(self._raw(tensor).view(layout.dtype), layout)
        return found.astype(np.float32) if tensor.half else found

    def _compare(self, index: int, want: np.ndarray, message: str) -> None:
        tensor = self.gpu.tensors[index]
        layout = self._layout(tensor)
        expected = self._packed(tensor, want)
        found = self._raw(tensor).view(layout.dtype)
        if tensor.half == 1:
            most = HALF_TOLERANCE * float(np.abs(expected).max())
            reals = (a.astype(np.float32) for a in (found, expected))
            np.testing.assert_allclose(*reals, rtol=0, atol=most, err_msg=message)
        else:
            np.testing.assert_array_equal(found, expected, message)

    def _build(self, variants: list[PlacedVariant]) -> None:
        self.device.build(launch.function for v in variants for launch in v.launches)

    def _launch(self, variant: PlacedVariant) -> None:
        for launch in variant.launches:
            arguments = []
            for a in launch.arguments:
                whole = self.arena if a.space == ARENA else self.constants
                arguments.append(whole.get_sub_region(a.offset, a.nbytes))
            kernel = self.device.kernel(launch.function)
            kernel(self.device.queue, launch.global_size, launch.sizes[0], *arguments)
