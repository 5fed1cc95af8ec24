"""What handlers of several kinds of TFLite operators share: fused activations and windows."""

from __future__ import annotations

from typing import Any

from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder
from edgekit.importers.tflite.read import TfliteNode

#: ActivationFunctionType of the schema.
CLAMPS: dict[int, list[float | None] | None] = {
    0: None,
    1: [0.0, None],
    2: [-1.0, 1.0],
    3: [0.0, 6.0],
}
NOT_CLAMPS = {4: "TANH", 5: "SIGN_BIT"}
SAME, VALID = 0, 1


def clamp_of(options: Any) -> dict[str, Any]:
    """The fused activation as an attribute, empty where there is none."""
    return clamp_attribute(options.FusedActivationFunction())


def clamp_attribute(kind: int) -> dict[str, Any]:
    """The attribute of a fused activation by its number in the schema."""
    if kind in NOT_CLAMPS:
        raise Refused(
            f"its fused activation {kind} ({NOT_CLAMPS[kind]}) is not a clamp: convert the model "
            "with the activation as a layer of its own"
        )
    if kind not in CLAMPS:
        raise Refused(f"its fused activation {kind} is not known")
    return {} if CLAMPS[kind] is None else {"clamp": CLAMPS[kind]}


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """SAME padding (before, after) along one axis as TFLite's ComputePadding, the odd one behind.

    `size` is the length of the side that a convolution reads.
    """
    reach = dilation * (kernel - 1) + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def window(
    b: TfliteBuilder, node: TfliteNode, options: Any, kernel: list[int], dilations: list[int]
) -> dict[str, Any]:
    """`strides` and `pads` of an operator that slides over its first operand."""
    strides = strides_of(node, options, kernel, dilations)
    shape = b.value(b.x(node)).shape
    if len(shape) != 4:
        raise invalid(f"'{node.name}' ({node.op}) reads {list(shape)}, 4 axes are needed")
    if shape[0] != 1:
        raise Refused(f"it reads a batch of {shape[0]}, 1 is supported")
    if node.spread is not None:
        return {"strides": strides, "pads": list(node.spread.pads)}
    pads = [0, 0, 0, 0]
    for i in (0, 1):
        if options.Padding() == SAME:
            pads[i], pads[i + 2] = same_padding(shape[i + 1], kernel[i], strides[i], dilations[i])
    return {"strides": strides, "pads": pads}


def dilations_of(node: TfliteNode, options: Any) -> list[int]:
    """Dilations of a convolution, its own or those of the pair of operators around it."""
    if node.spread is not None:
        return list(node.spread.dilations)
    return [int(options.DilationHFactor()), int(options.DilationWFactor())]


def strides_of(
    node: TfliteNode, options: Any, kernel: list[int], dilations: list[int]
) -> list[int]:
    """Strides, once they, the kernel, dilations and the kind of padding are known to be legal."""
    strides = [int(options.StrideH()), int(options.StrideW())]
    if min(strides + kernel + dilations) < 1:
        raise invalid(f"'{node.name}': kernel {kernel}, strides {strides}, dilations {dilations}")
    if options.Padding() not in (SAME, VALID):
        raise invalid(f"'{node.name}' ({node.op}) has padding {options.Padding()}")
    return strides
