"""Keras files without TensorFlow: what names code is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import EdgekitError
from edgekit.frontends import keras_file
from edgekit.frontends.archive import Archive, pack
from edgekit.frontends.keras_file import check_config, cleaned


def layer(kind: str, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    made = {"class_name": kind, "config": {"name": kind.lower(), **config}}
    return made if module is None else {**made, "module": module, "registered_name": None}


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    dense = layer("Dense", units=4, activation="relu", kernel_initializer={
        "module": "keras.initializers", "class_name": "Zeros", "config": {},
        "registered_name": None})  # fmt: skip
    return layer("Sequential", "keras", layers=[dense, *layers])


def file(config: Any) -> bytes:
    files = {"metadata.json": b'{"keras_version": "3.15.1"}', "more.txt": b"x"}
    weights = {"model.weights.h5": b"h5"}
    return pack({**files, "config.json": json.dumps(config).encode(), **weights})


def test_layers_of_keras_are_kept_and_training_left_behind() -> None:
    config = {**model(), "compile_config": {"loss": layer("function", "my.losses")}}
    kept = Archive(cleaned(file(config), "m.keras"), "m")
    assert json.loads(kept.read("config.json")) == model()
    assert kept.read("model.weights.h5") == b"h5"
    assert "more.txt" not in kept.sizes


CODE = {
    "Lambda": (layer("Lambda", function={"class_name": "__lambda__", "config": {}}), "'lambda'"),
    "Lambda of Keras 2": (layer("Lambda", None, function=["4wEAAAA=", None, None]), "'lambda'"),
    "Lambda by a package's name": (layer("builtins>Lambda"), "Lambda layer"),
    "a function": (layer("Dense", activation=layer("function", "builtins")), "Python function"),
    "another package": (layer("Block", "antigravity"), "'antigravity.Block'"),
    "a function of Keras": (layer("get_file", "keras.utils"), "'keras.utils.get_file'"),
    "a registered class": ({**layer("Block"), "registered_name": "mine>Block"}, "mine>Block"),
    "a wrapped program": (layer("TFSMLayer", filepath="/tmp/x"), "runs a SavedModel"),
    "a layer that reads files": (layer("StringLookup", vocabulary="/etc/passwd"), "vocabulary"),
    "a class that is no name": ({"class_name": ["Lambda"], "config": {}}, "class is"),
    "a module that is no name": ({**layer("Dense"), "module": {}}, "class is"),
}


@pytest.mark.parametrize("what", CODE)
def test_code_is_refused(what: str) -> None:
    bad, word = CODE[what]
    nested = layer("TimeDistributed", layer=bad)
    for config in (model(bad), model(nested)):
        with pytest.raises(EdgekitError) as refusal:
            cleaned(file(config), "m.keras")
        assert refusal.value.code == "E161"
        assert word in str(refusal.value)


def test_every_layer_with_code_is_listed() -> None:
    with pytest.raises(EdgekitError, match="and 1 more") as refusal:
        check_config(model(layer("Lambda"), layer("Block", "mine")), "m.keras")
    assert len(refusal.value.details) == 1


@pytest.mark.parametrize(
    "data",
    [file([]), file({}), file("x"), file(None), pack({"config.json": b"{}"}),
     file(model()).replace(b"keras_version", b"keras_vers\xff\xff\xff")],
)  # fmt: skip
def test_damaged_files(data: bytes) -> None:
    with pytest.raises(EdgekitError) as refusal:
        cleaned(data, "m.keras")
    assert refusal.value.code == "E164"


def test_deep_nesting() -> None:
    config: Any = {}
    for _ in range(200):
        config = {"a": config}
    with pytest.raises(EdgekitError, match="nested 2"):
        cleaned(file({**model(), "x": config}), "m.keras")


def test_the_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgekit.cli import main
    from edgekit.frontends import require

    find: Callable[[str], Any] = lambda name: None  # noqa: E731
    monkeypatch.setattr(require.importlib.util, "find_spec", find)
    for name, extra in (("m.keras", "tensorflow"), ("m.pt2", "torch")):
        path = tmp_path / name
        path.write_bytes(
            file(model()) if extra == "tensorflow" else pack({"m/archive_format": b"pt2"})
        )
        assert main(["check", str(path)]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: E160 ") and f"pip install 'edgekit[{extra}]'" in said


def test_the_rules_name_no_class_twice() -> None:
    assert not set(keras_file._PROGRAMS) & set(keras_file._VALUES)
