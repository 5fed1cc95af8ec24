"""How weights and parameters pass through their memories: in chunks, each memory as a ring."""

from __future__ import annotations

from codegen.npu.job import WindowJob
from targets.npu.config import BLOCK, Accelerator


class Ring:
    """Places of a memory one after the other, from the start again where the end is too near."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0

    def take(self, count: int) -> int:
        assert count <= self.size, (count, self.size)
        if self.at + count > self.size:
            self.at = 0
        self.at += count
        return self.at - count


def unit(job: WindowJob, a: Accelerator) -> int:
    """Groups that a chunk is a multiple of, so that it begins at a block of channels."""
    return max(1, BLOCK // job.lanes(a))


def most_groups(job: WindowJob, a: Accelerator, words: int, channels: int) -> int:
    """Groups of a chunk of at most so many words of weights and parameters of so many channels; at
    least the least that a chunk can have."""
    if job.weights is None:
        return job.window.groups
    step = unit(job, a)
    most = min(words // job.window.steps, channels // job.lanes(a))
    return max(most // step, 1) * step


def even(job: WindowJob, a: Accelerator, most: int) -> list[tuple[int, int]]:
    """Groups, first and behind, of as few chunks of at most `most` groups as there can be, of about
    the same size."""
    groups, step = job.window.groups, unit(job, a)
    count = -(-groups // most)
    size = -(-groups // (count * step)) * step
    return [(g, min(g + size, groups)) for g in range(0, groups, size)]


def growing(job: WindowJob, a: Accelerator, most: int) -> list[tuple[int, int]]:
    """The same for weights that nothing hides the loading of: few groups first, then twice as many
    each time."""
    groups, size, at = job.window.groups, unit(job, a), 0
    found = []
    while at < groups:
        end = min(at + min(size, most), groups)
        found.append((at, end))
        at, size = end, 2 * size
    return found
