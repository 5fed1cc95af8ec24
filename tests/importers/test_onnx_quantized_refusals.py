"""Quantized ONNX files that do not become integer graphs: why, and what mends them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import save, session
from qdq_models import Model

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.importers import load, unsupported
from edgekit.pipeline import compile
from edgekit.reference import run

RNG = np.random.default_rng(5)


def integers(*shape: int) -> np.ndarray:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def conv(m: Model, x: str, **attrs: Any) -> str:
    return m.node("Conv", x, m.weights(integers(4, 3, 3, 3), 0.01), **attrs)


def refused(
    m: Model, outputs: list[str] | str, folder: Path, code: str, *words: str
) -> EdgekitError:
    path = save(m.proto(*([outputs] if isinstance(outputs, str) else outputs)), folder)
    with pytest.raises(EdgekitError) as caught:
        load(path)
    error = caught.value
    assert error.code == code, str(error)
    assert "\n" not in error.message and error.help
    for word in words:
        assert word in str(error), str(error)
    return error


def image() -> Model:
    return Model(17, x=["n", 3, 8, 8])


# ---- quantized in part


def partly(rounded: bool = True) -> tuple[Model, str]:
    """A float convolution between two integer ones, with or without rounded activations."""
    m, rng = image(), np.random.default_rng(7)

    def fake(x: str, *grid: Any) -> str:
        return m.fake(x, *grid) if rounded else x

    w = [rng.integers(-127, 128, shape).astype(np.int8) for shape in ((4, 3, 3, 3), (2, 4, 1, 1))]
    y = fake(m.node("Conv", fake("x", 0.1, 3), m.weights(w[0], 0.01)), 1.0, 0)
    y = fake(m.node("Conv", y, m.constant(rng.standard_normal((4, 4, 3, 3)))), 4.0, 0)
    return m, m.node("Relu", m.node("Conv", y, m.weights(w[1], 0.01)))


def test_every_float_layer_is_listed(tmp_path: Path) -> None:
    m, y = partly()
    error = refused(m, y, tmp_path, "E120", "in part", "2 of its layers", "--calibration")
    assert [line.split("'")[1].split("_")[0] for line in error.details] == ["Conv", "Conv"]
    assert "weights are float32" in error.details[0]
    assert "result is not quantized" in error.details[1]
    found = unsupported(tmp_path / "model.onnx")
    assert [str(f) for f in found] == list(error.details)


def test_input_that_is_not_quantized(tmp_path: Path) -> None:
    m = image()
    y = m.fake(conv(m, "x"), 1.0, 0)
    refused(m, y, tmp_path, "E120", "'x' (input)")


def test_output_in_front_of_its_rounding(tmp_path: Path) -> None:
    """The real numbers are an output as well: rounding them would clip what is asked for."""
    m = image()
    y = conv(m, m.fake("x", 0.1, 3))
    rounded = m.fake(y, 1.0, -128)
    refused(m, [y, rounded], tmp_path, "E120", "Conv", "result is not quantized")


def test_asymmetric_weights(tmp_path: Path) -> None:
    m = Model(17, x=[1, 12])
    w = np.full((12, 4), 100, np.uint8)
    w[0, :2] = 0, 255
    y = m.node("Gemm", m.fake("x", 0.1, 3), m.weights(w, 0.01, np.uint8(100)))
    refused(m, m.fake(y, 1.0, 0), tmp_path, "E120", "asymmetric", "-100..155")


def test_the_float_network_behind_is_taken_with_calibration(tmp_path: Path) -> None:
    """What --calibration does with a model that is quantized in part."""
    m, y = partly()
    path = save(m.proto(y), tmp_path)
    graph = load(path, float_behind=True)
    assert {v.dtype for v in graph.values.values()} == {"float32"}
    assert all(v.quant is None for v in graph.values.values())
    assert "in part" in graph.metadata["note"]
    x = RNG.uniform(-10, 10, (4, 3, 8, 8)).astype(np.float32)
    got = run(graph, {"x": x.transpose(0, 2, 3, 1)})[y].transpose(0, 3, 1, 2)
    plain, out = partly(rounded=False)
    want = session(plain.proto(out).SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


# ---- dynamic quantization, weights only


def real_and_dynamic(m: Model, form: str) -> tuple[np.ndarray, str]:
    """A linear layer as ONNX Runtime's dynamic quantizer writes it, and its real weights."""
    # Weights of 7 bits: 16-bit sums of ONNX Runtime's kernels do not saturate.
    q, scale = integers(12, 4) // 2, np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    zero = np.array([0, 0, 0, 0], np.int8)
    bias = m.constant([1.0, 2.0, 3.0, 4.0])
    real = q * scale
    w = m.constant(q, np.int8)
    if form == "DynamicQuantizeMatMul":
        y = m.node(
            form, "x", w, m.constant(scale), m.constant(zero, np.int8), bias, domain="com.microsoft"
        )
        return real, y
    m.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dyn"))
    if form == "MatMulIntegerToFloat":
        y = m.node(form, "q", w, "s", m.constant(scale), "z", m.constant(zero, np.int8), bias,
                   domain="com.microsoft")  # fmt: skip
        return real, y
    y = m.node("Cast", m.node("MatMulInteger", "q", w, "z", m.constant(zero, np.int8)), to=1)
    return real, m.node("Add", m.node("Mul", y, m.node("Mul", "s", m.constant(scale))), bias)


