"""A `codegen.gpu.program.GpuProgram` as the GPU section of a bundle."""

from __future__ import annotations

from typing import Any

from edgekit.bundle.gpu import (
    Gpu,
    GpuArgument,
    GpuFunction,
    GpuLaunch,
    GpuLayer,
    GpuSize,
    GpuTensor,
    GpuVariant,
)


class _Texts:
    """Texts one after another, each once."""

    def __init__(self) -> None:
        self.data = b""
        self.places: dict[bytes, tuple[int, int]] = {}

    def place(self, text: str | bytes) -> tuple[int, int]:
        data = text.encode() if isinstance(text, str) else text
        if data not in self.places:
            self.places[data] = (len(self.data), len(data))
            self.data += data
        return self.places[data]


def gpu_of(program: Any) -> Gpu:
    """Flat tables of `program`; equal ranges of local sizes are there once."""
    from codegen.gpu.kernel import FEATURES

    texts, shaders = _Texts(), _Texts()
    index = {f.name: i for i, f in enumerate(program.functions)}
    functions = tuple(
        GpuFunction(
            *texts.place(f.name),
            *texts.place(f.text),
            *(shaders.place(program.spirv[f.name]) if f.name in program.spirv else (0, 0)),
            f.local_bytes,
            f.registers,
        )
        for f in program.functions
    )
    arguments: list[GpuArgument] = []
    launches: list[GpuLaunch] = []
    sizes: list[GpuSize] = []
    ranges: dict[tuple[GpuSize, ...], int] = {}
    variants: list[GpuVariant] = []
    layers: list[GpuLayer] = []
    operands: list[int] = []
    for layer in program.layers:
        layers.append(
            GpuLayer(
                len(variants),
                len(layer.variants),
                len(operands),
                len(layer.inputs),
                len(layer.outputs),
                *texts.place(layer.why_not),
            )
        )
        operands += [*layer.inputs, *layer.outputs]
        for variant in layer.variants:
            needs = sum(FEATURES[name] for name in variant.needs)
            variants.append(
                GpuVariant(*texts.place(variant.name), needs, len(launches), len(variant.launches))
            )
            for launch in variant.launches:
                own = tuple(GpuSize(*size) for size in launch.sizes)
                if own not in ranges:
                    ranges[own] = len(sizes)
                    sizes += own
                launches.append(
                    GpuLaunch(
                        index[launch.function.name],
                        len(arguments),
                        len(launch.arguments),
                        ranges[own],
                        len(own),
                        *launch.global_size,
                    )
                )
                arguments += [
                    GpuArgument(a.space, a.offset, a.nbytes, int(a.written))
                    for a in launch.arguments
                ]
    return Gpu(
        functions=functions,
        arguments=tuple(arguments),
        launches=tuple(launches),
        sizes=tuple(sizes),
        variants=tuple(variants),
        tensors=tuple(
            GpuTensor(
                *(t.pixels, t.channels, t.element_bytes, t.offset, t.nbytes, t.cpu_offset),
                int(t.half),
            )
            for t in program.tensors
        ),
        operands=tuple(operands),
        layers=tuple(layers),
        inputs=tuple(program.inputs),
        outputs=tuple(program.outputs),
        constants=program.constants,
        arena_bytes=program.arena_bytes,
        prelude=texts.place(program.prelude),
        spirv=shaders.data,
        text=texts.data,
    )
