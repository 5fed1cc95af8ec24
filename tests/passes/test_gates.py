"""Each numbered rule of edgekit/passes/gates.py, in the forms of several exporters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from graph_text import applied, graph, ops

from edgekit.graph import Graph
from edgekit.passes.gates import gates

SHAPE = "float32[1, 4, 6]"
X = f'input "x": {SHAPE}'
ROOT = math.sqrt(2 / math.pi)


class Lines:
    """Nodes of one shape, a line each, with constants where they are used."""

    def __init__(self) -> None:
        self.lines = [X]
        self.count = 0

    def number(self, value: float) -> str:
        self.count += 1
        text = float(np.float32(value))
        self.lines.append(f'constant "c{self.count}": float32[1] = [{text!r}]')
        return f"c{self.count}"

    def node(self, op: str, *inputs: str | float, attrs: str = "") -> str:
        names = [self.number(i) if isinstance(i, float) else i for i in inputs]
        self.count += 1
        listed = ", ".join(f'"{n}"' for n in names)
        result = f'"v{self.count}": {SHAPE}'
        self.lines.append(f'node {op} "n{self.count}" ({listed}) -> {result} {attrs}')
        return f"v{self.count}"

    def unary(self, function: str, x: str, more: str = "") -> str:
        return self.node("unary", x, attrs=f'{{"function": "{function}"{more}}}')

    def graph(self, output: str) -> Graph:
        return graph(*self.lines, f'output "{output}"')


def one(g: Graph, function: str, **attrs: object) -> None:
    after = applied(g, gates)
    assert ops(after) == ["unary"]
    assert after.nodes[0].inputs == ("x",)
    assert {"function": function, **attrs}.items() <= after.nodes[0].attrs.items()


def test_rule_1_torch_dynamo() -> None:
    f = Lines()
    e = f.node("add", f.unary("erf", f.node("mul", "x", math.sqrt(0.5))), 1.0)
    one(f.graph(f.node("mul", f.node("mul", "x", 0.5), e)), "gelu", approximate="none")


def test_rule_1_torchscript_halves_at_the_end() -> None:
    f = Lines()
    e = f.node("add", 1.0, f.unary("erf", f.node("mul", "x", math.sqrt(0.5))))
    one(f.graph(f.node("mul", f.node("mul", "x", e), 0.5)), "gelu", approximate="none")


def test_rule_1_with_the_half_inside() -> None:
    f = Lines()
    half = f.node("mul", f.unary("erf", f.node("mul", "x", math.sqrt(0.5))), 0.5)
    one(f.graph(f.node("mul", f.node("add", half, 0.5), "x")), "gelu", approximate="none")


@pytest.mark.parametrize("form", ["pow", "products", "factored"])
def test_rule_2(form: str) -> None:
    f = Lines()
    if form == "factored":
        square = f.node("mul", "x", "x")
        inner = f.node("mul", f.node("mul", "x", ROOT),
                       f.node("add", f.node("mul", square, 0.044715), 1.0))  # fmt: skip
    else:
        cube = (
            f.unary("pow", "x", ', "exponent": 3.0')
            if form == "pow"
            else f.node("mul", f.node("mul", "x", "x"), "x")
        )
        inner = f.node("mul", f.node("add", "x", f.node("mul", cube, 0.044715)), ROOT)
    gate = f.node("add", f.unary("tanh", inner), 1.0)
    one(f.graph(f.node("mul", f.node("mul", "x", 0.5), gate)), "gelu", approximate="tanh")


def test_rule_2_needs_the_right_coefficient() -> None:
    f = Lines()
    cube = f.unary("pow", "x", ', "exponent": 3.0')
    inner = f.node("mul", f.node("add", "x", f.node("mul", cube, 0.05)), ROOT)
    gate = f.node("add", f.unary("tanh", inner), 1.0)
    g = f.graph(f.node("mul", f.node("mul", "x", 0.5), gate))
    applied(g, gates, changes=False)


def test_rule_3_silu() -> None:
    f = Lines()
    one(f.graph(f.node("mul", f.unary("sigmoid", "x"), "x")), "silu")


def test_rule_4_hard_swish() -> None:
    f = Lines()
    gate = f.unary("hard_sigmoid", "x", f', "alpha": {1 / 6}, "beta": 0.5')
    one(f.graph(f.node("mul", "x", gate)), "hard_swish")
    f = Lines()
    clip = f.node("clip", f.node("add", "x", 3.0), attrs='{"clamp": [0.0, 6.0]}')
    one(f.graph(f.node("mul", f.node("mul", "x", clip), 1 / 6)), "hard_swish")
    f = Lines()
    clip = f.node("clip", f.node("add", "x", 3.0), attrs='{"clamp": [0.0, 6.0]}')
    one(f.graph(f.node("mul", "x", f.node("mul", clip, 1 / 6))), "hard_swish")


def test_rule_5_mish() -> None:
    f = Lines()
    one(f.graph(f.node("mul", "x", f.unary("tanh", f.unary("softplus", "x")))), "mish")


def test_rule_6_hard_sigmoid() -> None:
    f = Lines()
    clip = f.node("clip", f.node("add", "x", 3.0), attrs='{"clamp": [0.0, 6.0]}')
    one(f.graph(f.node("mul", clip, 1 / 6)), "hard_sigmoid", beta=0.5)


def test_a_sigmoid_of_something_else_stays() -> None:
    f = Lines()
    gate = f.unary("sigmoid", f.unary("abs", "x"))
    applied(f.graph(f.node("mul", "x", gate)), gates, changes=False)
