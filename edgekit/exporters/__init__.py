"""Graphs to model files that other tools open."""

from edgekit.exporters.onnx import save_onnx, to_onnx

__all__ = ["save_onnx", "to_onnx"]
