"""The process that turns a Keras model or a SavedModel into a float .tflite file.

TensorFlow's own converter does it, for a batch of one. Inputs and outputs get the names that the
Keras model gives them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.frontends.keras_file import WITHOUT, check_config
from edgekit.frontends.keras_lstm import use_fusable_lstm
from edgekit.frontends.recognise import Kind
from edgekit.frontends.text import first_line
from edgekit.frontends.worker import answer

#: Operators of TensorFlow that run Python, or touch files, while a model is loaded or run.
_PROGRAMS = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles",
             "LoadLibrary", "Save", "SaveSlices", "DebugIdentity", "PrintV2")  # fmt: skip


def convert(kind: str, source: Path, result: Path) -> None:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    if kind == Kind.SAVED_MODEL.value:
        _check_saved_model(source)
        model, function, names = _of_saved_model(tf, source)
    else:
        if kind == Kind.H5.value:
            _check_h5(source)
        else:
            _check_weights(source)
        use_fusable_lstm()
        model, function, names = _of_keras(source)
    # Through a SavedModel: on the converter's other ways recurrent layers come apart.
    saved = result.with_suffix(".saved_model")
    module = tf.Module()
    module.model = model
    # Keras' own variables hold TensorFlow's: the converter looks for the latter.
    module.held = [getattr(v, "value", v) for v in getattr(model, "variables", [])]
    try:
        tf.saved_model.save(module, str(saved), signatures=function)
        converted = tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert()
    except Exception as error:  # the converter raises all kinds
        raise EdgekitError(
            "E162",
            f"TensorFlow's converter refuses the model: {first_line(error)}",
            help="replace what it names, or export the model to ONNX and give that file",
        ) from None
    result.write_bytes(_named(converted, *names))


#: Names in the model of "input_0" and so on, and of "output_0" and so on.
Names = tuple[list[str], list[str]]


def _of_keras(source: Path) -> tuple[Any, Any, Names]:
    """A Keras model, its function for one sample, and the names of inputs and outputs."""
    import keras
    import tensorflow as tf

    try:
        model = keras.saving.load_model(source, compile=False, safe_mode=True)
        inputs = list(model.inputs)
        specs = [
            tf.TensorSpec((1, *_static(i.shape[1:], i.name)), i.dtype, name=f"input_{n}")
            for n, i in enumerate(inputs)
        ]
    except EdgekitError:
        raise
    except Exception as error:  # Keras raises all kinds
        raise EdgekitError(
            "E162",
            f"Keras {keras.__version__} cannot load it: {first_line(error)}",
            help="save it with this version of Keras; models of Keras 2: model.export(FOLDER) "
            "there, and give that folder",
        ) from None
    names: list[str] = []

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)
        if isinstance(outputs, dict):
            names[:] = list(outputs)
            return _counted(list(outputs.values()))
        flat = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        known = list(getattr(model, "output_names", [model.layers[-1].name]))
        names[:] = known if len(known) == len(flat) else [f"output_{i}" for i in range(len(flat))]
        return _counted(flat)

    function = tf.function(call, autograph=False).get_concrete_function(*specs)
    return model, function, ([i.name for i in inputs], names)


def _static(shape: tuple[int | None, ...], name: str) -> list[int]:
    if any(d is None for d in shape):
        raise EdgekitError(
            "E104",
            f"input '{name}' has the shape {list(shape)} without a fixed size",
            help="save the model with the sizes that the device will see",
        )
    return [int(d) for d in shape if d is not None]


def _counted(tensors: list[Any]) -> dict[str, Any]:
    return {f"output_{i}": tensor for i, tensor in enumerate(tensors)}


def _of_saved_model(tf: Any, folder: Path) -> tuple[Any, Any, Names]:
    """A SavedModel, its serving function for one sample, and the names of inputs and outputs."""
    try:
        model = tf.saved_model.load(str(folder))
        functions = dict(model.signatures)
    except Exception as error:
        raise EdgekitError(
            "E162",
            f"TensorFlow {tf.__version__} cannot load it: {first_line(error)}",
            help="save it with this version of TensorFlow: model.export(FOLDER)",
        ) from None
    serving = functions.get("serving_default") or next(iter(functions.values()), None)
    if serving is None:
        raise EdgekitError(
            "E162",
            "it has no signature that could be called",
            help="save it with model.export(FOLDER), or tf.saved_model.save(..., signatures=...)",
        )
    specs = dict(sorted(serving.structured_input_signature[1].items()))
    inputs: list[Any] = []
    for name, spec in specs.items():
        shape = spec.shape.as_list() if spec.shape.rank else []
        shape = [1, *_static(tuple(shape[1:]), name)]
        inputs.append(tf.TensorSpec(shape, spec.dtype, name=f"input_{len(inputs)}"))
    outputs = sorted(serving.structured_outputs)

    def call(*tensors: Any) -> dict[str, Any]:
        result = serving(**dict(zip(specs, tensors, strict=True)))
        return _counted([result[name] for name in outputs])

    function = tf.function(call, autograph=False).get_concrete_function(*inputs)
    return model, function, (list(specs), outputs)


def _named(model: bytes, inputs: list[str], outputs: list[str]) -> bytes:
    """The .tflite file with these names of inputs and outputs; each must be unlike all others."""
    from tensorflow.lite.tools import flatbuffer_utils

    parsed = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    graph, signature = parsed.subgraphs[0], parsed.signatureDefs[0]
    taken = {t.name for t in graph.tensors}
    for kind, maps, names in (("input", signature.inputs, inputs),
                              ("output", signature.outputs, outputs)):  # fmt: skip
        at = {m.name.decode(): m.tensorIndex for m in maps}
        for i, name in enumerate(names):
            while name.encode() in taken:
                name += f"_{kind}"
            taken.add(name.encode())
            graph.tensors[at[f"{kind}_{i}"]].name = name.encode()
        # In the model's order: the converter sorts.
        setattr(graph, f"{kind}s", [at[f"{kind}_{i}"] for i in range(len(names))])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def _check_h5(source: Path) -> None:
    """The configuration inside an HDF5 file, and links that lead out of it."""
    import h5py

    try:
        with h5py.File(source, "r") as file:
            config = file.attrs.get("model_config")
            _check_links(file)
    except EdgekitError:
        raise
    except Exception as error:
        raise _damaged(f"does not decode: {first_line(error)}") from None
    if config is None:
        raise EdgekitError(
            "E162",
            "the file holds weights without a model",
            help="save the whole model: model.save('model.keras')",
        )
    try:
        parsed = json.loads(config)
    except (ValueError, TypeError, RecursionError):
        raise _damaged("holds a configuration that is no JSON") from None
    check_config(parsed, "the file")


def _check_weights(source: Path) -> None:
    import io
    import zipfile

    import h5py

    with zipfile.ZipFile(source) as archive:
        weights = archive.read("model.weights.h5")
    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            _check_links(file)
    except EdgekitError:
        raise
    except Exception as error:
        raise _damaged(f"holds weights that do not decode: {first_line(error)}") from None


def _damaged(what: str) -> EdgekitError:
    return EdgekitError("E164", f"the file {what}", help="save the model again")


def _check_links(group: Any, depth: int = 0) -> None:
    """HDF5 can take parts from other files, and a link can lead back to a group it lies in."""
    import h5py

    if depth > 50:
        raise _damaged("has groups nested more than 50 deep")
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise EdgekitError(
                "E161",
                f"'{name}' is a link, which may lead to another file",
                help="save the model again",
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_links(item, depth + 1)
        elif item.external or item.is_virtual:
            raise EdgekitError(
                "E161", f"'{name}' takes its data from another file", help="save the model again"
            )


def _check_saved_model(folder: Path) -> None:
    """Operators that run Python or touch files, in any function of the SavedModel."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise _damaged(f"'saved_model.pb' does not decode: {error}") from None
    found = sorted({op for graph in saved.meta_graphs for op in _operators(graph.graph_def)
                    if op in _PROGRAMS})  # fmt: skip
    if found:
        raise EdgekitError(
            "E161", f"it calls {', '.join(found)}: code or files of its own", help=WITHOUT
        )


def _operators(graph: Any) -> Iterator[str]:
    yield from (node.op for node in graph.node)
    for function in graph.library.function:
        yield from (node.op for node in function.node_def)


if __name__ == "__main__":
    answer(convert)
