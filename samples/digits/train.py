"""Train the digits sample and write digits.onnx, digits_calibration.npz, digits_eval.npz.

Run ``python -m samples.digits.train``; it needs scikit-learn for the images and takes about a
minute. The committed files are what it wrote.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from samples.digits import CALIBRATION, EVALUATION, MODEL
from samples.digits.layers import Adam, Conv, Dense, GlobalAveragePool, Layer, Relu

SEED = 2026
EPOCHS = 80
SHIFTED = 0.4
HELD_OUT = 500
CALIBRATED = 128
#: Pixels are 0..16; the network trains on 0..1 and the factor moves into its first weights.
PIXEL_SCALE = np.float32(1 / 16)


def build(rng: np.random.Generator) -> list[Layer]:
    return [
        Conv(rng, 1, 16, 3),
        Relu(),
        Conv(rng, 16, 32, 3, stride=2),
        Relu(),
        Conv(rng, 32, 32, 3, depthwise=True),
        Relu(),
        Conv(rng, 32, 64, 1),
        Relu(),
        GlobalAveragePool(),
        Dense(rng, 64, 10),
    ]


def forward(layers: list[Layer], x: np.ndarray) -> np.ndarray:
    for layer in layers:
        x = layer.forward(x)
    return x


def shifted(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Some batches moved by up to one pixel in each direction."""
    if rng.random() >= SHIFTED:
        return x
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    i, j = rng.integers(0, 3, 2)
    return padded[:, i : i + x.shape[1], j : j + x.shape[2]]


def train(x: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> list[Layer]:
    """Cross entropy, Adam, cosine learning rate; x [n, 8, 8, 1] in 0..1."""
    layers = build(rng)
    optimizer = Adam(layers)
    targets = np.eye(10, dtype=np.float32)[labels]
    for epoch in range(EPOCHS):
        rate = 4e-3 * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = rng.permutation(len(x))
        for i in range(0, len(x), 32):
            rows = order[i : i + 32]
            z = forward(layers, shifted(rng, x[rows]))
            p = np.exp(z - z.max(axis=1, keepdims=True))
            gradient = (p / p.sum(axis=1, keepdims=True) - targets[rows]) / len(rows)
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            optimizer.update(rate)
    return layers


def to_onnx(layers: list[Layer]) -> onnx.ModelProto:
    """NCHW as exporters write it: image [N, 1, 8, 8] of pixels 0..16, opset 17."""
    nodes, constants, x = [], [], "image"

    def constant(name: str, data: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    for k, layer in enumerate(layers):
        y = f"layer{k}"
        if isinstance(layer, Conv):
            w, bias = layer.params
            weights = (w[..., None, :] if layer.depthwise else w).transpose(3, 2, 0, 1)
            operands = [
                x,
                constant(f"{y}_w", weights * PIXEL_SCALE if k == 0 else weights),
                constant(f"{y}_b", bias),
            ]
            attrs = {
                "kernel_shape": [layer.kernel] * 2,
                "strides": [layer.stride] * 2,
                "pads": [layer.kernel // 2] * 4,
                "group": w.shape[2] if layer.depthwise else 1,
            }
            nodes.append(helper.make_node("Conv", operands, [y], y, **attrs))
        elif isinstance(layer, Relu):
            nodes.append(helper.make_node("Relu", [x], [y], y))
        elif isinstance(layer, GlobalAveragePool):
            nodes.append(helper.make_node("GlobalAveragePool", [x], [y + "_mean"], y))
            nodes.append(helper.make_node("Flatten", [y + "_mean"], [y], y + "_flat", axis=1))
        else:
            operands = [x, constant(f"{y}_w", layer.params[0]), constant(f"{y}_b", layer.params[1])]
            nodes.append(helper.make_node("Gemm", operands, ["logits"], y))
            y = "logits"
        x = y
    nodes.append(helper.make_node("Softmax", [x], ["probabilities"], "softmax", axis=-1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="edgekit-samples"
    )
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(digits.images))
    pixels = digits.images.astype(np.uint8)[order][:, None]  # [n, 1, 8, 8]
    labels = digits.target.astype(np.int64)[order]
    held, rest = slice(0, HELD_OUT), slice(HELD_OUT, None)
    x = pixels.transpose(0, 2, 3, 1).astype(np.float32) * PIXEL_SCALE
    layers = train(x[rest], labels[rest], rng)
    correct = forward(layers, x[held]).argmax(axis=1) == labels[held]
    print(f"held-out accuracy {100 * correct.mean():.1f} % of {HELD_OUT}")
    onnx.save(to_onnx(layers), MODEL)
    np.savez_compressed(CALIBRATION, image=pixels[rest][:CALIBRATED])
    np.savez_compressed(EVALUATION, image=pixels[held], label=labels[held])


if __name__ == "__main__":
    main()
