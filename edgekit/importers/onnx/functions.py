"""ONNX operators that are imported as the functions by which the standard defines them."""

from __future__ import annotations

from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand


@handles("AffineGrid", "CausalConvWithState", "LinearAttention",
         "RotaryEmbedding", "SwiGLU")  # fmt: skip
def function(b: OnnxBuilder, node: OnnxNode) -> None:
    """As the standard's function: whatever the operators in that accept."""
    b.expand(node)


@handles("CenterCropPad")
def center_crop_pad(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with a constant shape."""
    b.const_of(node, 1, "shape")
    b.expand(node)


@handles("Attention")
def attention(b: OnnxBuilder, node: OnnxNode) -> None:
    """As the standard's function, with a constant nonpad_kv_seqlen."""
    if operand(node, 6):
        b.const_of(node, 6, "nonpad_kv_seqlen")
    b.expand(node)
