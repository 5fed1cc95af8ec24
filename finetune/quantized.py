"""The module of what a float graph becomes under `quantizer.quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from finetune.fake_quant import Grids
from finetune.measure import DEPLOYED
from finetune.module import GraphModule, module_of
from quantizer import quantize


def fake_quantized(
    graph: Graph, calibration: Mapping[str, np.ndarray], **quantization: Any
) -> GraphModule:
    """A torch module that computes what ``quantize(graph, calibration, **quantization,
    **DEPLOYED)`` computes in integers, with gradients.

    Outputs are the integers' real values, exactly, as long as every accumulator stays below 2**24
    (float32 holds them).

    Raises:
        EdgekitError: E261 as `module_of`, E266 for an option that `DEPLOYED` fixes, and those of
            `quantizer.quantize`.
    """
    module = module_of(graph)
    calibrate(module, calibration, quantization)
    return module


def calibrate(
    module: GraphModule, calibration: Mapping[str, np.ndarray], quantization: Mapping[str, Any]
) -> None:
    """Give the module the grids that `quantize` chooses for its weights as they are now."""
    for name, fixed in DEPLOYED.items():
        if quantization.get(name, fixed) != fixed:
            raise EdgekitError(
                "E266",
                f"{name} is '{quantization[name]}', quantization-aware training needs '{fixed}'",
                help="leave the option away",
            )
    graph = module.export()
    integer = quantize(graph, calibration, **{**quantization, **DEPLOYED}).graph
    grids = Grids(graph, integer, quantization.get("weights", "per-channel"))
    grids.check(graph, integer)
    module.grids = grids
