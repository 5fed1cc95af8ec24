"""Model files to canonical graphs.

Errors, all `EdgekitError`:

    E101  no such file, or not a model        E105  external data refused or missing
    E102  unsupported operators, all listed   E106  a kind of model that is not taken
    E103  the model contradicts itself        E107  absurd sizes
    E104  an axis without a fixed size
"""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.importers.common import Unsupported, unsupported_error

__all__ = ["Unsupported", "import_raw", "load", "unsupported"]


def load(path: Path, *, bind: dict[str, int] | None = None) -> Graph:
    """The canonical graph of an ONNX or TFLite file (told apart by content, not by name).

    Args:
        bind: sizes of symbolic dimensions of an ONNX file, by name. The batch needs none.

    Returns:
        A verified graph: NHWC, batch 1, canonical operators only; float32 from ONNX, int8 from
        TFLite. `metadata["layout"]` names inputs and outputs that the file declares as NCHW.

    Raises:
        EdgekitError: E101 to E107; E102 has one line of details per unsupported node.
    """
    graph, found = _canonical(Path(path), bind)
    if found:
        raise unsupported_error(Path(path).name, found)
    return graph


def import_raw(path: Path, *, bind: dict[str, int] | None = None) -> Graph:
    """The graph as imported, before any pass; arguments and errors as for `load`."""
    graph, found = _import(Path(path), bind)
    if found:
        raise unsupported_error(Path(path).name, found)
    return graph.verify()


def unsupported(path: Path, *, bind: dict[str, int] | None = None) -> list[Unsupported]:
    """Every node of the file that edgekit cannot express, empty where it can compile the model.

    Raises:
        EdgekitError: as `load`, except E102.
    """
    return _canonical(Path(path), bind)[1]


def _canonical(path: Path, bind: dict[str, int] | None) -> tuple[Graph, list[Unsupported]]:
    from edgekit.passes import canonicalize

    graph, found = _import(path, bind)
    if found:
        return graph, found
    graph = canonicalize(graph)
    for node in graph.nodes:
        shape = graph.values[node.output].shape
        if shape[:1] != (1,):
            # Reshapes that pass through such a shape are merged by now; what is left would mix
            # samples wherever several run at once.
            reason = f"its result {list(shape)} has no batch axis of 1 in front"
            found.append(Unsupported(node.name, node.op, reason))
    return graph, found


def _import(path: Path, bind: dict[str, int] | None) -> tuple[Graph, list[Unsupported]]:
    data = _read(path)
    if data[4:8] == b"TFL3":
        from edgekit.importers.tflite import import_tflite

        if bind:
            raise EdgekitError(
                "E104", "--bind is for ONNX files: shapes in TFLite files are fixed", help="drop it"
            )
        return import_tflite(path, data)
    from edgekit.importers.onnx import import_onnx

    return import_onnx(path, data, bind)


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise EdgekitError(
                "E101", f"{path} is a directory", help="give the .onnx or .tflite file in it"
            )
        if path.exists() and not path.is_file():
            raise EdgekitError("E101", f"{path} is not a regular file", help="check the path")
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or error
        raise EdgekitError("E101", f"cannot read {path}: {why}", help="check the path") from None
    if not data:
        raise EdgekitError("E101", f"{path.name} is empty (0 bytes)", help="export the model again")
    return data
