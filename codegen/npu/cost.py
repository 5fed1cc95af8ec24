"""Cycles that decide between ways of doing the same, and in which order transfers are asked for.

They are rough on purpose: what is right does not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence

from codegen.npu.job import Image, Job, WindowJob
from codegen.npu.tiles import input_rows, stripes
from targets.npu.config import Accelerator
from targets.npu.costs import engine_cycles
from targets.npu.isa import Add, Load, Space

#: Cycles from one command to the next one's first step.
COMMAND = 25
#: A transfer that takes less is not worth a further command to be hidden.
WORTH_HIDING = 400


def compute(job: Job, a: Accelerator) -> int:
    """Cycles of a whole layer on the array."""
    if not isinstance(job, WindowJob):
        return engine_cycles(Add(0, 0, 0, job.result.words), a)
    return engine_cycles(job.window, a)


def overlapping_stripes(job: Job, values: Sequence[str], a: Accelerator) -> int:
    """Stripes for a layer of which `values` are loaded or stored beside it."""
    words = max(_bytes(job.result if v == job.y else job.image_of(v)) // 4 for v in values)
    weights = 0
    if isinstance(job, WindowJob) and job.weights is not None:
        weights = job.window.groups * job.window.steps
    if words < WORTH_HIDING or weights > a.w_words // 2:
        return 1
    count = min(8, words // WORTH_HIDING, compute(job, a) // WORTH_HIDING, job.result.height)
    return max(1, count)


def _bytes(image: Image) -> int:
    return image.pixels * image.channels


def striped(job: Job, values: Sequence[str], rows: int, buffers: int, a: Accelerator) -> float:
    """Cycles of a layer whose `values` pass by in stripes."""
    count = len(stripes(job, rows))
    moved = 0
    for value in values:
        image = job.result if value == job.y else job.image_of(value)
        pixels = image.width * (rows if value == job.y else input_rows(job, rows))
        transfer = Load(0, 0, Space.A, 0, pixels, image.channels, pixels)
        moved += count * engine_cycles(transfer, a)
    work = compute(job, a)
    if isinstance(job, WindowJob) and job.weights is not None:
        # Weights that do not stay are loaded for every stripe.
        again = count if job.window.groups * job.window.steps > a.w_words else 1
        moved += again * job.weights.size // 4
    if buffers == 1:
        return work + moved + count * COMMAND
    return max(work, moved) + (work + moved) / count + count * COMMAND
