"""What a report on one build knows, as plain values: the form of `edgekit report --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from edgekit.htmlreport.measured import Energy, Profile

KIND = "edgekit report"
FORMAT = 1
#: Kinds of buffers that a memory plan has, in the order of the legend.
BUFFER_KINDS = ("input", "output", "state", "tensor", "scratch")


@dataclass(frozen=True)
class Layer:
    """One kernel call, as `edgekit.report.LayerReport`; `tensor` is its result in the graph, with
    `dtype`, and `sqnr_db` how close that is to the float network (None: unknown, or equal)."""

    name: str
    op: str = ""
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    macs: int = 0
    kernel: str = ""
    family: str = ""
    variant: str = ""
    runner_up: str = ""
    note: str = ""
    constant_bytes: int = 0
    scratch_bytes: int = 0
    cycles: int | None = None
    instructions: int | None = None
    tensor: str = ""
    dtype: str = ""
    sqnr_db: float | None = None


@dataclass(frozen=True)
class Buffer:
    """As `edgekit.report.BufferReport`: alive from call `first` to call `last`."""

    name: str
    offset: int
    nbytes: int
    first: int
    last: int
    kind: str = "tensor"

    def __post_init__(self) -> None:
        if self.offset < 0 or self.nbytes < 0 or self.first < -1 or self.last < self.first:
            raise ValueError(
                f"bytes {self.offset}..{self.offset + self.nbytes}, calls {self.first}..{self.last}"
                " make no sense"
            )


@dataclass(frozen=True)
class State:
    """A tensor that outlives an inference, in bytes."""

    name: str
    nbytes: int
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Region:
    """As `edgekit.report.RegionReport`."""

    name: str
    wait_states: int = 0
    size: int = 0
    arena: int = 0
    traffic: int = 0
    stall_cycles: int = 0


@dataclass(frozen=True)
class GraphNode:
    """A box of the drawn graph. `kind` is "layer", "view" (runs nothing), "input", "output",
    "state" or "update" (the content of a state that the next inference reads); `layer` is the
    index of its call, None where it has none."""

    name: str
    op: str
    kind: str
    layer: int | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    scale: float | None = None
    zero_point: int | None = None
    weights: str = ""


@dataclass(frozen=True)
class GraphEdge:
    """A tensor that flows from one box to a later one, by their indices."""

    source: int
    target: int
    tensor: str = ""


@dataclass(frozen=True)
class Facts:
    """All of it. `buffers` is None where the output folder is older than memory plans in it;
    `gaps` says in sentences what is not known and why."""

    name: str
    target: str
    layers: tuple[Layer, ...]
    model: str = ""
    board: str = ""
    hash: str = ""
    edgekit: str = ""
    compiler: str = ""
    clock_hz: int | None = None
    optimize: str = ""
    flash: dict[str, int] = field(default_factory=dict)
    ram: dict[str, int] = field(default_factory=dict)
    arena_lower_bound: int | None = None
    model_macs: int | None = None
    cycles: int | None = None
    estimate: str = "zero wait states, +-20 %"
    instructions: int | None = None
    not_measured: str = ""
    logits_sqnr_db: float | None = None
    calibration_samples: int = 0
    agreement: float | None = None
    agreement_samples: int = 0
    judged_sqnr_db: float | None = None
    wide: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    ram_regions: tuple[Region, ...] = ()
    buffers: tuple[Buffer, ...] | None = None
    profiles: tuple[Profile, ...] = ()
    energies: tuple[Energy, ...] = ()
    nodes: tuple[GraphNode, ...] = ()
    edges: tuple[GraphEdge, ...] = ()
    gaps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        calls = len(self.layers)
        for b in self.buffers or ():
            if b.last > calls:
                raise ValueError(f"buffer '{b.name}' lives to call {b.last} of {calls}")
        for n in self.nodes:
            if n.layer is not None and not 0 <= n.layer < calls:
                raise ValueError(f"'{n.name}' is call {n.layer} of {calls}")
        for e in self.edges:
            if not 0 <= e.source < e.target < len(self.nodes):
                raise ValueError(f"an edge joins {e.source} and {e.target} of {len(self.nodes)}")
        for measured in (*(p.layers for p in self.profiles), *(e.layers for e in self.energies)):
            if len(measured) != calls:
                raise ValueError(f"what was measured has {len(measured)} layers, the build {calls}")

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def flash_bytes(self) -> int:
        return sum(self.flash.values())

    @property
    def ram_bytes(self) -> int:
        return sum(self.ram.values())

    @property
    def latency_ms(self) -> float | None:
        """Estimated, at the clock of the reference board."""
        return 1e3 * self.cycles / self.clock_hz if self.cycles and self.clock_hz else None

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps; `edgekit.htmlreport.gather.read_facts` takes them back."""
        totals = {
            "macs": self.macs,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "latency_ms": self.latency_ms,
        }
        return {"kind": KIND, "format": FORMAT, **asdict(self), **totals}
