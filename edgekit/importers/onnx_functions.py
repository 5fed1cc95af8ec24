"""ONNX operators that are imported as the functions by which the standard defines them."""

from __future__ import annotations

from edgekit.importers.onnx_builder import OnnxBuilder, handles
from edgekit.importers.onnx_node import OnnxNode


@handles("AffineGrid", "Attention", "CausalConvWithState", "LinearAttention",
         "RotaryEmbedding", "SwiGLU")  # fmt: skip
def function(b: OnnxBuilder, node: OnnxNode) -> None:
    """As the standard's function: whatever the operators in that accept."""
    b.expand(node)


@handles("CenterCropPad")
def center_crop_pad(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with a constant shape."""
    b.const_of(node, 1, "shape")
    b.expand(node)
