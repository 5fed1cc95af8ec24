"""What runs: a Program is kernel calls in order, arena offsets, packed constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from codegen import memory
from codegen.kernel import Kernel


@dataclass(frozen=True)
class Argument:
    """A pointer of a call: `nbytes` at `offset` of the arena, or of the constants.

    `role` is the operand's ("input", "constant", "output") or "scratch"; `value` names the graph
    value that lies there, "" for constants and scratch.
    """

    role: str
    offset: int
    nbytes: int
    value: str = ""

    @property
    def in_arena(self) -> bool:
        return self.role != "constant"


@dataclass(frozen=True)
class Call:
    """One kernel call, with what a report says of it.

    Shapes and `macs` are those that run: channels that are constant for every input may be gone
    (`edgekit.intervals`). `in_place` and `overlap` are what the kernel allows
    (`codegen.kernel.Candidate`) where its output does share memory with its first input; False and
    None where the two lie apart. `note` says how many channels are left, why a faster family was
    not taken and how weights are stored, "" where the fastest was taken with all channels and plain
    weights. `own_constants` are the layer's bytes of constants where one call has those of several
    layers. `variant` is the kernel's algorithm; `runner_up` says which other one was the fastest
    and what it would cost. `cost` are the instructions that the kernel's template counts when it is
    written, None for kernels that nobody counted.
    """

    layer: str
    op: str
    kernel: Kernel
    arguments: tuple[Argument, ...]
    in_place: bool
    overlap: int | None
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    macs: int
    note: str
    variant: str = ""
    runner_up: str = ""
    own_constants: int | None = None
    cost: int | None = None

    @property
    def constant_bytes(self) -> int:
        if self.own_constants is not None:
            return self.own_constants
        return sum(a.nbytes for a in self.arguments if a.role == "constant")

    @property
    def scratch_bytes(self) -> int:
        return sum(a.nbytes for a in self.arguments if a.role == "scratch")


@dataclass(frozen=True)
class Tensor:
    """An input, output or state of the program in the arena: int8 or int16, or int32 or bool with
    scale 1.

    `layout` is "NCHW" where the model file declared it so; the bytes here are always NHWC.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    offset: int
    nbytes: int
    layout: str = ""


@dataclass(frozen=True)
class StateTensor:
    """A tensor of the arena that outlives an inference.

    Before the first one all of its bytes are `fill`, or where that is None those at `initial` of
    the constants. The value `next` lies there after an inference.
    """

    tensor: Tensor
    next: str
    fill: int | None
    initial: int


@dataclass(frozen=True)
class PlacedBuffer:
    """`nbytes` at `offset` of the arena from call `first` to call `last`, both included; -1 is
    before the first call and the number of calls after the last.

    `kind` is "input", "output" or "state" where the caller knows those bytes, "scratch" where one
    kernel alone does, else "tensor".
    """

    name: str
    kind: str
    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Program:
    """A model for one target. `constants` is one aligned blob in the order of use.

    `shares` maps values that are bytes of another value (reshapes, rows) to that value.
    """

    name: str
    target: str
    calls: tuple[Call, ...]
    arena_bytes: int
    arena_lower_bound: int
    constants: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[StateTensor, ...] = ()
    #: Most threads that make parts of one kernel at the same time; each has a scratch buffer.
    threads: int = 1
    shares: dict[str, str] = field(default_factory=dict)
    #: Multiply-accumulates of the graph as it was; `calls` have those that run.
    model_macs: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    #: What the memory plan was made of, and the bytes that each buffer's readers and writers move
    #: (`codegen.regions`).
    buffers: tuple[memory.Buffer, ...] = ()
    sharings: tuple[memory.Sharing, ...] = ()
    traffic: dict[str, int] = field(default_factory=dict)
    #: Where the plan put each buffer, and the step of the plan that each call is (steps that are
    #: views of memory have no call).
    offsets: dict[str, int] = field(default_factory=dict)
    steps: tuple[int, ...] = ()

    @property
    def placed(self) -> list[PlacedBuffer]:
        """The memory plan by calls, in the order of birth and then of place."""
        before, after = -1, len(self.calls)
        call_of = {step: i for i, step in enumerate(self.steps)}
        last_step = max(self.steps, default=-1)
        kinds = {self._root(t.name): "output" for t in self.outputs}
        kinds |= {self._root(t.name): "input" for t in self.inputs}
        kinds |= {self._root(s.tensor.name): "state" for s in self.states}
        found = []
        for b in self.buffers:
            offset = self.offsets[b.name]
            first = call_of.get(b.first, before)
            last = after if b.last > last_step else call_of.get(b.last, before)
            scratch = first >= 0 and any(
                (a.role, a.offset, a.nbytes) == ("scratch", offset, b.nbytes)
                for a in self.calls[first].arguments
            )
            name = f"scratch of {self.calls[first].layer}" if scratch else b.name
            kind = kinds.get(b.name, "scratch" if scratch else "tensor")
            found.append(PlacedBuffer(name, kind, offset, b.nbytes, first, last))
        return sorted(found, key=lambda b: (b.first, b.offset, b.name))

    def _root(self, value: str) -> str:
        while value in self.shares:
            value = self.shares[value]
        return value

    @property
    def kernels(self) -> list[Kernel]:
        """Each kernel once, in order of first use."""
        return list({c.kernel.fingerprint: c.kernel for c in self.calls}.values())
