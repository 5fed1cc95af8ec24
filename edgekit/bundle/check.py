"""What a bundle must keep besides being readable: every number lies where it may.

The rules of places in memory are those of firmware/src/ek_runtime.c and ek_verify.c, so that a host
refuses what a device would refuse; the rest is for those who report on a bundle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgekit.bundle.gpu import Gpu
from edgekit.bundle.gpu_check import gpu_contradictions
from edgekit.bundle.model import (
    ARGUMENT_ALIGN,
    SPACE_ARENA,
    SPACE_CONSTANTS,
    Bundle,
    TensorInfo,
)


def contradiction(bundle: Bundle) -> str | None:
    """The first thing that is wrong with `bundle`, None where nothing is."""
    return next(_contradictions(bundle), None)


def _contradictions(bundle: Bundle) -> Iterator[str]:
    sizes = {SPACE_ARENA: bundle.arena_bytes, SPACE_CONSTANTS: len(bundle.constants)}
    for i, call in enumerate(bundle.calls):
        if call.kernel >= len(bundle.kernels):
            yield f"call {i} names kernel {call.kernel} of {len(bundle.kernels)}"
        for j, a in enumerate(call.arguments):
            if a.space not in sizes:
                yield f"argument {j} of call {i} lies in space {a.space}"
            elif a.offset + a.nbytes > sizes[a.space]:
                yield (
                    f"argument {j} of call {i} ends at byte {a.offset + a.nbytes} of "
                    f"{sizes[a.space]}"
                )
            elif a.offset % ARGUMENT_ALIGN:
                yield f"argument {j} of call {i} lies at {a.offset}, not a multiple of 8"
    for tensor in (*bundle.inputs, *bundle.outputs):
        yield from _of_tensor(tensor, bundle.arena_bytes)
    for state in bundle.states:
        yield from _of_tensor(state.tensor, bundle.arena_bytes)
        limit = len(bundle.constants) - state.tensor.nbytes if state.in_constants else 255
        if state.initial > limit:
            yield f"the initial content of state '{state.tensor.name}' is not in the constants"
    if len(bundle.layers) != len(bundle.calls):
        yield f"{len(bundle.layers)} layers for {len(bundle.calls)} calls"
    if bundle.gpu is not None:
        yield from gpu_contradictions(bundle.gpu, len(bundle.calls), bundle.arena_bytes)
        yield from _ends_of_gpu(bundle, bundle.gpu)
    for i, sample in enumerate(bundle.golden):
        for what, data, tensors in (
            ("inputs", sample.inputs, bundle.inputs),
            ("outputs", sample.outputs, bundle.outputs),
        ):
            if [len(d) for d in data] != [t.nbytes for t in tensors]:
                yield f"the {what} of golden sample {i} are not of the tensors' sizes"


def _ends_of_gpu(bundle: Bundle, gpu: Gpu) -> Iterator[str]:
    """Inputs and outputs of the model must be the same tensors on both."""
    for what, indices, tensors in (
        ("inputs", gpu.inputs, bundle.inputs),
        ("outputs", gpu.outputs, bundle.outputs),
    ):
        if max(indices, default=-1) >= len(gpu.tensors):
            continue  # said already
        there = [(gpu.tensors[i].cpu_offset, gpu.tensors[i].cpu_nbytes) for i in indices]
        if there != [(t.offset, t.nbytes) for t in tensors]:
            yield f"the {what} of the GPU are not those of the model"


def _of_tensor(tensor: TensorInfo, arena_bytes: int) -> Iterator[str]:
    if tensor.offset + tensor.nbytes > arena_bytes:
        yield f"'{tensor.name}' ends at byte {tensor.offset + tensor.nbytes} of {arena_bytes}"
    try:
        item = np.dtype(tensor.dtype).itemsize
    except TypeError:
        yield f"'{tensor.name}' has the unknown type '{tensor.dtype}'"
        return
    if min(tensor.shape, default=1) < 1 or math.prod(tensor.shape) * item != tensor.nbytes:
        shape = "x".join(map(str, tensor.shape))
        yield f"'{tensor.name}', {shape} {tensor.dtype}, cannot have {tensor.nbytes} bytes"
    if not (math.isfinite(tensor.scale) and tensor.scale > 0):
        yield f"'{tensor.name}' has the scale {tensor.scale}"
