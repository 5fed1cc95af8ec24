"""ONNX files to graphs: `load.import_onnx` walks the nodes, other modules hold handlers by kind."""

from edgekit.importers.onnx.builder import HANDLERS, OnnxBuilder, handles
from edgekit.importers.onnx.load import import_onnx, load_handlers
from edgekit.importers.onnx.node import OnnxNode

__all__ = ["HANDLERS", "OnnxBuilder", "OnnxNode", "handles", "import_onnx", "load_handlers"]
