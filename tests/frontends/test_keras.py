"""Keras and TensorFlow models through TensorFlow's converter. Takes TensorFlow, 1.6 GB: skipped
where it is missing, in CI too."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.cli import main
from edgekit.errors import EdgekitError
from edgekit.importers import load
from edgekit.reference import run

if any(importlib.util.find_spec(m) is None for m in ("tensorflow", "keras")):
    pytest.skip("needs TensorFlow: pip install 'edgekit[tensorflow]'", allow_module_level=True)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras

layers = keras.layers


def cnn() -> Any:
    return keras.Sequential(
        [
            layers.Input((16, 16, 3), name="image"),
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.SeparableConv2D(8, 3),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(4, activation="softmax", name="scores"),
        ],
        name="tiny",
    )


def two() -> Any:
    b, a = layers.Input((8,), name="b"), layers.Input((8,), name="a")
    h = layers.Add()([layers.Dense(8, activation="relu")(b), a])
    outputs = {"z": layers.Dense(3)(h), "logits": layers.Dense(2)(h)}
    return keras.Model([b, a], outputs, name="two")


def randomized(model: Any) -> Any:
    rng = np.random.default_rng(0)
    for w in model.weights:
        w.assign(np.abs(rng.normal(0, 0.5, w.shape)) if "variance" in w.path
                 else rng.normal(0, 0.5, w.shape))  # fmt: skip
    return model


def saved(model: Any, path: Path) -> Path:
    if path.suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)
    return path


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "folder"])
def test_an_image_network(tmp_path: Path, name: str) -> None:
    model = randomized(cnn())
    graph = load(saved(model, tmp_path / name))
    x = np.random.default_rng(1).random((1, 16, 16, 3)).astype(np.float32)
    got = run(graph, {graph.inputs[0]: x})
    if name == "m.keras":
        assert (graph.inputs, graph.outputs) == (["image"], ["scores"])
    want = model(x, training=False).numpy()
    np.testing.assert_allclose(got[graph.outputs[0]], want, rtol=1e-4, atol=1e-5)


def test_names_and_order_of_several(tmp_path: Path) -> None:
    model = randomized(two())
    graph = load(saved(model, tmp_path / "two.keras"))
    assert (graph.inputs, graph.outputs) == (["b", "a"], ["z", "logits"])
    rng = np.random.default_rng(1)
    feeds = {name: rng.random((1, 8)).astype(np.float32) for name in graph.inputs}
    got, want = run(graph, feeds), model([feeds["b"], feeds["a"]], training=False)
    for name in graph.outputs:
        np.testing.assert_allclose(got[name], want[name].numpy(), rtol=1e-4, atol=1e-5)


def test_lstm_layers_become_one_operator_each(tmp_path: Path) -> None:
    """By the converter's own interpreter; edgekit's side of the operator is tested elsewhere."""
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found]

    from edgekit.frontends.convert import converted
    from edgekit.frontends.recognise import Kind

    inputs = layers.Input((12, 5))
    h = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(inputs)
    model = randomized(keras.Model(inputs, layers.LSTM(4, use_bias=False)(h)))
    file = converted(saved(model, tmp_path / "rnn.keras"), Kind.KERAS)
    interpreter = Interpreter(model_content=file)
    operators = [d["op_name"] for d in interpreter._get_ops_details()]
    assert operators.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 3 and "WHILE" not in operators
    x = np.random.default_rng(1).random((1, 12, 5)).astype(np.float32)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(got, model(x, training=False).numpy(), atol=1e-6)


def test_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, data = saved(randomized(cnn()), tmp_path / "tiny.keras"), tmp_path / "data.npz"
    np.savez(data, image=np.random.default_rng(0).random((8, 16, 16, 3)))
    out = tmp_path / "out"
    assert main(["compile", str(path), "--calibration", str(data), "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert "tiny for cortex-m4" in said.out and said.err == ""


def test_code_in_files_of_keras_2_and_3(tmp_path: Path) -> None:
    model = keras.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x + 1)])
    for name in ("m.keras", "m.h5"):
        with pytest.raises(EdgekitError, match="Lambda layer") as refusal:
            load(saved(model, tmp_path / name))
        assert refusal.value.code == "E161"


def test_links_out_of_a_weight_file(tmp_path: Path) -> None:
    import h5py  # type: ignore[import-not-found]

    path = saved(cnn(), tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file["model_weights/more"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(EdgekitError, match="link") as refusal:
        load(path)
    assert refusal.value.code == "E161"


def test_a_saved_model_that_runs_python(tmp_path: Path) -> None:
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])  # type: ignore[misc]
        def __call__(self, x: Any) -> Any:
            return tf.numpy_function(lambda v: v, [x], tf.float32)

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.__call__)
    with pytest.raises(EdgekitError, match="PyFunc") as refusal:
        load(tmp_path / "m")
    assert refusal.value.code == "E161"


def test_what_the_converter_refuses_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(EdgekitError) as refusal:
        load(tmp_path / "m.h5")
    assert refusal.value.code == "E164"
    model = keras.Sequential([layers.Input((None, 4)), layers.Dense(2)])
    with pytest.raises(EdgekitError, match="without a fixed size") as refusal:
        load(saved(model, tmp_path / "m.keras"))
    assert refusal.value.code == "E104"
