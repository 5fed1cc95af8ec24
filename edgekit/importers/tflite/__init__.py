"""TFLite files to graphs: `load.import_tflite` walks the nodes, other modules hold handlers."""

from edgekit.importers.tflite.builder import HANDLERS, TfliteBuilder
from edgekit.importers.tflite.load import import_nodes, import_tflite, load_handlers

__all__ = ["HANDLERS", "TfliteBuilder", "import_nodes", "import_tflite", "load_handlers"]