@pytest.mark.parametrize("form", ["MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"])
def test_dynamic_quantization_is_the_float_network_behind_it(tmp_path: Path, form: str) -> None:
    m = Model(17, x=[1, 12])
    real, y = real_and_dynamic(m, form)
    graph = load(save(m.proto(y), tmp_path))
    assert [n.op for n in graph.nodes] == ["fully_connected"]
    assert "at run time" in graph.metadata["note"]
    x = RNG.standard_normal((5, 12)).astype(np.float32)
    np.testing.assert_allclose(
        run(graph, {"x": x})[y], x @ real + [1, 2, 3, 4], rtol=1e-5, atol=1e-6
    )
    if form != "DynamicQuantizeMatMul":
        want = session(m.proto(y).SerializeToString()).run(None, {"x": x[:1]})[0]
        assert np.abs(run(graph, {"x": x[:1]})[y] - want).max() < 0.2


def test_dynamic_convolution(tmp_path: Path) -> None:
    m = image()
    q = integers(4, 3, 3, 3)
    m.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dyn"))
    y = m.node(
        "ConvInteger", "q", m.constant(q, np.int8), "z", m.constant(0, np.int8), pads=[1] * 4
    )
    y = m.node("Mul", m.node("Cast", y, to=1), m.node("Mul", "s", m.constant(0.02)))
    y = m.node("Add", y, m.constant(np.arange(4).reshape(1, 4, 1, 1)))
    graph = load(save(m.proto(y), tmp_path))
    assert [n.op for n in graph.nodes] == ["conv2d"]
    w = graph.constants[graph.nodes[0].inputs[1]]
    np.testing.assert_allclose(w, q.transpose(0, 2, 3, 1) * 0.02, rtol=1e-6)


def test_weights_only(tmp_path: Path) -> None:
    """As tf2onnx writes a hybrid TFLite model; scales along the input axis do no harm here."""
    m = Model(17, x=[1, 12])
    q = integers(12, 4)
    scale = np.linspace(0.01, 0.02, 12).astype(np.float32)
    y = m.node("MatMul", "x", m.weights(q, scale, axis=0))
    graph = load(save(m.proto(y), tmp_path))
    assert "only weights" in graph.metadata["note"]
    x = RNG.standard_normal((5, 12)).astype(np.float32)
    np.testing.assert_allclose(
        run(graph, {"x": x})[y], x @ (q * scale[:, None]), rtol=1e-4, atol=1e-5
    )


def test_what_compile_says(tmp_path: Path) -> None:
    m = Model(17, x=[1, 12])
    path = save(m.proto(real_and_dynamic(m, "MatMulInteger")[1]), tmp_path)
    with pytest.raises(EdgekitError, match=r"E207.*run time") as caught:
        compile(path, output=tmp_path / "out")
    assert "--calibration" in caught.value.help
    m = Model(17, x=[1, 12])
    y = m.node("Gemm", m.fake("x", 0.1, 3), m.weights(integers(12, 4), 0.01))
    path = save(m.proto(m.fake(y, 1.0, 0)), tmp_path)
    with pytest.raises(EdgekitError, match=r"E206.*quantized already"):
        compile(path, output=tmp_path / "out", calibration={"x": np.ones((8, 12), np.float32)})
    assert not (tmp_path / "out").exists()


# ---- contradictions and what is not taken


