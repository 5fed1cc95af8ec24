"""Sums of two tensors, and functions of one byte, as ADD commands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from codegen.kernel import Layer
from codegen.npu.job import AddJob, ConcatJob, Image, alike, as_it_is, image_of
from edgekit.graph import Graph, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import run_node
from edgekit.ops.requant import add_params, tensor_quant
from targets.npu.config import Accelerator


def total(layer: Layer, image: Image, a: Accelerator) -> AddJob:
    """add and sub of two activations."""
    p = add_params(layer.node, list(layer.inputs), layer.output)
    scaled = [
        fp.multiply_by_quantized_multiplier(
            (_bytes() - tensor_quant(value)[1]) << p.left_shift, multiplier, shift
        )
        for value, multiplier, shift in zip(
            layer.inputs, (p.multiplier_a, p.multiplier_b), (p.shift_a, p.shift_b), strict=True
        )
    ]
    if layer.node.op == "sub":
        scaled[1] = -scaled[1]
    right = max(-p.shift_out, 0)
    entries = alike(p.multiplier_out, max(p.shift_out, 0), right, a.requant_lanes)
    first, second = layer.node.inputs
    tables = np.concatenate(scaled).astype(np.int32)
    zero_point = tensor_quant(layer.output)[1]
    return AddJob(
        first, second, layer.output.name, image, tables, entries, zero_point, p.qmin, p.qmax
    )


def function(layer: Layer, image: Image, a: Accelerator) -> AddJob:
    """A function of each byte, looked up; the second table is zero."""
    x = operand_of(layer).name
    tables = np.concatenate([table_of(layer), np.zeros(256, np.int32)])
    return AddJob(
        x, x, layer.output.name, image, tables, as_it_is(a.requant_lanes), 0, -128, 127
    )  # fmt: skip


def concat(layer: Layer, image: Image, a: Accelerator) -> ConcatJob:
    """Each operand to its place in the result's channels, in the result's quantization."""
    parts, blocks, at = [], [], 0
    for value in layer.inputs:
        node = replace(layer.node, inputs=(value.name,))
        one = replace(layer, node=node, inputs=(value,), constants={})
        part = image_of(value.shape)
        parts.append(function(one, part, a))
        blocks.append(at)
        at += part.blocks
    result = image_of(layer.output.shape)
    return ConcatJob(tuple(parts), tuple(blocks), layer.output.name, result)


def operand_of(layer: Layer) -> Value:
    """The operand that is not a constant."""
    return next(v for v in layer.inputs if v.name not in layer.constants)


def table_of(layer: Layer) -> NDArray[np.int32]:
    """int32 [256]: the layer's result for every byte of its operand, by the operator itself."""
    x, shape = operand_of(layer), (1, 256)
    values = {v.name: v for v in layer.inputs}
    values[x.name] = replace(x, shape=shape)
    constants = {k: v.reshape(1, 1) for k, v in layer.constants.items()}
    values |= {k: replace(values[k], shape=(1, 1)) for k in constants}
    values[layer.output.name] = replace(layer.output, shape=shape)
    attrs = layer.node.attrs | ({"axis": 1} if "axis" in layer.node.attrs else {})
    node = replace(layer.node, attrs=attrs)
    graph = Graph("table", [x.name], [layer.output.name], [node], values, constants)
    data = [
        _bytes().astype(np.int8).reshape(shape) if v.name == x.name else constants[v.name]
        for v in layer.inputs
    ]
    return run_node(graph, node, data)[0].reshape(-1).astype(np.int32)


def _bytes() -> NDArray[np.int64]:
    """What a byte stands for, by the byte as an unsigned number."""
    return np.arange(256).astype(np.uint8).view(np.int8).astype(np.int64)
