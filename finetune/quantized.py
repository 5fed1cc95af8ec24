"""The module of what a float graph becomes under `quantizer.quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.ops.convert import dequantize
from finetune.fake_quant import Grids
from finetune.measure import DEPLOYED
from finetune.module import GraphModule, module_of
from quantizer import quantize
from quantizer.weights import CHANNEL_AXIS


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


def check_options(quantization: Mapping[str, Any]) -> None:
    """Raises EdgekitError E266 where an option is not what `DEPLOYED` fixes."""
    for name, fixed in DEPLOYED.items():
        if quantization.get(name, fixed) != fixed:
            raise EdgekitError(
                "E266",
                f"{name} is '{quantization[name]}', quantization-aware training needs '{fixed}'",
                help="leave the option away",
            )


def start_from_post_training(
    module: GraphModule, calibration: Mapping[str, np.ndarray], quantization: Mapping[str, Any]
) -> None:
    """Give the module the weights and biases of the post-training quantizer at its best (GPTQ for
    4 bits, bias correction), in reals: training goes on from there."""
    graph = module.export()
    integer = quantize(graph, calibration, **quantization).graph
    for f_node, i_node in zip(graph.nodes, integer.nodes, strict=True):
        if f_node.op in CHANNEL_AXIS:
            for f_name, i_name in zip(f_node.inputs[1:], i_node.inputs[1:], strict=True):
                real = dequantize(integer.values[i_name], integer.constants[i_name])
                module.set_constant(f_name, real)


def calibrate(
    module: GraphModule, calibration: Mapping[str, np.ndarray], quantization: Mapping[str, Any]
) -> None:
    """Give the module the grids that `quantize` chooses for its weights as they are now."""
    check_options(quantization)
    graph = module.export()
    integer = quantize(graph, calibration, **{**quantization, **DEPLOYED}).graph
    grids = Grids(graph, integer, quantization.get("weights", "per-channel"))
    grids.check(graph, integer)
    module.grids = grids
