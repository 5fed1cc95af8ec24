"""Files that cannot be imported: each is an EdgekitError with a code, a line and a help line."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import model, save
from shared import SHARED, needs_shared

from edgekit.errors import EdgekitError
from edgekit.importers import load, unsupported

RELU = helper.make_node("Relu", ["x"], ["y"], name="act")


def relu(shape: list[Any], **kwargs: Any) -> onnx.ModelProto:
    return model([RELU], {"x": shape}, ["y"], **kwargs)


def refused(path: Path, code: str, *words: str, **kwargs: Any) -> EdgekitError:
    """Loading must fail with this code, with these words in its one line, and with help."""
    with pytest.raises(EdgekitError) as caught:
        load(path, **kwargs)
    error = caught.value
    assert error.code == code, str(error)
    assert "\n" not in error.message
    assert error.help
    for word in words:
        assert word in str(error)
    return error


# ---- the file


def test_missing_file_and_directory(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "E101", "none.onnx")
    refused(tmp_path, "E101", "directory")
    refused(Path("/dev/null"), "E101", "regular file")
    refused(Path("a\0b"), "E101")


@pytest.mark.parametrize("data", [b"", b"\0", b"hello world, this is text", b"\x00" * 64])
def test_not_a_model(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    refused(path, "E101", "m.onnx")


def test_truncated_anywhere(tmp_path: Path) -> None:
    data = relu([1, 4], constants={"w": np.ones(100, np.float32)}).SerializeToString()
    path = tmp_path / "m.onnx"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(EdgekitError):
            load(path)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_garbage(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.onnx"
    path.write_bytes(data)
    with pytest.raises(EdgekitError):
        load(path)


@needs_shared
@pytest.mark.parametrize("name", ["mlperf_tiny_sww_float32", "torch213_exp_cnn_ts"])
def test_damaged_bytes(tmp_path: Path, name: str) -> None:
    """Whatever a flipped byte does, it is either no harm or an EdgekitError."""
    data = (SHARED / "models" / f"{name}.onnx").read_bytes()
    rng = random.Random(name)
    path = tmp_path / "m.onnx"
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 5)):
            # Most bytes are weights; the structure is near both ends.
            at = rng.choice(
                [rng.randrange(len(data)), rng.randrange(3000), -rng.randrange(1, 6000)]
            )
            damaged[at] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except EdgekitError as error:
            assert error.code.startswith("E10")


# ---- the graph


def test_undefined_name(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "ghost"], ["y"], name="sum")
    refused(save(model([node], {"x": [1, 4]}, ["y"]), tmp_path), "E103", "sum", "ghost")


def test_cycle(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
    ]
    refused(save(model(nodes, {"x": [1, 4]}, ["b"]), tmp_path), "E103", "cycle")
    loop = helper.make_node("Add", ["x", "y"], ["y"], name="loop")
    refused(save(model([loop], {"x": [1, 4]}, ["y"]), tmp_path), "E103", "cycle", "loop")


def test_long_chain_of_nodes(tmp_path: Path) -> None:
    """Sorting does not recurse."""
    nodes = [helper.make_node("Neg", [f"t{i}"], [f"t{i + 1}"]) for i in range(1500)]
    refused(save(model([*nodes[::-1]], {"x": [1, 4]}, ["t1500"]), tmp_path), "E103", "t0")


def test_defined_twice(tmp_path: Path) -> None:
    refused(save(model([RELU, RELU], {"x": [1, 4]}, ["y"]), tmp_path), "E103", "'y'", "twice")


def test_no_nodes_outputs_or_inputs(tmp_path: Path) -> None:
    refused(save(model([], {"x": [1, 4]}, ["y"]), tmp_path), "E103", "0 nodes")
    refused(save(model([RELU], {"x": [1, 4]}, []), tmp_path), "E103", "0 outputs")
    constant = helper.make_node("Constant", [], ["x"], value_float=1.0)
    refused(save(model([constant, RELU], {}, ["y"]), tmp_path), "E103", "no inputs")


def test_output_that_nothing_makes_or_that_is_constant(tmp_path: Path) -> None:
    refused(save(model([RELU], {"x": [1, 4]}, ["z"]), tmp_path), "E103", "'z'")
    constants = {"c": np.ones(4, np.float32)}
    refused(save(model([RELU], {"x": [1, 4]}, ["c"], constants), tmp_path), "E103", "'c'")


def test_input_without_type_or_shape(tmp_path: Path) -> None:
    m = relu([1, 4])
    m.graph.input[0].ClearField("type")
    refused(save(m, tmp_path), "E103", "'x'", "type")
    m = relu([1, 4])
    m.graph.input[0].type.tensor_type.ClearField("shape")
    refused(save(m, tmp_path), "E103", "'x'", "shape")


def test_input_of_another_type(tmp_path: Path) -> None:
    m = relu([1, 4])
    m.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    refused(save(m, tmp_path), "E106", "'x'", "string")
    m.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT8E4M3FN
    refused(save(m, tmp_path), "E106", "'x'", "float8")


def test_shapes_that_do_not_fit(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c1")
    w = {"w": np.ones((4, 5, 3, 3), np.float32)}
    refused(save(model([node], {"x": [1, 3, 8, 8]}, ["y"], w), tmp_path), "E103", "c1", "5, 3, 3")
    w = {"w": np.ones((4, 3, 9, 9), np.float32)}
    refused(save(model([node], {"x": [1, 3, 8, 8]}, ["y"], w), tmp_path), "E103", "c1", "9", "8")
    node = helper.make_node("Reshape", ["x", "s"], ["y"], name="r")
    s = {"s": np.array([7, -1], np.int64)}
    refused(save(model([node], {"x": [1, 12]}, ["y"], s), tmp_path), "E103", "'r'", "12", "7")


def test_attribute_of_the_wrong_type(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group="two")
    w = {"w": np.ones((4, 3, 3, 3), np.float32)}
    refused(save(model([node], {"x": [1, 3, 8, 8]}, ["y"], w), tmp_path), "E103", "'group'")


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="fc")
    w = np.ones((4, 3), np.float32)
    w[1, 1:] = np.nan, np.inf
    refused(save(model([node], {"x": [1, 4]}, ["y"], {"w": w}), tmp_path), "E103", "fc", "2 of 12")


def test_tensor_shorter_than_its_shape(tmp_path: Path) -> None:
    m = relu([1, 4], constants={"w": np.ones(4, np.float32)})
    m.graph.initializer[0].dims[0] = 1 << 40
    refused(save(m, tmp_path), "E103", "'w'", str(4 << 40), "16")


def test_absurd_sizes_allocate_nothing(tmp_path: Path) -> None:
    refused(save(relu([1, 1 << 20, 1 << 20]), tmp_path), "E107", str(1 << 40))
    node = helper.make_node(
        "Conv", ["x", "w"], ["y"], pads=[1 << 40, 0, 0, 0], strides=[1 << 40, 1]
    )
    w = {"w": np.ones((1, 1, 1, 1), np.float32)}
    refused(save(model([node], {"x": [1, 1, 4, 4]}, ["y"], w), tmp_path), "E107")
    fill = helper.make_node("ConstantOfShape", ["s"], ["c"])
    add = helper.make_node("Add", ["x", "c"], ["y"])
    s = {"s": np.array([1 << 30, 1 << 30], np.int64)}
    refused(save(model([fill, add], {"x": [1, 4]}, ["y"], s), tmp_path), "E107")


def test_old_opset(tmp_path: Path) -> None:
    refused(save(relu([1, 4], opset=6), tmp_path), "E106", "opset 6", "7")


# ---- dimensions


@pytest.mark.parametrize("batch", ["n", "unk__1", None, 0, -1, 1])
def test_batch_is_bound_to_one(tmp_path: Path, batch: Any) -> None:
    assert load(save(relu([batch, 4]), tmp_path)).values["x"].shape == (1, 4)


def test_fixed_first_axis_stays_and_is_noted_for_images(tmp_path: Path) -> None:
    assert load(save(relu([8, 4]), tmp_path)).values["x"].shape == (8, 4)
    graph = load(save(relu([8, 3, 4, 4]), tmp_path))
    assert "8 images" in graph.metadata["note"]


def test_dynamic_axis(tmp_path: Path) -> None:
    path = save(relu(["n", "time", 4]), tmp_path)
    refused(path, "E104", "'x'", "axis 1", "--bind time=N")
    assert load(path, bind={"time": 7}).values["x"].shape == (1, 7, 4)
    refused(path, "E104", "tme", "time", bind={"tme": 7, "time": 7})
    refused(path, "E103", "-3", bind={"time": -3})
    nameless = save(relu([1, None, 4]), tmp_path)
    refused(nameless, "E104", "--bind x[1]=N")
    assert load(nameless, bind={"x[1]": 5}).values["x"].shape == (1, 5, 4)


# ---- external data


def external(folder: Path, location: str, **info: str) -> Path:
    """A model whose weights lie in a file of their own."""
    m = model(
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        {"x": [1, 4]},
        ["y"],
        {"w": np.arange(12, dtype=np.float32).reshape(4, 3)},
    )
    w = m.graph.initializer[0]
    raw = w.raw_data
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **info}.items():
        w.external_data.add(key=key, value=value)
    (folder / "weights.bin").write_bytes(b"1234" + raw)
    return save(m, folder)


def test_external_data(tmp_path: Path) -> None:
    graph = load(external(tmp_path, "weights.bin", offset="4", length="48"))
    weights = graph.constants[graph.nodes[0].inputs[1]]
    assert weights.tolist() == np.arange(12).reshape(4, 3).T.tolist()


@pytest.mark.parametrize("offset", ["8", "-4", "soon", "999999999999"])
def test_external_data_too_short(tmp_path: Path, offset: str) -> None:
    refused(external(tmp_path, "weights.bin", offset=offset), "E105", "'w'", "weights.bin")


@pytest.mark.parametrize("length", ["4", "99999999999"])
def test_external_data_of_another_length(tmp_path: Path, length: str) -> None:
    refused(external(tmp_path, "weights.bin", length=length), "E105", "48")


@pytest.mark.parametrize(
    "location",
    ["../weights.bin", "/etc/hostname", "a/../../weights.bin", "..\\weights.bin", "C:\\w.bin", "",
     "nothing.bin", "."],
)  # fmt: skip
def test_external_data_elsewhere(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    folder = tmp_path / "model"
    folder.mkdir()
    refused(external(folder, location), "E105", "'w'")


def test_external_data_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(100))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    refused(external(folder, "link"), "E105", "link", "folder")


@needs_shared
def test_external_file_under_another_name(tmp_path: Path) -> None:
    """The exporter's name for the weights is inside the model; a longer one is found too."""
    source = SHARED / "models" / "torch213_exp_cnn_dynamo.onnx"
    path = tmp_path / "m.onnx"
    path.write_bytes(source.read_bytes())
    refused(path, "E105", "exp_cnn_dynamo.onnx.data", "missing")
    renamed = tmp_path / "new_exp_cnn_dynamo.onnx.data"
    renamed.write_bytes(source.with_suffix(".onnx.data").read_bytes())
    assert load(path).inputs == ["x"]