@pytest.mark.parametrize(("dtype", "zero", "need"), [("int16", 5, "0"), ("uint16", 9, "32768")])
def test_16_bit_activations_off_the_middle(
    tmp_path: Path, dtype: str, zero: int, need: str
) -> None:
    m = Model(21, x=[1, 12])
    y = m.node("Gemm", m.fake("x", 0.001, zero, dtype), m.weights(integers(12, 4), 0.01))
    y = m.fake(y, 0.001, zero, dtype)
    refused(m, y, tmp_path, "E121", dtype, f"zero point {zero}", f"{need} is needed")
    graph = load(tmp_path / "model.onnx", float_behind=True)
    assert [n.op for n in graph.nodes] == ["fully_connected"]
    assert graph.values["x"].dtype == "float32"


def test_float8(tmp_path: Path) -> None:
    m = Model(19, x=[1, 12])
    zero = m.constant(helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    scale = m.constant(0.1)
    y = m.node("DequantizeLinear", m.node("QuantizeLinear", "x", scale, zero), scale, zero)
    refused(m, y, tmp_path, "E121", "float8")


def test_blocks_of_scales(tmp_path: Path) -> None:
    m = Model(21, x=[1, 12])
    names = [m.constant(integers(12, 4), np.int8), m.constant(np.ones((3, 4)))]
    w = m.node("DequantizeLinear", *names, axis=0, block_size=4)
    y = m.node("MatMul", m.fake("x", 0.1, 3), w)
    refused(m, m.fake(y, 1.0, 0), tmp_path, "E102", "block_size 4")


def test_scales_along_the_input_axis(tmp_path: Path) -> None:
    m = Model(17, x=[1, 12])
    y = m.node("MatMul", m.fake("x", 0.1, 3), m.weights(integers(12, 4), np.ones(12), axis=0))
    refused(m, m.fake(y, 1.0, 0), tmp_path, "E102", "axis 0")


def test_activation_per_channel(tmp_path: Path) -> None:
    m = image()
    names = m.parameters([0.1, 0.2, 0.3], [0, 0, 0], "int8")
    y = m.node("DequantizeLinear", m.node("QuantizeLinear", "x", *names, axis=1), *names, axis=1)
    refused(m, m.fake(conv(m, y), 1.0, 0), tmp_path, "E102", "3 scales")


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("where", ["activation", "weights"])
def test_impossible_scales(tmp_path: Path, scale: float, where: str) -> None:
    m = image()
    y = m.fake("x", scale if where == "activation" else 0.1, 3)
    y = m.node("Conv", y, m.weights(integers(4, 3, 3, 3), 0.01 if where == "activation" else scale))
    refused(m, m.fake(y, 1.0, 0), tmp_path, "E103", "scale")


@pytest.mark.parametrize(("scale", "words"), [(1e-38, "out of range"), (1e38, "infinite")])
def test_scales_out_of_range(tmp_path: Path, scale: float, words: str) -> None:
    m = image()
    y = m.node("Conv", m.fake("x", scale, 3), m.weights(integers(4, 3, 3, 3), scale))
    refused(m, m.fake(y, 1.0, 0), tmp_path, "E103", words)


def test_softmax_of_a_vanishing_scale(tmp_path: Path) -> None:
    m = Model(17, x=[1, 12])
    refused(m, m.node("Softmax", m.fake("x", 1e-12, 3)), tmp_path, "E103", "Softmax", "2**-26")


def test_dequantized_by_another_scale(tmp_path: Path) -> None:
    m = image()
    y = m.dequantize(m.quantize("x", 0.1, 3), 0.2, 3, "int8")
    refused(m, m.fake(conv(m, y), 1.0, 0), tmp_path, "E103", "0.1", "0.2")


def test_product_of_another_zero_point(tmp_path: Path) -> None:
    m = Model(17, x=[1, 12])
    q = m.quantize("x", 0.1, 3, "uint8")
    y = m.node("MatMulInteger", q, m.constant(integers(12, 4), np.int8), m.constant(7, np.uint8))
    y = m.node("Mul", m.node("Cast", y, to=1), m.constant(0.01))
    refused(m, m.fake(y, 1.0, 0), tmp_path, "E103", "-121", "-125")


def test_integer_input_without_a_scale(tmp_path: Path) -> None:
    m = image()
    m.kinds["x"] = "uint8"
    refused(m, conv(m, "x"), tmp_path, "E106", "'x'", "uint8")


@pytest.mark.parametrize(("op", "attrs"), [("Cast", {"to": 1}), ("Relu", {}), ("Softmax", {})])
@pytest.mark.parametrize("moved", [True, False])
def test_arithmetic_on_integers(
    tmp_path: Path, op: str, attrs: dict[str, int], moved: bool
) -> None:
    """Not on the reals that they stand for: taking one for the other would be wrong silently."""
    m = image()
    q = m.quantize("x", 0.1, 3)
    q = m.node("Transpose", q, perm=[0, 1, 3, 2]) if moved else q
    y = m.fake(conv(m, m.dequantize(q, 0.1, 3, "int8")), 1.0, 0)
    refused(m, [y, m.node(op, q, **attrs)], tmp_path, "E102", op, f"integers of '{q}'")


def test_sum_of_unknown_scale(tmp_path: Path) -> None:
    m = Model(17, x=[1, 12])
    m.kinds["x"] = "uint8"
    y = m.node("MatMulInteger", "x", m.constant(integers(12, 4), np.int8))
    refused(m, m.fake(m.node("Cast", y, to=1), 1.0, 0), tmp_path, "E102", "scale", "'x'")


STANDARD = ["QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger"]
CONTRIB = ["QGemm", "QLinearAdd", "QLinearSoftmax", "QLinearConcat", "MatMulIntegerToFloat",
           "DynamicQuantizeMatMul"]  # fmt: skip


@pytest.mark.parametrize("op", STANDARD + CONTRIB)
@pytest.mark.parametrize("count", range(9))
def test_operators_cut_short(tmp_path: Path, op: str, count: int) -> None:
    """Any number of operands, none of which fits: an error, never a traceback."""
    m = Model(17, x=["n", 3, 8, 8])
    names = ["x", *m.parameters(0.1, 3, "uint8"), m.constant(integers(4, 3), np.int8), "x"]
    names += [*m.parameters([0.1, 0.2], [3, 4], "int8"), m.constant([1, 2, 3], np.int32)]
    y = m.node(op, *names[:count], domain="" if op in STANDARD else "com.microsoft")
    path = save(m.proto(y), tmp_path)
    with pytest.raises(EdgekitError):
        load(path)


def test_operator_of_the_contrib_domain_that_is_not_known(tmp_path: Path) -> None:
    m = image()
    q = m.quantize("x", 0.1, 3, "uint8")
    names = m.parameters(0.1, 3, "uint8")
    y = m.node("QLinearWhere", q, *names, *names, domain="com.microsoft")
    refused(m, m.dequantize(y, *(0.1, 3, "uint8")), tmp_path, "E102", "QLinearWhere")


def whole() -> bytes:
    m = Model(17, x=["n", 3, 8, 8])
    x = m.fake("x", 0.1, 3)
    y = m.fake(m.node("Relu", conv(m, x, pads=[1] * 4)), 1.0, -128)
    y = m.fake(m.node("GlobalAveragePool", y), 0.3, 0, "uint8")
    y = m.node("Gemm", m.node("Flatten", y), m.weights(integers(4, 2), [0.1, 0.2], axis=1))
    return bytes(m.proto(m.node("Softmax", m.fake(y, 1.0, 0))).SerializeToString())


def test_truncated_or_damaged_anywhere(tmp_path: Path) -> None:
    data, path = whole(), tmp_path / "m.onnx"
    path.write_bytes(data)
    assert isinstance(load(path), Graph)
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(EdgekitError):
            load(path)
    rng = random.Random(1)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(damaged)
        for float_behind in (False, True):
            try:
                load(path, float_behind=float_behind)
            except EdgekitError as error:
                assert error.code.startswith("E1")


def test_scales_and_types_mixed_up(tmp_path: Path) -> None:
    """Every scale, zero point and constant replaced by one of another type or shape in turn."""
    import onnx

    path = tmp_path / "m.onnx"
    strange = [np.zeros(0, np.float32), np.ones((2, 2), np.float32), np.int8(-128), np.uint8(255),
               np.int64(1 << 40), np.array(["a"], object), np.bool_(True), np.float64(1e300),
               np.ones(3, np.float16), np.full((4, 3, 3, 3), 300, np.int16)]  # fmt: skip
    original = onnx.load_model_from_string(whole())
    for i in range(len(original.graph.initializer)):
        for value in strange:
            m = onnx.ModelProto()
            m.CopyFrom(original)
            name = m.graph.initializer[i].name
            m.graph.initializer[i].CopyFrom(numpy_helper.from_array(np.asarray(value), name))
            path.write_bytes(m.SerializeToString())
            for float_behind in (False, True):
                try:
                    load(path, float_behind=float_behind)
                except EdgekitError as error:
                    assert error.code.startswith("E1")
