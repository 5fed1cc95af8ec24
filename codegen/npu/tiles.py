"""Stripes: rows of a result that are made at a time, and what memory they take."""

from __future__ import annotations

from codegen.npu.job import Job
from targets.npu.config import Accelerator


def stripes(job: Job, rows: int) -> list[tuple[int, int]]:
    """Rows of the result, first and behind."""
    height = job.result.height
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def input_rows(job: Job, rows: int) -> int:
    """Most rows of the image that a stripe of `rows` rows reads."""
    found = [job.rows_of(top, bottom) for top, bottom in stripes(job, rows)]
    return max(last - first for first, last in found)


def tile_words(job: Job, value: str, rows: int) -> int:
    """Words of the activation memory for a stripe of operand or result `value`."""
    if value == job.y:
        return min(rows, job.result.height) * job.result.width * job.result.blocks
    image = job.image_of(value)
    return input_rows(job, rows) * image.width * image.blocks


def fits(job: Job, a: Accelerator) -> bool:
    """Whether a stripe of one row fits the activation memory."""
    return sum(tile_words(job, v, 1) for v in (*job.reads, job.y)) <= a.a_words
