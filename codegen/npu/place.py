"""Where tensors lie in the activation memory, and which do not stay there.

Values that fit are placed by their lifetimes with the planner of the arena. Where they do not fit,
the largest at the fullest step goes to external memory: layers that make or read it do so in
stripes of rows, each of which is loaded and stored on its own, two at a time where there is room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codegen import memory
from codegen.npu import cost
from codegen.npu.job import AddJob, Image, Job
from codegen.npu.tiles import stripes, tile_words
from targets.npu.config import BLOCK, Accelerator


@dataclass(frozen=True)
class Tiles:
    """How a job goes by stripes of `rows` rows: for each value that is not in the activation memory
    as a whole, where its stripes lie in turn."""

    rows: int
    bases: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Placement:
    """`resident` has the first word of each value that lies in the activation memory as a whole;
    `tiles` is by job; `spilled` are offsets in scratch memory of values that have no other place
    outside, `scratch_bytes` its size."""

    resident: Mapping[str, int]
    tiles: tuple[Tiles, ...]
    spilled: Mapping[str, int]
    scratch_bytes: int


@dataclass(frozen=True)
class _Life:
    first: int
    last: int


def place(
    jobs: Sequence[Job],
    images: Mapping[str, Image],
    inputs: Sequence[str],
    outputs: Sequence[str],
    a: Accelerator,
) -> Placement:
    """Places for all values of a run of jobs, each of which `tiles.fits`."""
    lives = _lives(jobs, inputs, outputs)
    outside: set[str] = set()
    while (resident := _resident(jobs, images, lives, outside, a)) is None:
        outside.add(_victim(jobs, images, lives, outside))
    tiles = []
    for step, job in enumerate(jobs):
        alive = [
            (resident[v], images[v].words)
            for v, life in lives.items()
            if v in resident and life.first <= step <= life.last
        ]
        tiles.append(_tiles(job, outside, alive, a, inputs, outputs))
    spilled = [
        memory.Buffer(v, images[v].pixels * images[v].channels, lives[v].first, lives[v].last)
        for v in lives
        if v in outside and v not in inputs and v not in outputs
    ]
    plan = memory.plan(spilled)
    return Placement(resident, tuple(tiles), plan.offsets, plan.arena_bytes)


def _lives(jobs: Sequence[Job], inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, _Life]:
    """Steps at which values are needed: inputs are loaded while the step before their first use
    runs, outputs stored while the step after their last use does."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step, job in enumerate(jobs):
        for value in job.reads:
            first.setdefault(value, max(step - 1, 0))
            last[value] = step
        first.setdefault(job.y, step)
        last[job.y] = step
    return {v: _Life(first[v], last[v] + (v in outputs)) for v in first}


def _resident(
    jobs: Sequence[Job],
    images: Mapping[str, Image],
    lives: Mapping[str, _Life],
    outside: set[str],
    a: Accelerator,
) -> dict[str, int] | None:
    """First words of the values that are not `outside`, with room for the stripes of the others;
    None where they do not fit."""
    buffers = [
        memory.Buffer(v, images[v].words * BLOCK, life.first, life.last)
        for v, life in lives.items()
        if v not in outside
    ]
    values = len(buffers)
    for step, job in enumerate(jobs):
        if words := sum(tile_words(job, v, 1) for v in (*job.reads, job.y) if v in outside):
            buffers.append(memory.Buffer(f"stripes of step {step}", words * BLOCK, step, step))
    sharings = _in_place(jobs, lives, outside)
    if memory.lower_bound(buffers, sharings) > a.a_bytes:
        return None
    plan = memory.plan(buffers, sharings, search=False)
    if plan.arena_bytes > a.a_bytes:
        plan = memory.plan(buffers, sharings)
    if plan.arena_bytes > a.a_bytes:
        return None
    return {b.name: plan.offsets[b.name] // BLOCK for b in buffers[:values]}


def _in_place(
    jobs: Sequence[Job], lives: Mapping[str, _Life], outside: set[str]
) -> list[memory.Sharing]:
    """A sum may lie where an operand lay that dies there."""
    return [
        memory.Sharing(job.y, value, in_place=True)
        for step, job in enumerate(jobs)
        if isinstance(job, AddJob) and job.y not in outside
        for value in job.reads
        if value not in outside and lives[value].last == step
    ]


def _victim(
    jobs: Sequence[Job],
    images: Mapping[str, Image],
    lives: Mapping[str, _Life],
    outside: set[str],
) -> str:
    """The largest value that is alive at the fullest step of those that have one."""

    def load(step: int) -> tuple[int, int]:
        alive = [v for v, x in lives.items() if v not in outside and x.first <= step <= x.last]
        job = jobs[min(step, len(jobs) - 1)]
        stripes_of = sum(tile_words(job, v, 1) for v in (*job.reads, job.y) if v in outside)
        return (sum(images[v].words for v in alive) + stripes_of if alive else -1), -step

    step = max(range(len(jobs) + 1), key=load)
    alive = [v for v, x in lives.items() if v not in outside and x.first <= step <= x.last]
    return max(alive, key=lambda v: (images[v].words, lives[v].last - lives[v].first, v))


def _tiles(
    job: Job,
    outside: set[str],
    alive: Sequence[tuple[int, int]],
    a: Accelerator,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Tiles:
    """The stripes of a job that cost least, of those that fit between what is alive."""
    height = job.result.height
    values = [v for v in (*job.reads, job.y) if v in outside]
    if not values:
        moved = [v for v in job.reads if v in inputs] + [job.y] * (job.y in outputs)
        return Tiles(-(-height // cost.overlapping_stripes(job, moved, a)) if moved else height)
    best: tuple[float, Tiles] | None = None
    heights = {-(-height // n) for n in range(1, height + 1)}
    for buffers in (2, 1):
        for rows in heights:
            count = min(buffers, len(stripes(job, rows)))
            sizes = [tile_words(job, v, rows) for v in values for _ in range(count)]
            places = _between(sizes, alive, a.a_words)
            if places is None:
                continue
            bases = {v: tuple(places[i * count : (i + 1) * count]) for i, v in enumerate(values)}
            price = cost.striped(job, values, rows, count, a)
            if best is None or price < best[0]:
                best = price, Tiles(rows, bases)
    assert best is not None, "room for a stripe of one row was kept"
    return best[1]


def _between(
    sizes: Sequence[int], taken: Sequence[tuple[int, int]], words: int
) -> list[int] | None:
    """First words of places of these sizes between those taken (first word, words); None where
    there are none."""
    free, at = [], 0
    for start, size in sorted(taken):
        if start > at:
            free.append((at, start))
        at = max(at, start + size)
    if at < words:
        free.append((at, words))
    found = [0] * len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        for j, (start, end) in enumerate(free):
            if end - start >= sizes[i]:
                found[i], free[j] = start, (start + sizes[i], end)
                break
        else:
            return None
    return found
