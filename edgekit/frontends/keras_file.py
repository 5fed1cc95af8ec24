"""Keras files (.keras), made safe to load, and the rules of what a Keras configuration may name.

A configuration names classes by module, and Keras imports what it names. Lambda layers carry Python
bytecode; some layers wrap programs of other frameworks or read files. Keras' own `safe_mode` stops
the first only, so the rules here are a list of what is taken.
"""

from __future__ import annotations

import json
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.frontends.archive import Archive, pack
from edgekit.frontends.documents import parse

#: Where classes of a configuration may come from; files of Keras 2 name no module.
_MODULES = ("keras", "keras.activations", "keras.constraints", "keras.dtype_policies",
            "keras.initializers", "keras.layers", "keras.models", "keras.regularizers",
            "keras.src.models.functional", "keras.src.models.sequential", "builtins",
            "keras.src.engine.functional", "keras.engine.functional", None)  # fmt: skip
#: Classes of Keras that hold code, wrap another framework's program, or read files.
_PROGRAMS = {
    "Lambda": "a Lambda layer",
    "__lambda__": "a Python function",
    "function": "a Python function",
    "TFSMLayer": "a layer that runs a SavedModel",
    "TorchModuleWrapper": "a layer that runs a PyTorch module",
    "JaxLayer": "a layer that runs a JAX function",
    "FlaxLayer": "a layer that runs a Flax module",
    "StringLookup": "a layer that reads a vocabulary",
    "IntegerLookup": "a layer that reads a vocabulary",
    "TextVectorization": "a layer that reads a vocabulary",
}
#: Values that Keras stores as if they were objects.
_VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__",
           "__typespec__", "__tuple__", "TensorShape")  # fmt: skip
WITHOUT = (
    "build the model from Keras' own layers, or export it to ONNX where its code is and give that "
    "file"
)


def cleaned(data: bytes, name: str) -> bytes:
    """An archive with the checked configuration and the weights, and nothing else.

    Raises:
        EdgekitError: E161 where the configuration names code, E164 where the archive is damaged or
            would unpack to absurd sizes.
    """
    archive = Archive(data, name)
    config = parse(archive.read("config.json"), "'config.json'")
    check_config(config, name)
    # How it was trained: losses and metrics are often the user's own functions.
    config.pop("compile_config", None)
    metadata = parse(archive.read("metadata.json"), "'metadata.json'")
    if not isinstance(metadata, dict):
        raise archive.damaged("'metadata.json' holds no table")
    return pack(
        {
            "metadata.json": json.dumps(metadata).encode(),
            "config.json": json.dumps(config).encode(),
            "model.weights.h5": archive.read("model.weights.h5"),
        }
    )


def check_config(config: Any, name: str) -> None:
    """Refuse what is not made of Keras' own layers.

    Raises:
        EdgekitError: E161 naming every offending object, E164 where it is no configuration.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise EdgekitError(
            "E164", f"{name}: its configuration describes no model", help="save the model again"
        )
    found = [w for w in (_wrong(item) for item in _objects(config)) if w]
    if found:
        raise EdgekitError(
            "E161",
            f"{name} holds code: {found[0]}" + (f", and {len(found) - 1} more" * (len(found) > 1)),
            help=WITHOUT,
            details=found[1:],
        )


def _objects(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Every table that names a class, but for what is left behind."""
    objects, rest = [], [value for key, value in config.items() if key != "compile_config"]
    objects.append(config)
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            if "class_name" in item or "module" in item:
                objects.append(item)
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return objects


def _wrong(item: dict[str, Any]) -> str:
    """Why an object is refused, '' where it is not."""
    kind, module = item.get("class_name"), item.get("module")
    config = item.get("config")
    called = config.get("name") if isinstance(config, dict) else None
    label = f"'{called}'" if isinstance(called, str) else f"'{str(kind)[:100]}'"
    if not isinstance(kind, str) or not (module is None or isinstance(module, str)):
        return f"{label} whose class is {str(kind)[:100]}"
    plain = kind.replace(">", ".").split(".")[-1]
    if plain in _PROGRAMS:
        return f"{label} is {_PROGRAMS[plain]}"
    if kind in _VALUES:
        return ""
    registered = item.get("registered_name")
    if module not in _MODULES or (registered is not None and module is None):
        return f"{label} is a '{str(module)[:99]}.{kind[:99]}', which is not Keras' own"
    if registered not in (None, kind):
        return f"{label} is registered as '{str(registered)[:99]}', which is not Keras' own"
    return ""
