"""Float graphs of attention, node by node as exporters write them."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Graph
from edgekit.importers.common import Builder


class Net(Builder):
    """Nodes by function call; one input x."""

    def __init__(self, *shape: int) -> None:
        super().__init__("net")
        self.add_input("x", shape, "float32")

    def vector(self, *shape: int) -> str:
        """Constant numbers of a size that keeps products of matrices near 1."""
        r = np.random.default_rng(len(self.graph.values))
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 4
        values = r.normal(0.1, 1 / math.sqrt(fan_in), shape)
        return self.constant("v", values.astype(np.float32))

    def number(self, value: float) -> str:
        return self.constant("c", np.asarray([value], np.float32))

    def __call__(self, op: str, *inputs: str, **attrs: object) -> str:
        return self.emit(op, inputs, attrs, node=self.fresh(op))

    def unary(self, function: str, x: str, **attrs: object) -> str:
        return self("unary", x, function=function, **attrs)

    def mean(self, x: str, axes: list[int], kind: str = "mean") -> str:
        return self("reduce", x, kind=kind, axes=axes, keepdims=True)

    def layer_norm(self, x: str) -> str:
        """Taken apart, as before ONNX opset 17."""
        axis, width = len(self.value(x).shape) - 1, self.value(x).shape[-1]
        d = self("sub", x, self.mean(x, [axis]))
        power = self("add", self.mean(self.unary("square", d), [axis]), self.number(1e-5))
        y = self("div", d, self.unary("sqrt", power))
        return self("add", self("mul", y, self.vector(width)), self.vector(width))

    def linear(self, x: str, width: int) -> str:
        product = self("matmul", x, self.vector(self.value(x).shape[-1], width))
        return self("add", product, self.vector(width))

    def gelu(self, x: str) -> str:
        e = self("add", self.unary("erf", self("mul", x, self.number(math.sqrt(0.5)))),
                 self.number(1.0))  # fmt: skip
        return self("mul", self("mul", x, e), self.number(0.5))

    def attention(self, x: str, heads: int) -> str:
        _, rows, width = self.value(x).shape
        each = width // heads
        wide = self("reshape", self.linear(x, 3 * width), shape=[1, rows, 3, heads, each])
        parts = self("transpose", wide, perm=[2, 0, 3, 1, 4])
        q, k, v = (
            self("gather", parts, self.constant("i", np.asarray(i, np.int32)), axis=0)
            for i in range(3)
        )
        k = self("transpose", k, perm=[0, 1, 3, 2])
        scores = self("mul", self("matmul", q, k), self.number(1 / math.sqrt(each)))
        y = self("transpose", self("matmul", self("softmax", scores), v), perm=[0, 2, 1, 3])
        return self.linear(self("reshape", y, shape=[1, rows, width]), width)

    def ended(self, output: str) -> Graph:
        self.graph.outputs = [output]
        return self.graph.verify()


def block(rows: int = 8, width: int = 32, heads: int = 4) -> Net:
    """A pre-norm transformer block: attention and two linear layers with GELU."""
    f = Net(1, rows, width)
    x = f("add", "x", f.attention(f.layer_norm("x"), heads))
    inner = f.gelu(f.linear(f.layer_norm(x), 2 * width))
    f.graph.outputs = [f("add", x, f.linear(inner, width))]
    return f
