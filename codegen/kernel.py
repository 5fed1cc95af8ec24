"""What a kernel is before and after it is printed, and what a schedule module must offer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.interval import Interval

BYTES = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4}
#: What elements of an operand are in C; truth values lie in memory as bytes.
C_TYPES = {
    "bool": "uint8_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
}


class NotApplicable(Exception):
    """A family has no kernel for this layer; the message says why and goes into the report."""


@dataclass(frozen=True)
class Operand:
    """One pointer parameter of a kernel: `count` elements of `dtype`.

    `role` is "input", "constant" or "output". `alias` marks operands that may share memory.
    """

    name: str
    dtype: str
    count: int
    role: str
    alias: bool = False

    @property
    def nbytes(self) -> int:
        return self.count * BYTES[self.dtype]


@dataclass(frozen=True)
class KernelSpec:
    """Everything that the C text of a kernel depends on. `params` holds JSON values only."""

    op: str
    family: str
    operands: tuple[Operand, ...]
    params: dict[str, Any] = field(hash=False)

    @cached_property
    def key(self) -> str:
        """Hash of the spec; equal specs share one kernel."""
        text = json.dumps(
            [
                self.op,
                self.family,
                [[o.name, o.dtype, o.count, o.role, o.alias] for o in self.operands],
                self.params,
            ],
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        return f"ek_{self.op}_{self.family}_{self.key[:8]}"


@dataclass(frozen=True)
class Cost:
    """Executed instructions and, where there is a model of them, cycles; both of a whole layer."""

    instructions: int
    cycles: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.instructions + other.instructions, self.cycles + other.cycles)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.instructions * times, self.cycles * times)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Written:
    """C text of a kernel as a template writes it.

    `text` is the kernel's function; `parts` are the static functions that it calls, by name, which
    kernels of other layers may share; `scratch_bytes` is what it wants as its last parameter.

    With `units` the function has two more parameters at the end, ``uint32_t begin, uint32_t end``,
    and makes the part [begin, end) of so many. Parts write different bytes; any parts that together
    are all make the same result in any order, each with a scratch buffer of its own.
    """

    text: str
    parts: dict[str, str]
    scratch_bytes: int
    units: int = 0


@dataclass(frozen=True)
class Kernel:
    """A printed kernel: a C function of its operands and, where it needs one, a scratch pointer.

    `parts` are the static functions that it calls, by name.
    """

    spec: KernelSpec
    text: str
    scratch_bytes: int
    parts: dict[str, str] = field(default_factory=dict, hash=False)
    #: Statements that look at the constants of a bundle before it runs: ``a`` are the arguments,
    #: they return an ek_status_t. "" where no content of constants is wrong.
    check: str = ""
    #: Parts that threads may share out (`Written`); 0 for a kernel that is one piece.
    units: int = 0

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def fingerprint(self) -> int:
        """First eight bytes of the hash of the text: equal fingerprints, equal arithmetic."""
        text = "".join((self.text, *self.parts.values()))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True)
class Layer:
    """A node with all that a schedule looks at: operand values and constant data."""

    node: Node
    inputs: tuple[Value, ...]
    constants: dict[str, np.ndarray]
    output: Value
    #: When weights with zeros are stored as a bitmask and values: `schedules._sparse.MODES`.
    sparse_weights: str = "off"
    #: What the first operand can hold, per channel; None is everything that its dtype holds.
    x_interval: Interval | None = None
    #: Results beyond the first.
    further: tuple[Value, ...] = ()
    #: Whether threads share out the parts of kernels that have some.
    parts: bool = False

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Every result, in the order of the spec's "output" operands."""
        return (self.output, *self.further)

    @property
    def name(self) -> str:
        return self.node.name or self.node.output

    @property
    def types(self) -> dict[str, str]:
        """Parameters of a spec: dtypes of the first operand and of the result."""
        return {"x_dtype": self.inputs[0].dtype, "y_dtype": self.output.dtype}


@dataclass(frozen=True)
class Candidate:
    """A kernel that fits a layer: the spec, the values its inputs read, its packed constants.

    `inputs` names graph values in the order of the spec's "input" operands; `constants` maps the
    names of its "constant" operands to arrays of their dtype. `note` goes into the report. `cost`
    is what a call executes on the target, None where nobody counted it: such candidates are taken
    only where no other is.

    Two ways for the output to share memory with the first input, which dies there; both need
    `alias` on the two operands, and `codegen.overlap.sharing` declares them:

    * `in_place`: the output may start exactly where the input starts.
    * `overlap`, d bytes: the output may start at any place up to input start - d (above it where d
      is negative), because the kernel goes forward and never reads an input byte after an output
      byte has been written over it (`codegen.overlap`). None: no such place.
    """

    spec: KernelSpec
    inputs: tuple[str, ...]
    constants: dict[str, np.ndarray]
    in_place: bool = False
    overlap: int | None = None
    note: str = ""
    cost: Cost | None = None


@dataclass(frozen=True)
class Family:
    """One way of computing an operator, through a TVM schedule.

    `select` turns a layer into a candidate or raises NotApplicable; `schedule` turns the params of
    a spec into a TVM schedule (only called where the kernel is not in the cache).
    """

    select: Callable[[Layer], Candidate]
    schedule: Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Template:
    """One algorithm of a family whose kernels are written as text, without TVM.

    `candidates` offers kernels for a layer, each with its cost, or raises NotApplicable; their
    specs have `name` as params["template"]. `write` turns a spec into C.
    """

    name: str
    ops: tuple[str, ...]
    candidates: Callable[[Layer], list[Candidate]]
    write: Callable[[KernelSpec], Written]
