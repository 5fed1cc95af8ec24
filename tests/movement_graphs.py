"""Random one-node graphs of the movement, reduction and window operators, for hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from graphs import CLAMPS, quants
from hypothesis import strategies as st

from edgekit.graph import Graph, Node, Quant, Shape, Value
from edgekit.ops import operator

MOVED = ("int8", "int16", "int32", "bool")


def node_graph(
    op: str,
    inputs: list[Value],
    constants: dict[str, np.ndarray] | None = None,
    quant: Quant | None = None,
    **attrs: Any,
) -> Graph:
    """A verified graph of one node, whose results have inferred shapes; quantized ones `quant`."""
    g = Graph(op)
    for value in inputs:
        g.add_value(value)
        if value.name in (constants or {}):
            g.constants[value.name] = (constants or {})[value.name]
        else:
            g.inputs.append(value.name)
    probe = Node(op, tuple(v.name for v in inputs), ("y",), attrs, op)
    results = operator(op).checked(probe, inputs)
    names = ["y", "places"][: len(results)]
    for name, (shape, dtype) in zip(names, results, strict=True):
        g.add_value(Value(name, shape, dtype, quant if dtype in ("int8", "int16") else None))
    g.nodes.append(Node(op, probe.inputs, tuple(names), attrs, op))
    g.outputs = names
    return g.verify()


def quant_for(draw: st.DrawFn, dtype: str) -> Quant | None:
    return draw(quants(dtype=dtype)) if dtype in ("int8", "int16") else None


def shapes(lo: int = 1, hi: int = 5, side: int = 6) -> st.SearchStrategy[Shape]:
    """[1, ...] of `lo` to `hi` axes."""
    return st.lists(st.integers(1, side), min_size=lo - 1, max_size=hi - 1).map(
        lambda dims: (1, *dims)
    )


def operand(draw: st.DrawFn, dtype: str, shape: Shape, name: str = "x") -> Value:
    return Value(name, shape, dtype, quant_for(draw, dtype))


def random_data(draw: st.DrawFn, dtype: str, shape: Shape) -> np.ndarray:
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype == "bool":
        return r.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    return r.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


@st.composite
def concat_graphs(draw: st.DrawFn, dtype: str, same: bool = False) -> Graph:
    shape = draw(shapes(2, 5, 5))
    axis = draw(st.integers(1, len(shape) - 1))
    quant, inputs, constants = quant_for(draw, dtype), [], {}
    for i in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, 5))
        own = quant if same or draw(st.booleans()) else quant_for(draw, dtype)
        name = f"x{i}"
        inputs.append(Value(name, (*shape[:axis], length, *shape[axis + 1 :]), dtype, own))
        if i and not same and draw(st.integers(0, 3)) == 0:
            constants[name] = random_data(draw, dtype, inputs[-1].shape)
    return node_graph("concat", inputs, constants, quant, axis=axis)


@st.composite
def slice_graphs(draw: st.DrawFn, dtype: str, steps: bool = True, rank: int = 5) -> Graph:
    x = operand(draw, dtype, draw(shapes(1, rank)))
    starts: list[int] = [0]
    stops: list[int | None] = [None]
    strides = [1]
    for size in x.shape[1:]:
        a, b = sorted(draw(st.lists(st.integers(0, size), min_size=2, max_size=2)))
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2])) if steps else 1
        if a == b:
            a, b = 0, size
        if step < 0:
            starts.append(b - 1)
            stops.append(a - 1 if a else None)
        else:
            starts.append(a)
            stops.append(b)
        strides.append(step)
    return node_graph("slice", [x], None, x.quant, starts=starts, stops=stops, steps=strides)


@st.composite
def pad_graphs(draw: st.DrawFn, dtype: str, modes: tuple[str, ...] = ()) -> Graph:
    x = operand(draw, dtype, draw(shapes(2, 4)))
    mode = draw(
        st.sampled_from(modes or ("constant", "constant", "reflect", "symmetric", "edge", "wrap"))
    )
    before, behind = [0], [0]
    for size in x.shape[1:]:
        most = {"reflect": size - 1, "symmetric": size, "wrap": size}.get(mode, 3)
        before.append(draw(st.integers(0, min(most, 3))))
        behind.append(draw(st.integers(0, min(most, 3))))
    value = draw(st.sampled_from([0, 1, -0.5, 3.25])) if x.quant else draw(st.integers(0, 1))
    attrs = {"value": value} if mode == "constant" and draw(st.booleans()) else {}
    return node_graph("pad", [x], None, x.quant, pads=before + behind, mode=mode, **attrs)


def _indices(draw: st.DrawFn, size: int, shape: Shape, tflite: bool = False) -> np.ndarray:
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return r.integers(0 if tflite else -size, size, shape).astype(np.int32)


@st.composite
def gather_graphs(
    draw: st.DrawFn, dtype: str, computed: bool = False, tflite: bool = False
) -> Graph:
    """Constant indices into an activation, or computed ones into a constant or an activation."""
    shape = draw(shapes(2, 4))
    axis = draw(st.integers(0 if computed else 1, len(shape) - 1))
    x = operand(draw, dtype, shape)
    constants: dict[str, np.ndarray] = {}
    if computed:
        batch_dims = draw(st.integers(0, min(1, axis)))
        indices = Value("indices", (1, *draw(shapes(1, 2, 4))[1:]), "int32")
        if draw(st.booleans()):
            constants["x"] = random_data(draw, dtype, shape)
            if axis == 0:
                x = Value("x", (draw(st.integers(1, 6)), *shape[1:]), dtype, x.quant)
                constants["x"] = random_data(draw, dtype, x.shape)
    else:
        batch_dims = 0
        indices = Value("indices", draw(shapes(1, 3, 4))[1:], "int32")
        constants["indices"] = _indices(draw, shape[axis], indices.shape, tflite)
    return node_graph("gather", [x, indices], constants, x.quant, axis=axis, batch_dims=batch_dims)


@st.composite
def gather_nd_graphs(draw: st.DrawFn, dtype: str, tflite: bool = False) -> Graph:
    x = operand(draw, dtype, draw(shapes(2, 4)))
    b = 0 if tflite else draw(st.integers(0, 1))
    depth = draw(st.integers(1, len(x.shape) - b))
    indices = Value("indices", (1, draw(st.integers(1, 5)), depth), "int32")
    constants = {}
    if tflite or draw(st.booleans()):
        constants["indices"] = _indices(draw, min(x.shape), indices.shape, tflite)
    return node_graph("gather_nd", [x, indices], constants, x.quant, batch_dims=b)


@st.composite
def expand_graphs(draw: st.DrawFn, dtype: str) -> Graph:
    full = draw(shapes(2, 4))
    shape = tuple(d if draw(st.booleans()) else 1 for d in full)
    x = operand(draw, dtype, shape)
    return node_graph("expand", [x], None, x.quant, shape=list(full))


@st.composite
def tile_graphs(draw: st.DrawFn, dtype: str) -> Graph:
    x = operand(draw, dtype, draw(shapes(2, 4, 4)))
    repeats = [1, *(draw(st.integers(1, 3)) for _ in x.shape[1:])]
    return node_graph("tile", [x], None, x.quant, repeats=repeats)


@st.composite
def resize_graphs(
    draw: st.DrawFn, dtype: str, mode: str = "nearest", tflite: bool = False
) -> Graph:
    x = operand(draw, dtype, (1, *(draw(st.integers(1, 9)) for _ in range(3))))
    size = [1, draw(st.integers(1, 12)), draw(st.integers(1, 12)), x.shape[3]]
    attrs: dict[str, Any] = {"mode": mode, "as_tflite": tflite}
    if tflite:
        attrs["coordinates"] = draw(st.sampled_from(["asymmetric", "align_corners", "half_pixel"]))
    else:
        attrs["coordinates"] = draw(
            st.sampled_from(["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
        )
        if mode == "nearest":
            attrs["nearest_mode"] = draw(
                st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
            )
        else:
            attrs["antialias"] = draw(st.booleans())
        if mode == "cubic":
            attrs["exclude_outside"] = draw(st.booleans())
    return node_graph("resize", [x], None, x.quant, size=size, **attrs)


@st.composite
def reduce_graphs(draw: st.DrawFn, dtype: str, kind: str) -> Graph:
    x = operand(draw, dtype, draw(shapes(2, 4, 7)))
    axes = draw(st.sets(st.integers(1, len(x.shape) - 1), min_size=1))
    quant = x.quant
    if kind in ("sum", "mean", "prod"):
        quant = draw(quants(1e-3, 2.0, dtype))
    return node_graph(
        "reduce", [x], None, quant, kind=kind, axes=sorted(axes), keepdims=draw(st.booleans())
    )


@st.composite
def arg_graphs(draw: st.DrawFn, dtype: str, kinds: bool = True) -> Graph:
    x = operand(draw, dtype, draw(shapes(2, 4)))
    return node_graph(
        "arg", [x],
        kind=draw(st.sampled_from(["max", "min"])),
        axis=draw(st.integers(1, len(x.shape) - 1)),
        keepdims=kinds and draw(st.booleans()),
        last=kinds and draw(st.booleans()),
    )  # fmt: skip


@st.composite
def top_k_graphs(draw: st.DrawFn, dtype: str) -> Graph:
    x = operand(draw, dtype, draw(shapes(2, 4, 9)))
    axis = draw(st.integers(1, len(x.shape) - 1))
    return node_graph(
        "top_k", [x], None, x.quant,
        axis=axis, k=draw(st.integers(1, x.shape[axis])), largest=draw(st.booleans()), sorted=True,
    )  # fmt: skip


@st.composite
def cumsum_graphs(draw: st.DrawFn, dtype: str, tflite: bool = False) -> Graph:
    x = operand(draw, dtype, draw(shapes(2, 4, 12)))
    quant = draw(quants(1e-3, 2.0, dtype)) if x.quant else None
    return node_graph(
        "cumsum", [x], None, quant,
        axis=draw(st.integers(1, len(x.shape) - 1)), exclusive=draw(st.booleans()),
        reverse=draw(st.booleans()), **({"as_tflite": True} if tflite else {}),
    )  # fmt: skip


@st.composite
def one_hot_graphs(draw: st.DrawFn, dtype: str) -> Graph:
    x = Value("x", draw(shapes(1, 3)), "int32")
    return node_graph(
        "one_hot", [x], None, quant_for(draw, dtype),
        depth=draw(st.integers(1, 6)), axis=draw(st.integers(1, len(x.shape))), out_dtype=dtype,
        on=draw(st.sampled_from([1, 2])), wrap=draw(st.booleans()),
        off=0 if dtype == "bool" else draw(st.sampled_from([0, -1])),
    )  # fmt: skip


@st.composite
def conv_transpose_graphs(
    draw: st.DrawFn, x_dtype: str = "int8", dtype: str = "int8", tflite: bool = False,
    plain: bool = False,
) -> Graph:  # fmt: skip
    """With `tflite`: TFLite's SAME or VALID padding, no groups, dilations or output padding.
    `plain` has no groups and dilations. TFLite's biases are int64 where activations are int16."""
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    h, w, c = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    attrs: dict[str, Any] = {"strides": strides, "clamp": None}
    groups = 1
    if tflite:
        same = draw(st.booleans())
        over = [max(k - s, 0) if same else 0 for k, s in zip(kernel, strides, strict=True)]
        attrs["pads"] = [over[0] // 2, over[1] // 2, over[0] - over[0] // 2, over[1] - over[1] // 2]
        attrs["output_padding"] = [
            max(s - k, 0) if same else 0 for k, s in zip(kernel, strides, strict=True)
        ]
    else:
        groups = 1 if plain else draw(st.sampled_from([1, c]))
        attrs["clamp"] = draw(st.sampled_from(CLAMPS))
        attrs["dilations"] = [1 if plain else draw(st.integers(1, 2)) for _ in range(2)]
        extents = [d * (k - 1) for d, k in zip(attrs["dilations"], kernel, strict=True)]
        attrs["pads"] = [draw(st.integers(0, extents[i % 2] // 2)) for i in range(4)]
        attrs["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    channels = groups * draw(st.integers(1, 3))
    attrs["groups"] = groups
    if dtype != x_dtype:
        attrs["out_dtype"] = dtype
    w_shape = (channels, *kernel, c // groups)
    b_dtype = "int64" if tflite and x_dtype == "int16" else "int32"
    x = Value("x", (1, h, w, c), x_dtype, draw(quants(1e-3, 0.5, x_dtype)))
    assert x.quant is not None
    w_quant = Quant.make(np.exp(r.uniform(np.log(1e-4), np.log(0.1), channels)), 0, 0)
    spread = draw(st.sampled_from([0, 3_000, 100_000]))
    return node_graph(
        "conv_transpose2d",
        [
            x,
            Value("w", w_shape, "int8", w_quant),
            Value("b", (channels,), b_dtype, Quant.make(x.quant.scale[0] * w_quant.scale, 0, 0)),
        ],
        {
            "w": r.integers(-127, 128, w_shape).astype(np.int8),
            "b": r.integers(-spread, spread + 1, channels).astype(b_dtype),
        },
        draw(quants(1e-2, 2.0, dtype)),
        **attrs,
    )


@st.composite
def wide_pool_graphs(draw: st.DrawFn, op: str, dtype: str) -> Graph:
    """Pooling with dilations, uneven padding and, for means, padding that counts."""
    kernel = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    dilations = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    pads = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    sizes = [
        draw(st.integers(d * (k - 1) + 1, d * (k - 1) + 6))
        for d, k in zip(dilations, kernel, strict=True)
    ]
    x = operand(draw, dtype, (1, *sizes, draw(st.integers(1, 5))))
    attrs: dict[str, Any] = {}
    if op == "average_pool2d" and draw(st.booleans()):
        attrs["count_include_pad"] = True
        if draw(st.booleans()):
            attrs["ceil_pads"] = [draw(st.integers(0, pads[2])), draw(st.integers(0, pads[3]))]
    return node_graph(
        op, [x], None, x.quant, kernel=kernel, dilations=dilations, pads=pads,
        strides=[draw(st.integers(1, 3)), draw(st.integers(1, 3))],
        clamp=draw(st.sampled_from(CLAMPS)), **attrs,
    )  # fmt: skip


@st.composite
def wide_transpose_graphs(draw: st.DrawFn, dtype: str) -> Graph:
    """Any number of axes, the first one too."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=6)))
    x = operand(draw, dtype, shape)
    perm = list(draw(st.permutations(range(len(shape)))))
    return node_graph("transpose", [x], None, x.quant, perm=perm)


def _reduces(kind: str) -> Callable[[str], st.SearchStrategy[Graph]]:
    return lambda dtype: reduce_graphs(dtype, kind)


#: Strategies of a dtype by name.
STRATEGIES: dict[str, Callable[[str], st.SearchStrategy[Graph]]] = {
    "concat": concat_graphs,
    "slice": slice_graphs,
    "pad": pad_graphs,
    "gather": gather_graphs,
    "gather computed": lambda dtype: gather_graphs(dtype, computed=True),
    "gather_nd": gather_nd_graphs,
    "expand": expand_graphs,
    "tile": tile_graphs,
    "resize nearest": resize_graphs,
    "resize linear": lambda dtype: resize_graphs(dtype, "linear"),
    "resize cubic": lambda dtype: resize_graphs(dtype, "cubic"),
    **{f"reduce {kind}": _reduces(kind) for kind in ("sum", "mean", "prod", "max", "min")},
    "reduce any": _reduces("any"),
    "reduce all": _reduces("all"),
    "arg": arg_graphs,
    "top_k": top_k_graphs,
    "cumsum": cumsum_graphs,
    "one_hot": one_hot_graphs,
    "conv_transpose2d": lambda dtype: conv_transpose_graphs(dtype, dtype),
    "average_pool2d wide": lambda dtype: wide_pool_graphs("average_pool2d", dtype),
    "max_pool2d wide": lambda dtype: wide_pool_graphs("max_pool2d", dtype),
    "transpose wide": wide_transpose_graphs,
}


def samples(graph: Graph, seed: int, n: int = 3) -> dict[str, np.ndarray]:
    """`graphs.batch` for truth values, indices (small integers), and tensors without a batch."""
    r, feeds = np.random.default_rng(seed), {}
    for name in graph.inputs:
        value = graph.values[name]
        shape = (n, *(value.shape[1:] if value.shape[:1] == (1,) else value.shape))
        if value.dtype == "bool":
            feeds[name] = r.integers(0, 2, shape).astype(bool)
            continue
        info = np.iinfo(value.dtype)
        lo, hi = (-9, 9) if value.dtype == "int32" else (info.min, info.max)
        x = r.integers(lo, hi, shape, endpoint=True).astype(value.dtype)
        x.reshape(-1)[:2] = (info.min, info.max)
        feeds[name] = x
    return feeds
