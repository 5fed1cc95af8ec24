"""ONNX to a float graph: walks the nodes and lets one handler per operator append ours.

Handlers write canonical operators at once. Where ONNX works on NCHW, a handler puts a transpose to
NHWC in front and one back behind; the layout pass removes the pairs. So the graph has one layout
and one meaning at every moment, and no operator exists in two forms.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.importers.common import Unsupported, invalid
from edgekit.importers.onnx.builder import OnnxBuilder
from edgekit.importers.onnx.read import GRAPH_DTYPES, read
from edgekit.plugins import plugin_modules


def load_handlers() -> None:
    """Fill HANDLERS: every module of this folder may have some, and so may packages that add
    operators (`edgekit.plugins`)."""
    import importlib
    import pkgutil

    from edgekit.importers import onnx

    for info in pkgutil.iter_modules(onnx.__path__):
        importlib.import_module(f"{onnx.__name__}.{info.name}")
    plugin_modules("importer")


def import_onnx(
    path: Path, data: bytes, bind: dict[str, int] | None = None, *, dequantize: bool = False
) -> tuple[Graph, list[Unsupported]]:
    """The graph of an ONNX file before any pass, and the nodes that edgekit cannot express.

    Where the second is not empty the graph is incomplete and must not be used. Where the file is
    quantized the graph is a float one whose values have a `Grid` (`edgekit.importers.quantized`).

    Args:
        path: the file, for messages and to find external data.
        data: its content.
        bind: sizes of symbolic dimensions by name.
        dequantize: take the float network behind a quantized one.

    Raises:
        EdgekitError: E101 to E107 and E121, see `edgekit.importers`.
    """
    from edgekit.importers.onnx import quant

    load_handlers()
    model = read(path, data, bind or {})
    builder = OnnxBuilder(model, path.parent)
    kind = quant.kind_of(model)
    builder.dequantize = dequantize or kind != "static"
    if kind:
        builder.graph.metadata["quantized"] = kind
    builder.reserved.update(model.constants)
    for name, shape in model.inputs.items():
        builder.add_input(name, shape, GRAPH_DTYPES[model.dtypes[name]])
        if len(shape) == 4 and shape[0] > 1:
            builder.graph.metadata["note"] = (
                f"input '{name}' has {shape[0]} images, and every inference computes all of them; "
                "where that is the batch, export the model with batch 1"
            )
    builder.import_nodes(model.nodes)
    if not builder.found:
        _finish(builder, model.outputs)
        quant.check_inputs(builder)
    return builder.graph, builder.found


def _finish(builder: OnnxBuilder, outputs: Sequence[str]) -> None:
    """Give every graph output a tensor of its own name."""
    graph = builder.graph
    if len(set(outputs)) != len(outputs):
        raise invalid(f"an output is listed twice: {', '.join(outputs)}")
    for name in outputs:
        if name in builder.data:
            raise EdgekitError(
                "E103",
                f"output '{name}' is a constant: it does not depend on any input",
                help="remove the output, or export the model with its weights as inputs removed",
            )
        source = builder.alias.get(name, name)
        if source not in graph.values:
            raise invalid(f"output '{name}' is made by no node")
        if source != name or source in graph.inputs:
            out = name if name not in graph.values else builder.fresh(f"{name}:output")
            shape = builder.value(source).shape
            builder.reshape(source, shape, node=f"output {name}", out=out)
            name = out
        graph.outputs.append(name)
