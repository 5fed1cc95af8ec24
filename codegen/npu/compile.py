"""A run of layers to a command stream, checked before anyone sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.npu.commands import Emitter, External
from codegen.npu.partition import Run
from codegen.npu.place import Placement, place
from codegen.npu.schedule import schedule
from targets.npu.check import check
from targets.npu.config import Accelerator
from targets.npu.isa import Command, Load, Store, stream
from targets.npu.timing import timing

#: What `after` can count.
MOST_COMMANDS = (1 << 16) - 1


class TooManyCommands(Exception):
    """A stream would have more commands of one engine than `after` can count."""


@dataclass(frozen=True)
class Compiled:
    """A command stream and all that runs it.

    `words` are the stream, uint32; `constants` the content of region 0; further regions are the
    run's inputs, its outputs, and `scratch_bytes` of memory where that is not 0. `waits` are for
    each job how many commands the compute engine and the transfer engine have finished when it is
    done. `commands` are in the order of the stream, without HEAD and END. `cycles` are estimated.
    `constant_bytes` are those of region 0 that are there for each job.
    """

    run: Run
    words: NDArray[np.uint32]
    constants: bytes
    scratch_bytes: int
    waits: tuple[tuple[int, int], ...]
    commands: tuple[Command, ...]
    placement: Placement
    cycles: int
    constant_bytes: tuple[int, ...]

    @property
    def region_bytes(self) -> list[int]:
        return _region_bytes(self.run, len(self.constants), self.scratch_bytes)


def compile_run(run: Run, a: Accelerator) -> Compiled:
    """The command stream of `run` for the accelerator `a`.

    Raises:
        TooManyCommands: where it has to be several; one job never is (`rules.few_commands`).
    """
    placement = place(run.jobs, run.images, run.inputs, run.outputs, a)
    values = (*run.inputs, *run.outputs)
    outside = {v: External(1 + i) for i, v in enumerate(values)}
    outside |= {v: External(1 + len(values), at) for v, at in placement.spilled.items()}
    emitter = Emitter(a, placement, outside, run.inputs, run.outputs)
    emitter.emit(run.jobs)
    constants = bytes(emitter.blob) + bytes(-len(emitter.blob) % 4)
    sizes = _region_bytes(run, len(constants), placement.scratch_bytes)
    commands, jobs = zip(*emitter.commands, strict=True)
    transfers = sum(isinstance(c, Load | Store) for c in commands)
    if len(run.jobs) > 1 and max(transfers, len(commands) - transfers) > MOST_COMMANDS:
        raise TooManyCommands
    scheduled = schedule(commands, sizes, a)
    words = stream(scheduled.commands, a)
    found = check(words, a, sizes)
    return Compiled(
        run, np.array(words, np.uint32), constants, placement.scratch_bytes,
        _waits(scheduled.commands, [jobs[i] for i in _inverse(scheduled.index)], len(run.jobs)),
        scheduled.commands, placement, timing(found, a).cycles,
        _constant_bytes(emitter.grown, len(constants)),
    )  # fmt: skip


def _constant_bytes(grown: list[int], total: int) -> tuple[int, ...]:
    """Constants that each job brought; what fills up the last word is the first one's."""
    return (grown[0] + total - sum(grown), *grown[1:])


def _region_bytes(run: Run, constants: int, scratch: int) -> list[int]:
    values = (*run.inputs, *run.outputs)
    tensors = [run.images[v].pixels * run.images[v].channels for v in values]
    return [constants, *tensors, *([scratch] if scratch else [])]


def _inverse(index: tuple[int, ...]) -> list[int]:
    found = [0] * len(index)
    for old, new in enumerate(index):
        found[new] = old
    return found


def _waits(
    commands: tuple[Command, ...], jobs: list[int], count: int
) -> tuple[tuple[int, int], ...]:
    """Computes that are finished with each job; with the last one everything is."""
    computed = transferred = 0
    found = [(0, 0)] * count
    for command, job in zip(commands, jobs, strict=True):
        if isinstance(command, Load | Store):
            transferred += 1
        else:
            computed += 1
            found[job] = (computed, 0)
    found[-1] = (computed, transferred)
    return tuple(found)


__all__ = ["Compiled", "TooManyCommands", "compile_run"]
