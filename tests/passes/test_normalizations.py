"""Each numbered rule of edgekit/passes/normalizations.py, in the forms of several exporters."""

from __future__ import annotations

import pytest
from attention_nets import Net
from graph_text import applied, ops

from edgekit.passes.normalizations import normalizations

EPSILON = 1e-3


def quotient(f: Net, d: str, power: str, form: str) -> str:
    power = f("add", power, f.number(EPSILON))
    if form == "div":
        return f("div", d, f.unary("sqrt", power))
    if form == "rsqrt":
        return f("mul", d, f.unary("rsqrt", power))
    if form == "reciprocal":
        return f("mul", f.unary("reciprocal", f.unary("sqrt", power)), d)
    one = f("div", f.number(1.0), f.unary("sqrt", power))
    return f("mul", d, one)


FORMS = ["div", "rsqrt", "reciprocal", "one over"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("square", ["square", "product", "difference", "twice"])
def test_rules_1_and_4_layer_norm(form: str, square: str) -> None:
    f = Net(1, 5, 12)
    mean = f.mean("x", [2])
    d = f("sub", "x", mean)
    if square == "difference":
        squares = f("squared_difference", "x", mean)
    elif square == "twice":
        squares = f.unary("square", f("sub", "x", f.mean("x", [2])))
    else:
        squares = f("mul", d, d) if square == "product" else f.unary("square", d)
    y = quotient(f, d, f.mean(squares, [2]), form)
    y = f("add", f("mul", f.vector(12), y), f.vector(12))
    after = applied(f.ended(y), normalizations)
    assert ops(after) == ["layer_norm"]
    assert after.nodes[0].attrs["epsilon"] == pytest.approx(EPSILON)


def test_rule_1_several_axes() -> None:
    f = Net(1, 5, 3, 4)
    d = f("sub", "x", f.mean("x", [1, 2, 3]))
    y = quotient(f, d, f.mean(f("mul", d, d), [1, 2, 3]), "div")
    assert ops(applied(f.ended(y), normalizations)) == ["reshape", "layer_norm", "reshape"]


@pytest.mark.parametrize(("axes", "wanted"), [
    ([1, 2], ["instance_norm"]), ([2, 3], ["transpose", "instance_norm", "transpose"]),
])  # fmt: skip
def test_rule_1_instance_norm(axes: list[int], wanted: list[str]) -> None:
    f = Net(1, 5, 6, 4)
    d = f("sub", "x", f.mean("x", axes))
    y = quotient(f, d, f.mean(f("mul", d, d), axes), "div")
    assert ops(applied(f.ended(y), normalizations)) == wanted


def test_rule_1_leaves_other_axes_alone() -> None:
    f = Net(1, 5, 6, 4)
    d = f("sub", "x", f.mean("x", [1]))
    y = quotient(f, d, f.mean(f("mul", d, d), [1]), "div")
    applied(f.ended(y), normalizations, changes=False)


@pytest.mark.parametrize("form", FORMS)
def test_rules_2_and_4_rms_norm(form: str) -> None:
    f = Net(1, 5, 12)
    y = quotient(f, "x", f.mean(f.unary("square", "x"), [2]), form)
    after = applied(f.ended(f("mul", y, f.vector(12))), normalizations)
    assert ops(after) == ["rms_norm"]


@pytest.mark.parametrize("form", ["torch", "torch expanded", "tensorflow"])
def test_rule_3_l2_normalize(form: str) -> None:
    f = Net(1, 5, 12)
    total = f.mean(f.unary("square", "x"), [2], "sum")
    if form == "tensorflow":
        y = f("mul", "x", f.unary("rsqrt", f("maximum", total, f.number(1e-12))))
    else:
        length = f("clip", f.unary("sqrt", total), clamp=[1e-6, None])
        if form == "torch expanded":
            length = f("expand", length, shape=[1, 5, 12])
        y = f("div", "x", length)
    after = applied(f.ended(y), normalizations)
    assert ops(after) == ["l2_normalize"]
    assert after.nodes[0].attrs["epsilon"] == pytest.approx(1e-6)


def test_rule_4_needs_a_private_result() -> None:
    f = Net(1, 5, 12)
    y = f("layer_norm", "x", f.vector(12), f.vector(12), epsilon=EPSILON)
    f.graph.outputs = [f("mul", y, f.vector(12)), y]
    applied(f.graph.verify(), normalizations, changes=False)


@pytest.mark.parametrize("gamma", [False, True])
def test_rule_5_keras(gamma: bool) -> None:
    f = Net(1, 5, 12)
    mean = f.mean("x", [2])
    k = f.unary("rsqrt", f("add", f.mean(f("squared_difference", "x", mean), [2]),
                           f.number(EPSILON)))  # fmt: skip
    if gamma:
        k = f("mul", k, f.vector(12))
    y = f("add", f("mul", "x", k), f("sub", f.vector(12), f("mul", mean, k)))
    assert ops(applied(f.ended(y), normalizations)) == ["layer_norm"]


def test_rule_6_log_softmax() -> None:
    f = Net(1, 5, 12)
    assert ops(applied(f.ended(f.unary("log", f("softmax", "x"))), normalizations)) == [
        "log_softmax"
    ]


@pytest.mark.parametrize("shape", [(1, 8, 5, 4), (1, 8, 20)])
def test_rule_7_group_norm(shape: tuple[int, ...]) -> None:
    f = Net(*shape)
    y = f("transpose", f("reshape", "x", shape=[1, 4, 40]), perm=[0, 2, 1])
    y = f("instance_norm", y, f.vector(4), f.vector(4), epsilon=EPSILON)
    y = f("reshape", f("transpose", y, perm=[0, 2, 1]), shape=list(shape))
    after = applied(f.ended(y), normalizations)
    assert ops(after) == ["transpose", "group_norm", "transpose"]
    assert after.nodes[1].attrs["groups"] == 4
