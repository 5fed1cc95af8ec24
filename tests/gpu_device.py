"""Variants of GPU layers on this machine's OpenCL device, next to the numpy reference."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from codegen.gpu.kernel import Function, Place, Variant
from codegen.gpu.layers import variants
from codegen.gpu.layout import blocked, pack, unpack
from codegen.gpu.sources import prelude
from codegen.kernel import Layer
from codegen.lower import layer_of
from edgekit import reference
from edgekit.graph import Graph

#: What buffers hold before anyone writes there: gaps must be written too.
JUNK = 0x55
#: Mesa's driver for this processor is only there where it is asked for.
os.environ.setdefault("RUSTICL_ENABLE", "llvmpipe")
DOT = {"cl_khr_integer_dot_product": "", "cl_arm_integer_dot_product_int8": " -D EK_DOT_ARM=1"}


class Device:
    """One OpenCL device with a queue."""

    def __init__(self, name: str) -> None:
        import pyopencl as cl

        found = [d for p in cl.get_platforms() if name in p.name for d in p.get_devices()]
        if not found:
            raise LookupError(name)
        self.cl = cl
        self.device = found[0]
        self.context = cl.Context([self.device])
        self.queue = cl.CommandQueue(self.context)
        self.kernels: dict[str, Any] = {}
        extensions = self.device.extensions.split()
        dot = next((o for e, o in DOT.items() if e in extensions), None)
        self.options = "-cl-std=CL1.2 -cl-opt-disable" + (
            "" if dot is None else f" -D EK_HAS_DOT=1{dot}"
        )

    def build(self, functions: Iterable[Function]) -> None:
        """Compile functions together: most of the time goes into what stands in front of them."""
        new = {f.text: f for f in functions if f.text not in self.kernels}
        if not new:
            return
        program = self.cl.Program(self.context, "".join([prelude(), *new]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compilers that have something to say
            built = program.build(options=self.options, cache_dir=False)
        self.kernels |= {text: getattr(built, f.name) for text, f in new.items()}

    def kernel(self, function: Function) -> Any:
        self.build([function])
        return self.kernels[function.text]

    def run(
        self, variant: Variant, inputs: Sequence[np.ndarray], outputs: Sequence[int]
    ) -> list[np.ndarray]:
        """Bytes of a variant's outputs, which have so many each, with the local sizes that it
        comes with; `inputs` are in the device's layout."""
        flags = self.cl.mem_flags

        def there(data: np.ndarray) -> Any:
            mode = flags.READ_WRITE | flags.COPY_HOST_PTR
            return self.cl.Buffer(self.context, mode, hostbuf=np.ascontiguousarray(data))

        buffers: dict[Place, Any] = {}
        buffers |= {Place("input", i): there(x) for i, x in enumerate(inputs)}
        made = {Place("output", i): n for i, n in enumerate(outputs)}
        made |= {Place("scratch", name=name): n for name, n in variant.scratch.items()}
        buffers |= {place: there(np.full(n, JUNK, np.uint8)) for place, n in made.items()}
        buffers |= {
            Place("constant", name=name): there(data) for name, data in variant.constants.items()
        }
        for launch in variant.launches:
            arguments = [buffers[a] for a in launch.arguments]
            kernel = self.kernel(launch.function)
            kernel(self.queue, launch.global_size, launch.local_size, *arguments)
        results = []
        for i, n in enumerate(outputs):
            result = np.empty(n, np.uint8)
            self.cl.enqueue_copy(self.queue, result, buffers[Place("output", i)])
            results.append(result)
        self.queue.finish()
        return results


@cache
def device(name: str = "Portable") -> Device:
    """The device of a platform, PoCL without a name; skips where there is none, but never in CI."""
    try:
        return Device(name)
    except (ImportError, LookupError) as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no OpenCL device, but CI=true: {missing}")
        pytest.skip(f"no OpenCL device: {missing}")


def packed(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return pack(array, blocked(shape, str(array.dtype)))


def check_layer(
    layer: Layer, operands: Sequence[np.ndarray], results: Sequence[np.ndarray], where: Device
) -> list[str]:
    """Every variant of `layer` must give the bytes of `results`, gaps included; their names."""
    activations = [
        packed(x, v.shape)
        for x, v in zip(operands, layer.inputs, strict=True)
        if v.name not in layer.constants
    ]
    wanted = [packed(y, v.shape) for y, v in zip(results, layer.outputs, strict=True)]
    names = []
    offered = variants(layer)
    where.build(launch.function for variant in offered for launch in variant.launches)
    for variant in offered:
        found = where.run(variant, activations, [w.nbytes for w in wanted])
        for got, want, value in zip(found, wanted, layer.outputs, strict=True):
            layout = blocked(value.shape, value.dtype)
            typed = got.view(value.dtype)
            message = f"{variant.name} of {layer.node.op} {layer.node.attrs}"
            np.testing.assert_array_equal(
                unpack(typed, layout), unpack(want, layout), err_msg=message
            )
            np.testing.assert_array_equal(typed, want, err_msg=f"{message}: the gap")
        names.append(variant.name)
    return names


def check_graph(graph: Graph, feeds: dict[str, np.ndarray], where: Device) -> dict[str, list[str]]:
    """`check_layer` for all layers of an integer graph, for each sample; variants by layer."""
    checked: dict[str, list[str]] = {}
    for node, operands, results in reference.steps(graph, feeds):
        layer = layer_of(graph, node)
        samples = len(results[0])
        for i in range(samples):
            own = [
                x if name in graph.constants else x[i : i + 1]
                for name, x in zip(node.inputs, operands, strict=True)
            ]
            checked[layer.name] = check_layer(layer, own, [y[i : i + 1] for y in results], where)
    return checked
