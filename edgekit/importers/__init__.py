"""Model files to canonical graphs.

Errors, all `EdgekitError`:

    E101  no such file, or not a model        E105  external data refused or missing
    E102  unsupported operators, all listed   E106  a kind of model that is not taken
    E103  the model contradicts itself        E107  absurd sizes
    E104  an axis without a fixed size        E120  quantized in part
                                              E121  activations of a type that is not taken
and E160 to E164 for the files of PyTorch and Keras (`edgekit.frontends`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.frontends import Kind, recognise
from edgekit.graph import Graph
from edgekit.importers.common import Unsupported, unsupported_error
from edgekit.importers.integer import to_integer
from edgekit.importers.quantized import float_layers_error, has_activation_grids

__all__ = ["Unsupported", "handlers", "import_raw", "load", "unsupported"]


def load(path: Path, *, bind: dict[str, int] | None = None, float_behind: bool = False) -> Graph:
    """The canonical graph of a model file (told apart by content, not by name).

    ONNX and TFLite are read here; .pt2, .keras, .h5 and SavedModel folders by the framework's own
    converter first, in a process of its own.

    Args:
        bind: sizes of symbolic dimensions of an ONNX file, by name. The batch needs none.
        float_behind: where a quantized ONNX model cannot become an integer graph as a whole, take
            the float network behind it.

    Returns:
        A verified graph: NHWC, batch 1, canonical operators only; int8 where the file is
        quantized, activations included, else float32. `metadata["layout"]` names inputs and
        outputs that the file declares as NCHW, `metadata["note"]` says where a float graph comes
        from a file that was quantized.

    Raises:
        EdgekitError: E101 to E107, E120, E121; E102 and E120 have one line of details per node.
    """
    path = Path(path)
    try:
        graph, found, in_part = _canonical(path, bind)
    except EdgekitError as error:
        if not float_behind or error.code != "E121":
            raise
        graph, found, in_part = _canonical(path, bind, dequantize=True)
    if in_part and float_behind:
        graph, found, in_part = _canonical(path, bind, dequantize=True)
    if found:
        raise (float_layers_error if in_part else unsupported_error)(path.name, found)
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


def handlers(kind: str) -> dict[str, Callable[..., None]]:
    """The functions that import the operators of "onnx" or "tflite" files, by operator; their
    docstrings say what they take."""
    if kind == "onnx":
        from edgekit.importers import onnx

        onnx.load_handlers()
        return dict(onnx.HANDLERS)
    from edgekit.importers import tflite

    tflite.load_handlers()
    return dict(tflite.HANDLERS)


#: What is said of a float graph that comes from a file that was quantized, by kind of the latter.
NOTES = {
    "static": "the file is quantized in part; its own scales were dropped for new ones",
    "dynamic": "the file quantizes activations at run time, which needs float arithmetic; its int8 "
    "weights were taken for the reals that they stand for",
    "weights": "in the file only weights are quantized; they were taken for the reals that they "
    "stand for",
}


def _canonical(
    path: Path, bind: dict[str, int] | None, dequantize: bool = False
) -> tuple[Graph, list[Unsupported], bool]:
    """The canonical graph, what keeps it from being one, and whether that is float layers only."""
    from edgekit.passes import canonicalize

    graph, found = _import(path, bind, dequantize)
    if found:
        return graph, found, False
    kind = graph.metadata.pop("quantized", "")
    graph = canonicalize(graph)
    if has_activation_grids(graph):
        graph, found = to_integer(graph)
        if found:
            return graph, found, True
        graph = canonicalize(graph)
    elif kind:
        graph.metadata["note"] = NOTES[kind]
    return graph, found, False


def _import(
    path: Path, bind: dict[str, int] | None, dequantize: bool = False
) -> tuple[Graph, list[Unsupported]]:
    data = _content(path)
    if data[4:8] == b"TFL3":
        from edgekit.importers.tflite import import_tflite

        if bind:
            raise EdgekitError(
                "E104", "--bind is for ONNX files: shapes in TFLite files are fixed", help="drop it"
            )
        return import_tflite(path, data)
    from edgekit.importers.onnx import import_onnx

    return import_onnx(path, data, bind, dequantize=dequantize)


def _content(path: Path) -> bytes:
    """The bytes of an ONNX or TFLite file; other frameworks' models are converted to one."""
    from edgekit.frontends.convert import converted

    if (path / "saved_model.pb").is_file():
        return converted(path, Kind.SAVED_MODEL)
    data = _read(path)
    kind = recognise(path, data)
    return data if kind is None else converted(path, kind)


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise EdgekitError(
                "E101",
                f"{path} is a directory without a saved_model.pb",
                help="give the model file in it",
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