@needs_shared
def test_external_file_under_its_own_name(tmp_path: Path) -> None:
    for source, name in [("onnx", "m.onnx"), ("onnx.data", "exp_cnn_dynamo.onnx.data")]:
        data = (SHARED / "models" / f"torch213_exp_cnn_dynamo.{source}").read_bytes()
        (tmp_path / name).write_bytes(data)
    assert unsupported(tmp_path / "m.onnx") == []


def test_onnx_is_loaded_only_for_onnx_files() -> None:
    code = "import sys, edgekit.importers, edgekit.importers.onnx, edgekit.importers.tflite; "
    code += "sys.exit('onnx' in sys.modules or 'tflite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- operators


def test_every_unsupported_node_is_listed(tmp_path: Path) -> None:
    """Those behind an unsupported node as well, be it for their operator or their attributes."""
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="det"),
        helper.make_node("Relu", ["x"], ["b"], name="fine"),
        helper.make_node("NonZero", ["b"], ["n"], name="places"),
        helper.make_node("GridSample", ["x", "grid"], ["g"], name="warp"),
        helper.make_node("MaxPool", ["g"], ["p", "i"], name="pool", kernel_shape=[2, 2]),
        helper.make_node("FastGelu", ["p"], ["d"], name="gelu", domain="com.microsoft"),
        helper.make_node("Multinomial", ["d"], ["y"], name="draw"),
    ]
    inputs = {"x": [1, 2, 4, 4], "grid": [1, 4, 4, 2]}
    path = save(model(nodes, inputs, ["y", "a", "n", "i"], opset=20), tmp_path)
    found = unsupported(path)
    assert [u.node for u in found] == ["det", "places", "warp", "pool", "gelu", "draw"]
    assert "depends on the data" in found[1].reason
    assert "indices" in found[3].reason
    assert "com.microsoft" in found[4].reason
    assert "random" in found[5].reason
    error = refused(path, "E102", "6 nodes", "6 operators")
    assert error.details == tuple(str(u) for u in found)


