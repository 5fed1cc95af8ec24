"""Transposed convolutions as convolutions, which have fast kernels.

With a stride of s, result pixel s q + a of a row reads taps a, a + s, a + 2 s, ... of the kernel
at pixels q, q - 1, q - 2, ... of x. So all s x t pixels of a block are channels of one convolution
at q (Shi et al., *Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network*, arXiv:1609.05158), and a copy (`pixel_shuffle`) brings them to their
places. Products, biases and scales are the same, so the integers are. Kernels are padded with zeros
to a multiple of the stride.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Quant
from edgekit.ops import windows as win

#: Products of the convolution for one of the transposed one, at most: zeros are multiplied too.
MOST_PRODUCTS = 2.0


def as_convolutions(graph: Graph) -> Graph:
    """`graph` without the transposed convolutions that this can do; itself where there is none."""
    changed = graph.copy()
    changed.nodes = []
    for node in graph.nodes:
        changed.nodes += (
            _convolution(changed, node) if node.op == "conv_transpose2d" else None
        ) or [node]
    if len(changed.nodes) == len(graph.nodes) and changed.nodes == graph.nodes:
        return graph
    changed.drop_unused()
    return changed.verify()


def _convolution(graph: Graph, node: Node) -> list[Node] | None:
    """The nodes that take the place of one; None where none can."""
    x, w, b = (graph.values[i] for i in node.inputs)
    out, strides, pads = graph.values[node.output], win.pair(node, "strides", 1), win.pads_of(node)
    plain = node.attrs.get("groups", 1) == 1 and win.pair(node, "dilations", 1) == (1, 1)
    if not plain or out.quant is None or w.name not in graph.constants:
        return None
    taps = [-(-w.shape[axis + 1] // strides[axis]) for axis in (0, 1)]
    per_block = strides[0] * strides[1]
    products = taps[0] * taps[1] * per_block / (w.shape[1] * w.shape[2])
    around = []
    for axis in (0, 1):
        first = pads[axis] // strides[axis]
        last = (pads[axis] + out.shape[axis + 1] - 1) // strides[axis]
        around.append((taps[axis] - 1 - first, last - (x.shape[axis + 1] - 1)))
        if min(around[axis]) < 0 or max(around[axis]) >= taps[axis]:
            return None
    if products > MOST_PRODUCTS or b.name not in graph.constants:
        return None
    data = _weights(graph.constants[w.name], strides, (taps[0], taps[1]))
    new_w = graph.add_constant(f"{w.name}:blocks", data, _tiled(w.quant, per_block))
    bias = np.tile(graph.constants[b.name], per_block)
    new_b = graph.add_constant(f"{b.name}:blocks", bias, _tiled(b.quant, per_block))
    kept = {k: v for k, v in node.attrs.items() if k in ("clamp", "out_dtype")}
    attrs = {**kept, "strides": [1, 1], "dilations": [1, 1],
             "pads": [around[0][0], around[1][0], around[0][1], around[1][1]]}  # fmt: skip
    if per_block == 1:
        return [replace(node, op="conv2d", inputs=(x.name, new_w, new_b), attrs=attrs)]
    shape = tuple(x.shape[axis + 1] + sum(around[axis]) - taps[axis] + 1 for axis in (0, 1))
    name = graph.fresh(f"{node.output}:blocks")
    graph.add_value(replace(out, name=name, shape=(1, *shape, out.shape[3] * per_block)))
    shuffle = {
        "strides": list(strides),
        "crop": [pads[0] % strides[0], pads[1] % strides[1]],
        "size": list(out.shape[1:3]),
    }
    return [
        replace(node, op="conv2d", inputs=(x.name, new_w, new_b), outputs=(name,), attrs=attrs),
        Node("pixel_shuffle", (name,), node.outputs, shuffle, f"{node.name or node.output} pixels"),
    ]


def _weights(w: np.ndarray, strides: win.Pair, taps: win.Pair) -> np.ndarray:
    """[S T O, KH, KW, C] of w [O, S KH, T KW, C], which is padded with zeros to that."""
    (sh, sw), (kh, kw) = strides, taps
    o, rows, columns, c = w.shape
    padded = np.zeros((o, sh * kh, sw * kw, c), w.dtype)
    padded[:, :rows, :columns] = w
    split = padded.reshape(o, kh, sh, kw, sw, c).transpose(2, 4, 0, 1, 3, 5)
    return np.ascontiguousarray(split[:, :, :, ::-1, ::-1].reshape(sh * sw * o, kh, kw, c))


def _tiled(quant: Quant | None, times: int) -> Quant | None:
    """The quantization of all channels of a block."""
    if quant is None or quant.axis is None:
        return quant
    return Quant(np.tile(quant.scale, times), np.tile(quant.zero_point, times), quant.axis)
