"""Float models left in float: every layer computes in float32 as docs/SPEC.md has it.

For devices that have fast floating point and for models that lose too much as integers. There is
no calibration; the numpy reference, the CPU's C and a GPU's float32 kernels add in one order.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.ops.exact_float import UNARY

#: Operators with an exact form in float32 (docs/SPEC.md, "float32 layers").
EXACT = (
    *("conv2d", "depthwise_conv2d", "fully_connected", "add", "mul", "sub", "minimum", "maximum"),
    *("average_pool2d", "max_pool2d", "clip", "softmax", "unary"),
)
#: Operators that only move elements.
MOVES = ("reshape", "concat", "pad", "slice", "transpose", "copy")
#: What values between layers are on a GPU: float32, or half with sums in float32.
PRECISIONS = ("fp32", "fp16")
#: What a GPU's floats may differ from the reference's, as a share of an output's largest: four
#: times what firmware/gpu/ek_gpu_test.c allows a layer.
TOLERANCES = {"fp32": 1 / 4096, "fp16": 1 / 16}


def tolerance(graph: Graph, gpu: bool) -> float:
    """What outputs may differ by on a board with or without a GPU; 0: not by a bit."""
    return TOLERANCES.get(str(graph.metadata.get("precision", "")), 0.0) if gpu else 0.0


def left_in_float(graph: Graph, precision: str = "fp32") -> Graph:
    """A copy of a canonical float graph whose layers all say that they compute in float32.

    Args:
        precision: one of `PRECISIONS`, kept as ``metadata["precision"]``.

    Raises:
        EdgekitError: E316 where a layer has no exact form, all of them at once.
    """
    done = graph.copy()
    missing = [
        f"{node.name or node.output} ({node.op})"
        for node in done.nodes
        if node.op not in (*EXACT, *MOVES)
        or (node.op == "unary" and node.attrs["function"] not in UNARY)
    ]
    if missing:
        raise EdgekitError(
            "E316",
            f"{len(missing)} of {len(done.nodes)} layers of '{graph.name}' cannot be left in float",
            details=missing,
            help="compile with --calibration instead: the model becomes int8",
        )
    done.nodes[:] = [
        replace(node, attrs={**node.attrs, "float": True}) if node.op in EXACT else node
        for node in done.nodes
    ]
    done.metadata = {**done.metadata, "precision": precision}
    return done.verify()