def test_the_check_of_a_long_unsupported_model_is_fast(tmp_path: Path) -> None:
    nodes, x = [], "x"
    for i in range(150):
        nodes.append(helper.make_node("GridSample", [x, "grid"], [f"g{i}"], name=f"warp{i}"))
        nodes.append(helper.make_node("Conv", [f"g{i}", "w"], [f"c{i}"], name=f"conv{i}"))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        x = f"r{i}"
    constants = {"w": np.zeros((3, 3, 1, 1), np.float32)}
    inputs = {"x": [1, 3, 8, 8], "grid": [1, 8, 8, 2]}
    path = save(model(nodes, inputs, [x], constants, 20), tmp_path)
    unsupported(save(relu([1, 4]), tmp_path, "warm.onnx"))
    begin = time.process_time()
    assert len(unsupported(path)) == 150
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("op", "shape", "attrs", "word"),
    [
        ("AveragePool", [1, 3, 8, 8, 8], {"kernel_shape": [2, 2, 2]}, "5 axes"),
        ("AveragePool", [1, 3, 8], {"kernel_shape": [2, 2]}, "kernel_shape"),
        ("Cast", [1, 3], {"to": TensorProto.INT8}, "int8"),
        ("Dropout", [1, 3], {}, "training"),
        ("BitwiseNot", [1, 3], {}, "constants"),
        ("Bernoulli", [1, 3], {}, "random"),
    ],
)
def test_reasons(
    tmp_path: Path, op: str, shape: list[int], attrs: dict[str, Any], word: str
) -> None:
    inputs = ["x", "", "on"] if op == "Dropout" else ["x"]
    node = helper.make_node(op, inputs, ["y"], name="n", **attrs)
    constants = {"on": np.array(True)} if op == "Dropout" else {}
    [found] = unsupported(save(model([node], {"x": shape}, ["y"], constants), tmp_path))
    assert word in found.reason


def test_weights_computed_at_run_time(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c")
    path = save(model([node], {"x": [1, 3, 8, 8], "w": [1, 3, 1, 1]}, ["y"]), tmp_path)
    assert "constant" in unsupported(path)[0].reason


@needs_shared
@pytest.mark.parametrize("name", ["attn_ts", "cnn_ts"])
def test_what_torch_exports(name: str) -> None:
    assert unsupported(SHARED / "models" / f"torch213_exp_{name}.onnx") == []
