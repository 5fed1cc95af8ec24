"""Random small integer models for the accelerator, by seed: `random_model(seed)`.

Layers that it does and some that it does not, with branches, odd sizes and every kind of window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Graph, Node, Quant, Value
from edgekit.ops.reduce import reduced_shape

FUNCTIONS = ("sigmoid", "tanh", "abs", "hard_swish", "leaky_relu", "neg")
CLAMPS = (None, [0, None], [0, 6], [-1, 1])


class Net:
    """A graph under construction, with a generator of random numbers.

    `cpu` is the chance of layers that the accelerator does not do.
    """

    def __init__(self, seed: int, name: str = "", cpu: float = 0.1) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph(name or f"random{seed}")
        self.cpu = cpu

    def choice(self, *options: object) -> object:
        return options[self.rng.integers(len(options))]

    def integer(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def quant(self) -> Quant:
        zero = int(self.rng.choice([-128, -128, 0, 127, self.integer(-128, 127)]))
        return Quant.make(np.exp(self.rng.uniform(np.log(0.004), np.log(0.2))), zero)

    def input(self, *shape: int) -> str:
        name = f"x{len(self.graph.inputs)}"
        self.graph.add_value(Value(name, shape, "int8", self.quant()))
        self.graph.inputs.append(name)
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.values[name].shape

    def node(
        self, op: str, inputs: tuple[str, ...], result: tuple[int, ...], quant: Quant,
        **attrs: object,
    ) -> str:  # fmt: skip
        n = len(self.graph.nodes)
        name = f"{op}{n}"
        self.graph.add_value(Value(name, result, "int8", quant))
        self.graph.nodes.append(Node(op, inputs, (name,), dict(attrs), name))
        return name

    def constant(self, data: np.ndarray, quant: Quant) -> str:
        name = f"c{len(self.graph.constants)}"
        self.graph.add_value(Value(name, data.shape, str(data.dtype), quant))
        self.graph.constants[name] = data
        return name

    def weighted(
        self, op: str, x: str, w_shape: tuple[int, ...], axis: int, shape: tuple[int, ...],
        **attrs: object,
    ) -> str:  # fmt: skip
        """A layer with random weights whose results spread over the bytes."""
        outputs = w_shape[axis]
        taps = int(np.prod(w_shape)) // outputs
        if self.graph.values[x].quant is None:
            raise ValueError(f"'{x}' has no quantization")
        x_scale, quant = self.graph.values[x].quant.scale[0], self.quant()
        wide = self.rng.uniform(0.3, 3, outputs)
        w_scale = quant.scale[0] / x_scale * wide * 50 / (75 * 75 * np.sqrt(taps))
        w_scale = w_scale.astype(np.float32)
        w = self.rng.integers(-127, 128, w_shape).astype(np.int8)
        spread = 5000 * np.sqrt(taps)
        bias = self.rng.normal(0, spread, outputs).astype(np.int32)
        inputs = (
            x,
            self.constant(w, Quant.make(w_scale, 0, axis)),
            self.constant(bias, Quant.make(x_scale * w_scale, 0, 0)),
        )
        return self.node(op, inputs, shape, quant, clamp=self.choice(*CLAMPS), **attrs)

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        return self.graph.verify()


def _axis(net: Net, size: int, largest: int, dilate: bool) -> tuple[int, int, int, int, int, int]:
    """(kernel, stride, dilation, pad before, pad behind, result) of a window along an axis."""
    kernel = net.integer(1, min(largest, size + 2))
    dilation = int(net.rng.choice([1, 1, 1, 2, 3])) if dilate else 1
    extent = (kernel - 1) * dilation + 1
    if extent > size + 2:
        dilation, extent = 1, kernel
    before, behind = (net.integer(0, extent - 1) if net.rng.random() < 0.5 else 0 for _ in range(2))
    if size + before + behind < extent:
        before = behind = extent - 1
    stride = int(net.rng.choice([1, 1, 1, 2, 2, 3]))
    return kernel, stride, dilation, before, behind, (size + before + behind - extent) // stride + 1


def _window(
    net: Net, x: str, largest: int = 5, dilate: bool = True
) -> tuple[dict[str, object], list[int], list[int]]:
    """Attributes of a window over x, its kernel and its result's rows and columns."""
    _, h, w, _ = net.shape(x)
    rows, columns = (_axis(net, size, largest, dilate) for size in (h, w))
    attrs = {
        "strides": [rows[1], columns[1]],
        "dilations": [rows[2], columns[2]],
        "pads": [rows[3], columns[3], rows[4], columns[4]],
    }
    return attrs, [rows[0], columns[0]], [rows[5], columns[5]]


