"""A Program and its golden samples as a Bundle."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit import reference
from edgekit.assemble_gpu import gpu_of
from edgekit.bundle import ArgumentRef, Bundle, CallRef, Golden, LayerInfo, StateInfo, TensorInfo
from edgekit.bundle.model import SPACE_ARENA, SPACE_CONSTANTS
from edgekit.graph import Graph
from edgekit.version import __version__


def golden_samples(graph: Graph, sample: dict[str, np.ndarray] | None) -> tuple[Golden, ...]:
    """A full-range random sample and, where there is calibration data, its first sample."""
    chance = np.random.default_rng(0)
    random = {
        name: _full_range(chance, (1, *graph.values[name].sample_shape), graph.values[name].dtype)
        for name in graph.inputs
    }
    golden = []
    for feeds in [random, *([sample] if sample else [])]:
        results = reference.run(graph, feeds)
        golden.append(
            Golden(
                tuple(feeds[name].tobytes() for name in graph.inputs),
                tuple(results[name].tobytes() for name in graph.outputs),
            )
        )
    return tuple(golden)


def _full_range(chance: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "bool":
        return chance.integers(0, 2, shape).astype(bool)
    if dtype == "float32":
        return chance.standard_normal(shape).astype(np.float32)
    info = np.iinfo(dtype)
    return chance.integers(info.min, info.max + 1, shape).astype(dtype)


def bundle_of(program: Any, golden: tuple[Golden, ...], gpu: Any = None) -> Bundle:
    """`program` is a `codegen.program.Program`, `gpu` a `codegen.gpu.program.GpuProgram`."""
    index = {k.fingerprint: i for i, k in enumerate(program.kernels)}

    def argument(a: Any) -> ArgumentRef:
        return ArgumentRef(a.offset, a.nbytes, SPACE_ARENA if a.in_arena else SPACE_CONSTANTS)

    def tensor(t: Any) -> TensorInfo:
        return TensorInfo(
            t.name, t.shape, t.dtype, t.scale, t.zero_point, t.offset, t.nbytes, t.layout
        )

    return Bundle(
        name=program.name,
        target=program.target,
        producer=f"edgekit {__version__}",
        arena_bytes=program.arena_bytes,
        kernels=tuple(k.fingerprint for k in program.kernels),
        calls=tuple(
            CallRef(index[c.kernel.fingerprint], tuple(argument(a) for a in c.arguments))
            for c in program.calls
        ),
        inputs=tuple(tensor(t) for t in program.inputs),
        outputs=tuple(tensor(t) for t in program.outputs),
        states=tuple(
            StateInfo(tensor(s.tensor), s.fill is None, s.initial if s.fill is None else s.fill)
            for s in program.states
        ),
        constants=program.constants,
        layers=tuple(
            LayerInfo(
                c.layer,
                c.op,
                c.kernel.name,
                c.input_shapes[0] if c.input_shapes else (),
                c.output_shape,
                c.macs,
                c.constant_bytes,
                c.scratch_bytes,
                c.note,
            )
            for c in program.calls
        ),
        golden=golden,
        gpu=None if gpu is None else gpu_of(gpu),
    )
