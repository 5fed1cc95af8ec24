"""From placed jobs to commands, in an order in which they could run one after the other.

A command here does what the manual says with everything before it done; `schedule` then lets the
two engines run beside each other. Loads stand where they are first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from codegen.npu import cost
from codegen.npu.job import AddJob, ConcatJob, Job, Part, WindowJob
from codegen.npu.place import Placement
from codegen.npu.tiles import stripes
from codegen.npu.weights import Ring, even, growing, most_groups, unit
from targets.npu.config import BLOCK, TABLE_WORDS, Accelerator
from targets.npu.isa import Add, Command, Load, Opcode, Space, Store


@dataclass(frozen=True)
class External:
    """Where a value is in external memory: a region and the offset of its first byte there."""

    region: int
    offset: int = 0


@dataclass(frozen=True)
class _View:
    """A value, or rows of it from `top` on, in the activation memory."""

    base: int
    plane: int
    top: int = 0


@dataclass(frozen=True)
class _Chunk:
    """Groups `first` to `end` - 1 of a job: their words of weights and channels of parameters."""

    first: int
    end: int
    w_base: int
    p_base: int


@dataclass
class Emitter:
    """Commands and the constants that they load.

    `outside` says where inputs, outputs and spilled values are. `commands` are pairs of a command
    and the job that it is for; `blob` is the content of region 0, `grown` how many bytes of it each
    job brought.
    """

    a: Accelerator
    placement: Placement
    outside: Mapping[str, External]
    inputs: Sequence[str]
    outputs: Sequence[str]
    commands: list[tuple[Command, int]] = field(default_factory=list)
    blob: bytearray = field(default_factory=bytearray)
    grown: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._weights, self._parameters = Ring(self.a.w_words), Ring(self.a.p_channels)
        self._packed: dict[bytes, int] = {}
        self._table: bytes = b""
        self._loaded: dict[str, int] = {}
        self._step = 0

    def emit(self, jobs: Sequence[Job]) -> None:
        for step, job in enumerate(jobs):
            self._step, before = step, len(self.blob)
            if isinstance(job, WindowJob):
                self._window(job)
            elif isinstance(job, ConcatJob):
                self._concat(job)
            else:
                self._sum(job)
            self.grown.append(len(self.blob) - before)

    # ---- one layer

    def _window(self, job: WindowJob) -> None:
        rows = stripes(job, self.placement.tiles[self._step].rows)
        keep = len(rows) > 1 and self._fits(job)
        kept: list[_Chunk] = []
        for number, (top, bottom) in enumerate(rows):
            source = self._source(job, job.x, number, top, bottom)
            target = self._target(job, number, top)
            if kept:
                for chunk in kept:
                    self._pieces(job, top, bottom, chunk, source, target)
            else:
                for chunk in self._chunks(job, keep):
                    self._pieces(job, top, bottom, chunk, source, target)
                    if keep:
                        kept.append(chunk)
            self._store(job, target, top, bottom)

    def _pieces(
        self, job: WindowJob, top: int, bottom: int, chunk: _Chunk, source: _View, target: _View
    ) -> None:
        """Commands for rows `top` to `bottom` - 1 and some groups; one where the job has no
        parts."""
        w, lanes = job.window, job.lanes(self.a)
        block = chunk.first * lanes // BLOCK
        groups = chunk.end - chunk.first
        for part in job.parts or (Part(0, job.result.height, job.result.width),):
            first_row, last_row = max(top, part.top), min(bottom, part.bottom)
            if first_row >= last_row:
                continue
            first, last = job.rows_of(first_row, last_row)
            of_image = 0 if w.opcode is Opcode.CONV else block * source.plane
            self._add(replace(
                w,
                a_base=source.base + (first - source.top) * w.in_w + of_image,
                a_plane=source.plane,
                in_h=last - first,
                out_w=part.columns,
                out_h=last_row - first_row,
                pad_top=first - (first_row * w.stride_h - w.pad_top),
                groups=groups,
                o_base=target.base + (first_row - target.top) * w.out_w + block * target.plane,
                o_plane=target.plane,
                o_blocks=min(w.o_blocks - block, -(-groups * lanes // BLOCK)),
                w_base=chunk.w_base,
                p_base=(chunk.p_base + part.entry) // self.a.requant_lanes,
            ))  # fmt: skip

    def _sum(self, job: AddJob) -> None:
        p_base = self._table_of(job)
        for number, (top, bottom) in enumerate(stripes(job, self.placement.tiles[self._step].rows)):
            views = {v: self._source(job, v, number, top, bottom) for v in job.reads}
            target = self._target(job, number, top)
            self._sum_rows(job, p_base, views, target, top, bottom)
            self._store(job, target, top, bottom)

    def _concat(self, job: ConcatJob) -> None:
        """Each part to its blocks of the result."""
        for number, (top, bottom) in enumerate(stripes(job, self.placement.tiles[self._step].rows)):
            target = self._target(job, number, top)
            for part, block in zip(job.parts, job.blocks, strict=True):
                p_base = self._table_of(part)
                views = {part.a: self._source(job, part.a, number, top, bottom)}
                into = replace(target, base=target.base + block * target.plane)
                self._sum_rows(part, p_base, views, into, top, bottom)
            self._store(job, target, top, bottom)

    def _table_of(self, job: AddJob) -> int:
        """Loads the tables and parameters of a sum; returns where these are."""
        self._load_table(job.tables)
        p_base = self._parameters.take(len(job.parameters))
        self._load(Space.P, p_base, len(job.parameters), self._pack(job.parameters))
        return p_base

    def _sum_rows(
        self,
        job: AddJob,
        p_base: int,
        views: Mapping[str, _View],
        target: _View,
        top: int,
        bottom: int,
    ) -> None:
        """One command where the planes follow one another, else one for each."""
        a, b = views[job.a], views[job.b]
        count = (bottom - top) * job.result.width
        blocks = job.result.blocks
        if all(view.plane == count for view in (a, b, target)):
            count, blocks = count * blocks, 1

        def at(view: _View, block: int) -> int:
            return view.base + block * view.plane + (top - view.top) * job.result.width

        for block in range(blocks):
            self._add(Add(
                at(a, block), at(b, block), at(target, block), count,
                p_base // self.a.requant_lanes, job.zero_point, job.low, job.high,
            ))  # fmt: skip

    # ---- weights and parameters

    def _fits(self, job: WindowJob) -> bool:
        """Whether all weights and parameters can stay for every stripe."""
        words = 0 if job.weights is None else job.window.groups * job.window.steps
        return words <= self.a.w_words and len(job.parameters) <= self.a.p_channels

    def _chunks(self, job: WindowJob, together: bool) -> Iterator[_Chunk]:
        """Chunks of a job's groups, each loaded when it is asked for.

        Args:
            together: weights and parameters of all chunks stay where they are until the last one.
        """
        lanes, steps, weights = job.lanes(self.a), job.window.steps, job.weights
        if weights is None:
            p_base = self._parameters.take(len(job.parameters))
            self._load(Space.P, p_base, len(job.parameters), self._pack(job.parameters))
            yield _Chunk(0, job.window.groups, 0, p_base)
            return
        # All parameters at once where that is not too much, but not in front of the first group.
        count = len(job.parameters)
        whole = not self._starts(job) and count <= self.a.p_channels // 2
        w_all = self._weights.take(len(weights) * steps) if together else 0
        p_all = self._parameters.take(count) if together or whole else 0
        for first, end in self._cut(job):
            words, entries = (end - first) * steps, slice(first * lanes, end * lanes)
            w_base = w_all + first * steps if together else self._weights.take(words)
            self._load(Space.W, w_base, words, self._pack(weights[first:end]), job.half)
            p_base = p_all + first * lanes
            if whole and first == 0:
                self._load(Space.P, p_all, count, self._pack(job.parameters))
            elif not whole:
                mine = job.parameters[entries]
                p_base = p_base if together else self._parameters.take(len(mine))
                self._load(Space.P, p_base, len(mine), self._pack(mine))
            yield _Chunk(first, end, w_base, p_base)

    def _cut(self, job: WindowJob) -> list[tuple[int, int]]:
        """Groups of each chunk: few where nothing hides that weights are loaded, else as many as
        leave room for the next ones."""
        words, channels = self.a.w_words // 2, self.a.p_channels // 2
        if unit(job, self.a) * job.window.steps > words:
            words = self.a.w_words
        most = most_groups(job, self.a, words, channels)
        return growing(job, self.a, most) if self._starts(job) else even(job, self.a, most)

    def _starts(self, job: WindowJob) -> bool:
        """Whether a job should begin with little: it is the first one, and loading is not all that
        it waits for."""
        loading = 0 if job.weights is None else job.weights.size // 4
        return self._step == 0 and cost.compute(job, self.a) > loading

    # ---- transfers

    def _source(self, job: Job, value: str, number: int, top: int, bottom: int) -> _View:
        """Where the rows are that a stripe reads, loaded where they were outside."""
        image = job.image_of(value)
        first, last = job.rows_of(top, bottom)
        if value in self.placement.resident:
            base = self.placement.resident[value]
            if value in self.inputs:
                done, end = self._loaded.get(value, 0), last * image.width
                if end > done:
                    place = self.outside[value]
                    self._add(Load(
                        place.offset + done * image.channels, place.region, Space.A, base + done,
                        end - done, image.channels, image.pixels,
                    ))  # fmt: skip
                    self._loaded[value] = end
            return _View(base, image.pixels)
        tile = self.placement.tiles[self._step].bases[value]
        base, count = tile[number % len(tile)], (last - first) * image.width
        place = self.outside[value]
        self._add(Load(
            place.offset + first * image.row_bytes, place.region, Space.A, base, count,
            image.channels, count,
        ))  # fmt: skip
        return _View(base, count, first)

    def _target(self, job: Job, number: int, top: int) -> _View:
        """Where a stripe of the result goes."""
        if job.y in self.placement.resident:
            return _View(self.placement.resident[job.y], job.result.pixels)
        tiles = self.placement.tiles[self._step]
        bases = tiles.bases[job.y]
        rows = min(tiles.rows, job.result.height - top)
        return _View(bases[number % len(bases)], rows * job.result.width, top)

    def _store(self, job: Job, target: _View, top: int, bottom: int) -> None:
        """The stripe to external memory, where the value has to be there."""
        if job.y in self.placement.resident and job.y not in self.outputs:
            return
        result, place = job.result, self.outside[job.y]
        self._add(Store(
            place.offset + top * result.row_bytes, place.region,
            target.base + (top - target.top) * result.width, (bottom - top) * result.width,
            result.channels, target.plane,
        ))  # fmt: skip

    def _load_table(self, tables: np.ndarray) -> None:
        raw = tables.tobytes()
        if raw != self._table:
            self._load(Space.T, 0, TABLE_WORDS, self._pack(tables))
            self._table = raw

    def _load(self, space: Space, base: int, count: int, offset: int, half: bool = False) -> None:
        self._add(Load(offset, 0, space, base, count, half=int(half)))

    def _pack(self, data: np.ndarray) -> int:
        """Offset in region 0; equal constants once."""
        raw = np.ascontiguousarray(data).tobytes()
        if raw not in self._packed:
            self.blob += bytes(-len(self.blob) % 4)
            self._packed[raw] = len(self.blob)
            self.blob += raw
        return self._packed[raw]

    def _add(self, command: Command) -> None:
        self.commands.append((command, self._step))