def conv(net: Net, x: str, channels: int = 0) -> str:
    attrs, kernel, size = _window(net, x)
    c = net.shape(x)[3]
    groups = c if c > 1 and net.rng.random() < net.cpu else 1
    outputs = (channels or net.integer(1, 40)) * (groups if groups > 1 else 1)
    w_shape = (outputs, *kernel, c // groups)
    return net.weighted("conv2d", x, w_shape, 0, (1, *size, outputs), groups=groups, **attrs)


def pointwise(net: Net, x: str, channels: int = 0) -> str:
    _, h, w, c = net.shape(x)
    outputs = channels or net.integer(1, 40)
    attrs = {"strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4, "groups": 1}
    return net.weighted("conv2d", x, (outputs, 1, 1, c), 0, (1, h, w, outputs), **attrs)


def depthwise(net: Net, x: str) -> str:
    attrs, kernel, size = _window(net, x)
    c = net.shape(x)[3]
    outputs = c * net.integer(1, 3) if c == 1 or net.rng.random() < net.cpu else c
    return net.weighted("depthwise_conv2d", x, (*kernel, outputs), 2, (1, *size, outputs), **attrs)


def pool(net: Net, x: str, op: str = "") -> str:
    op = op or str(net.choice("average_pool2d", "max_pool2d"))
    attrs, kernel, size = _window(net, x, 4, dilate=False)
    value = net.graph.values[x]
    assert value.quant is not None
    if op == "average_pool2d":
        attrs["count_include_pad"] = bool(net.rng.random() < 0.3)
    return net.node(
        op, (x,), (1, *size, value.shape[3]), value.quant, kernel=kernel,
        clamp=net.choice(*CLAMPS), **attrs,
    )  # fmt: skip


def mean(net: Net, x: str) -> str:
    value = net.graph.values[x]
    assert value.quant is not None
    _, h, w, c = value.shape
    return net.node(
        "average_pool2d", (x,), (1, 1, 1, c), value.quant, kernel=[h, w], strides=[h, w],
        pads=[0] * 4,
    )  # fmt: skip


def reduction(net: Net, x: str) -> str:
    """A sum, mean or maximum over rows, columns or both; the result has no such axes, or ones."""
    value = net.graph.values[x]
    axes = [[1], [2], [1, 2]][net.integer(0, 2)]
    kind, keep = str(net.choice("sum", "mean", "max")), bool(net.rng.random() < 0.5)
    shape = reduced_shape(value.shape, tuple(axes), keep)
    quant = value.quant if kind == "max" and value.quant is not None else net.quant()
    return net.node("reduce", (x,), shape, quant, kind=kind, axes=axes, keepdims=keep)


def total(net: Net, a: str, b: str) -> str:
    op = str(net.choice("add", "add", "sub"))
    return net.node(op, (a, b), net.shape(a), net.quant(), clamp=net.choice(*CLAMPS))


def concat(net: Net, images: list[str]) -> str:
    """Images of one size behind one another; most have a multiple of 8 channels in front."""
    _, h, w, _ = net.shape(images[-1])
    parts = [m for m in images if net.shape(m)[1:3] == (h, w)][-3:]
    if net.rng.random() < 0.8:
        parts = [pointwise(net, m, 8 * net.integer(1, 3)) for m in parts[:-1]] + parts[-1:]
    channels = sum(net.shape(m)[3] for m in parts)
    quants = {net.graph.values[m].quant for m in parts}
    same = net.graph.values[parts[0]].quant if len(quants) == 1 else None
    return net.node("concat", tuple(parts), (1, h, w, channels), same or net.quant(), axis=3)


def function(net: Net, x: str) -> str:
    """One function of each byte."""
    kind = net.integer(0, 2)
    if kind == 0:
        return net.node("clip", (x,), net.shape(x), net.quant(), clamp=[-1.0, 2.0])
    if kind == 1:
        one = np.array([net.integer(-128, 127)], np.int8).reshape((1,) * len(net.shape(x)))
        op = str(net.choice("mul", "add"))
        return net.node(op, (x, net.constant(one, net.quant())), net.shape(x), net.quant())
    name = str(net.choice(*FUNCTIONS))
    return net.node("unary", (x,), net.shape(x), net.quant(), function=name)


def dense(net: Net, x: str, units: int = 0) -> str:
    units = units or net.integer(1, 50)
    return net.weighted("fully_connected", x, (units, net.shape(x)[1]), 0, (1, units))


def flat(net: Net, x: str) -> str:
    value = net.graph.values[x]
    assert value.quant is not None
    return net.node("reshape", (x,), (1, value.size), value.quant, shape=[1, value.size])


def softmax(net: Net, x: str) -> str:
    return net.node("softmax", (x,), net.shape(x), Quant.make(1 / 256, -128), beta=1.0)


def random_model(seed: int, cpu: float = 0.1, most: int = 20) -> Graph:
    """A model with up to 9 layers on images of up to `most` x `most` pixels."""
    net = Net(seed, cpu=cpu)
    c = int(net.rng.choice([1, 2, 3, 4, 5, 8, 9, 16, 24]))
    images = [net.input(1, net.integer(1, most), net.integer(1, most), c)]
    makers: list[Callable[[Net, str], str]] = [conv, pointwise, depthwise, pool, function]
    for _ in range(net.integer(1, 7)):
        x = images[-1] if net.rng.random() < 0.8 else images[net.integer(0, len(images) - 1)]
        same = [m for m in images if net.shape(m) == net.shape(x)]
        if len(same) > 1 and net.rng.random() < 0.4:
            images.append(total(net, x, same[net.integer(0, len(same) - 1)]))
        elif net.rng.random() < 0.12:
            images.append(concat(net, [m for m in images if m != x] + [x]))
        elif net.rng.random() < net.cpu:
            images.append(softmax(net, x))
        else:
            images.append(makers[net.integer(0, len(makers) - 1)](net, x))
    outputs = [images[-1]]
    if net.rng.random() < 0.2:
        outputs = list(dict.fromkeys([images[-1], images[len(images) // 2]]))
    if len(outputs) > 1 or net.rng.random() < 0.3:
        return net.done(*(o for o in outputs if o not in net.graph.inputs))
    x = outputs[0]
    if net.rng.random() < 0.6:
        x = [mean, reduction][net.integer(0, 1)](net, x)
    if len(net.shape(x)) > 2:
        x = flat(net, x)
    for _ in range(net.integer(1, 2)):
        x = dense(net, x)
        if net.rng.random() < 0.2:
            x = function(net, x)
    return net.done(softmax(net, x) if net.rng.random() < 0.3 else x)


__all__ = ["Net", "random_model"]
