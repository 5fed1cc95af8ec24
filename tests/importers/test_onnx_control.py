"""Functions, If, Loop and Scan against ONNX Runtime, and what cannot be undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import check, model, ops, save

from edgekit.errors import EdgekitError
from edgekit.importers import load, unsupported

FLOAT = TensorProto.FLOAT
IMPORTS = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]


def info(name: str, kind: int = FLOAT, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def body(nodes: list[Any], inputs: list[Any], outputs: list[Any], **constants: Any) -> Any:
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    return helper.make_graph(nodes, "body", inputs, outputs, tensors)


def with_functions(m: onnx.ModelProto, *functions: Any) -> onnx.ModelProto:
    m.functions.extend(functions)
    del m.opset_import[:]
    m.opset_import.extend(IMPORTS)
    return m


def scaled(name: str = "Scaled") -> Any:
    """alpha * x + 1, with the attribute alpha."""
    constant = helper.make_node("Constant", [], ["a"])
    kind = onnx.AttributeProto.FLOAT
    constant.attribute.add(name="value_float", type=kind, ref_attr_name="alpha")
    one = helper.make_node("Constant", [], ["one"], value_float=1.0)
    nodes = [constant, one, helper.make_node("Mul", ["x", "a"], ["m"]),
             helper.make_node("Add", ["m", "one"], ["y"])]  # fmt: skip
    return helper.make_function("local", name, ["x"], ["y"], nodes, IMPORTS[:1], ["alpha"])


# ---- functions


def test_functions_are_inlined_with_attributes_and_names_of_their_own(tmp_path: Path) -> None:
    outer = helper.make_function(
        "local", "Twice", ["x"], ["y"],
        [helper.make_node("Scaled", ["x"], ["m"], domain="local", alpha=0.5),
         helper.make_node("Scaled", ["m"], ["y"], domain="local", alpha=-2.0)],
        IMPORTS,
    )  # fmt: skip
    nodes = [
        helper.make_node("Twice", ["x"], ["m"], domain="local"),
        helper.make_node("Sigmoid", ["m"], ["s"]),
        helper.make_node("Twice", ["s"], ["y"], domain="local"),
    ]
    m = with_functions(model(nodes, {"x": [1, 6]}, ["y"], opset=18), scaled(), outer)
    assert "unary" in ops(check(m, tmp_path))


def test_function_that_hands_out_its_operand(tmp_path: Path) -> None:
    f = helper.make_function(
        "local", "Both", ["x"], ["same", "y"], [helper.make_node("Neg", ["x"], ["y"]),
        helper.make_node("Identity", ["x"], ["same"])], IMPORTS[:1])  # fmt: skip
    nodes = [
        helper.make_node("Both", ["x"], ["a", "b"], domain="local"),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    check(with_functions(model(nodes, {"x": [1, 6]}, ["y"], opset=18), f), tmp_path)


def test_function_that_calls_itself(tmp_path: Path) -> None:
    f = helper.make_function(
        "local", "Again", ["x"], ["y"],
        [helper.make_node("Again", ["x"], ["y"], domain="local")], IMPORTS,
    )  # fmt: skip
    node = helper.make_node("Again", ["x"], ["y"], domain="local")
    path = save(with_functions(model([node], {"x": [1, 4]}, ["y"], opset=18), f), tmp_path)
    with pytest.raises(EdgekitError) as caught:
        load(path)
    assert caught.value.code == "E103"
    assert "Again" in str(caught.value)


def test_functions_that_double_without_end(tmp_path: Path) -> None:
    """A file of some kilobytes that stands for a million million nodes."""
    functions = []
    for i in range(40):
        inner = "Relu" if i == 0 else f"F{i - 1}"
        domain = "" if i == 0 else "local"
        nodes = [helper.make_node(inner, ["x"], ["m"], domain=domain),
                 helper.make_node(inner, ["m"], ["y"], domain=domain)]  # fmt: skip
        functions.append(helper.make_function("local", f"F{i}", ["x"], ["y"], nodes, IMPORTS))
    node = helper.make_node("F39", ["x"], ["y"], domain="local")
    m = with_functions(model([node], {"x": [1, 4]}, ["y"], opset=18), *functions)
    with pytest.raises(EdgekitError) as caught:
        load(save(m, tmp_path))
    assert caught.value.code == "E107"


# ---- If


def branches(condition: str = "c") -> Any:
    then = body([helper.make_node("Mul", ["h", "k"], ["t"])], [], [info("t")], k=np.float32(3))
    other = body([helper.make_node("Det", ["h"], ["e"])], [], [info("e")])
    return helper.make_node("If", [condition], ["y"], "choice", then_branch=then, else_branch=other)


def test_if_with_a_constant_condition(tmp_path: Path) -> None:
    """Only the branch that is taken needs to be supported; it reads the graph around."""
    nodes = [helper.make_node("Neg", ["x"], ["h"]), branches()]
    assert ops(check(model(nodes, {"x": [1, 3, 3]}, ["y"], {"c": np.array(True)}), tmp_path))
    m = model(nodes, {"x": [1, 3, 3]}, ["y"], {"c": np.array(False)})
    [found] = unsupported(save(m, tmp_path))
    assert found.op == "Det"


def test_if_on_a_shape(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["h"]),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["d"], axis=0),
        helper.make_node("Equal", ["d", "three"], ["c"]),
        branches(),
    ]
    constants = {"one": np.array(1), "three": np.array(3)}
    check(model(nodes, {"x": ["n", 3, 3]}, ["y"], constants), tmp_path)


def test_if_at_run_time(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["h"]),
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        branches(),
    ]
    m = model(nodes, {"x": [1, 3, 3]}, ["y"], {"zero": np.float32(0)})
    [found] = unsupported(save(m, tmp_path))
    assert (found.node, found.op) == ("choice", "If")
    assert "condition 'c' must be a constant" in found.reason


# ---- Loop and Scan


def loop(rounds: int, name: str = "loop") -> list[Any]:
    """h <- h * 0.5 + x, and every h."""
    nodes = [
        helper.make_node("Mul", ["h", "half"], ["m"]),
        helper.make_node("Add", ["m", "x"], ["next"]),
        helper.make_node("Identity", ["next"], ["each"]),
        helper.make_node("Identity", ["go"], ["on"]),
    ]
    inner = body(
        nodes,
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("h")],
        [info("on", TensorProto.BOOL, []), info("next"), info("each")],
        half=np.float32(0.5),
    )
    trips = helper.make_node("Constant", [], ["trips"], value_int=rounds)
    return [trips, helper.make_node("Loop", ["trips", "", "x"], ["last", "all"], name, body=inner)]


def test_loop_is_unrolled(tmp_path: Path) -> None:
    graph = check(model(loop(3), {"x": [1, 4]}, ["last", "all"]), tmp_path)
    assert ops(graph).count("add") == 3


def test_loop_without_rounds(tmp_path: Path) -> None:
    check(model(loop(0), {"x": [1, 4]}, ["last"]), tmp_path)


def test_loop_that_counts(tmp_path: Path) -> None:
    """The number of the round, and a condition that ends it early."""
    nodes = [
        helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
        helper.make_node("Add", ["h", "f"], ["next"]),
        helper.make_node("Less", ["i", "two"], ["on"]),
    ]
    inner = body(
        nodes,
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("h")],
        [info("on", TensorProto.BOOL, []), info("next")],
        two=np.array(2),
    )
    node = helper.make_node("Loop", ["", "true", "x"], ["y"], "loop", body=inner)
    graph = check(model([node], {"x": [1, 4]}, ["y"], {"true": np.array(True)}), tmp_path)
    assert ops(graph).count("add") <= 3


def test_loop_with_too_many_rounds(tmp_path: Path) -> None:
    [found] = unsupported(save(model(loop(100_000), {"x": [1, 4]}, ["last"]), tmp_path))
    assert "1024 rounds" in found.reason


def test_unsupported_node_in_a_loop_is_listed_once(tmp_path: Path) -> None:
    m = model(loop(5), {"x": [1, 4]}, ["last"])
    m.graph.node[1].attribute[0].g.node[0].op_type = "Bernoulli"
    del m.graph.node[1].attribute[0].g.node[0].input[1]
    [found] = unsupported(save(m, tmp_path))
    assert found.op == "Bernoulli"


@pytest.mark.parametrize("back", [0, 1])
def test_scan_is_unrolled(tmp_path: Path, back: int) -> None:
    nodes = [
        helper.make_node("Mul", ["h", "half"], ["m"]),
        helper.make_node("Add", ["m", "row"], ["next"]),
        helper.make_node("Tanh", ["next"], ["each"]),
    ]
    inner = body(
        nodes, [info("h", shape=[1, 4]), info("row", shape=[1, 4])],
        [info("next", shape=[1, 4]), info("each", shape=[1, 4])], half=np.float32(0.5),
    )  # fmt: skip
    node = helper.make_node(
        "Scan", ["first", "x"], ["last", "all"], "scan", body=inner, num_scan_inputs=1,
        scan_input_axes=[1], scan_input_directions=[back], scan_output_axes=[1],
        scan_output_directions=[back],
    )  # fmt: skip
    constants = {"first": np.ones((1, 4), np.float32)}
    graph = check(model([node], {"x": [1, 3, 4]}, ["last", "all"], constants), tmp_path)
    assert ops(graph).count("unary") == 3


# ---- values of inputs


def test_bind_gives_an_integer_input_its_value(tmp_path: Path) -> None:
    """As the sampling rate of a voice activity detector chooses its branch."""
    nodes = [
        helper.make_node("Neg", ["x"], ["h"]),
        helper.make_node("Equal", ["rate", "wanted"], ["c"]),
        branches(),
    ]
    m = model(nodes, {"x": [1, 3, 3]}, ["y"], {"wanted": np.array(16000)})
    m.graph.input.append(info("rate", TensorProto.INT64, []))
    path = save(m, tmp_path)
    assert unsupported(path)[0].op == "If"
    graph = load(path, bind={"rate": 16000})
    assert graph.inputs == ["x"]
