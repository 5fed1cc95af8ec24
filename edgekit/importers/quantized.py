"""Values of float graphs that know their quantization.

Files in which quantization stands as operators of its own (ONNX's QuantizeLinear and
DequantizeLinear) compute on real numbers that lie on a grid. The importer writes that down as it
is: an ordinary float graph in which a value with a `Grid` is one that was rounded. Every pass
works on such a graph as on any float graph; `edgekit.importers.integer` makes it one of integers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Quant, Value
from edgekit.importers.common import Unsupported

KEEPS_GRID = ("reshape", "transpose", "max_pool2d", "average_pool2d", "clip")


@dataclass(frozen=True, eq=False)
class Grid(Quant):
    """The quantization of a float32 value: its reals are integers of `dtype` on this grid.

    `dtype` is "int8" or "int16" for activations and constants, "int4" as well for weights.
    """

    dtype: str = "int8"

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and getattr(other, "dtype", self.dtype) == self.dtype

    __hash__ = Quant.__hash__


def activation_grid(scale: float | np.floating, zero_point: int, dtype: str = "int8") -> Grid:
    """A grid with one scale."""
    q = Quant.make(scale, zero_point)
    return Grid(q.scale, q.zero_point, None, dtype)


#: What a softmax gives.
SOFTMAX_GRIDS = {
    "int8": activation_grid(1 / 256, -128),
    "int16": activation_grid(1 / 32768, 0, "int16"),
}


def grid_of(value: Value) -> Grid | None:
    return value.quant if isinstance(value.quant, Grid) else None


def negated(grid: Grid | None) -> Grid | None:
    """The grid on which the negative of every number of an int8 `grid` lies: q' = -1 - q."""
    if grid is None or grid.dtype != "int8":
        return None
    return replace(grid, zero_point=-1 - grid.zero_point)


def has_activation_grids(graph: Graph) -> bool:
    """Whether the graph has quantized activations, rather than quantized constants at most."""
    return any(grid_of(v) for name, v in graph.values.items() if not graph.is_constant(name))


FLOAT_HELP = (
    "quantize these layers too, or give --calibration DATA: edgekit then quantizes the float "
    "network behind the model itself"
)


def float_layers_error(file: str, found: list[Unsupported]) -> EdgekitError:
    """The E120 that lists every layer of a quantized model that computes in float32."""
    kinds = Counter(u.op for u in found)
    listed = ", ".join(f"{n} {op}" for op, n in kinds.most_common())
    return EdgekitError(
        "E120",
        f"{file} is quantized in part: {len(found)} of its layers stay float ({listed})",
        help=FLOAT_HELP,
        details=[str(u) for u in found],
    )
