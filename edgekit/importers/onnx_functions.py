"""ONNX operators that are imported as the functions by which the standard defines them."""

from __future__ import annotations

from edgekit.importers.onnx_builder import OnnxBuilder, handles
from edgekit.importers.onnx_node import OnnxNode


@handles("AffineGrid", "Attention", "CausalConvWithState", "CenterCropPad", "LinearAttention",
         "RotaryEmbedding", "SwiGLU")  # fmt: skip
def function(b: OnnxBuilder, node: OnnxNode) -> None:
    """As the standard's function: whatever the operators in that accept."""
    b.expand(node)
