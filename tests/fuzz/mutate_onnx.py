"""Edits of ONNX models that keep the protobuf legal, so that fuzzing reaches the handlers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, numpy_helper

INTEGERS = (0, 1, -1, 2, -2, 3, 4, 7, 8, 64, 255, 256, 1 << 16, (1 << 31) - 1, -(1 << 31), 1 << 31,
            1 << 40, (1 << 63) - 1, -(1 << 63))  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 6.0, 1e-45, 3.4e38, -3.4e38, float("inf"), float("nan"))
TYPES = (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 16, 17, 21, 22, 23, 99)


def mutate(data: bytes, limit: int, seed: int, operators: list[str]) -> bytes | None:
    """`data` with one to four edits; None where it is no model or became larger than `limit`."""
    rng = random.Random(seed)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError):
        return None
    if not model.graph.node:
        return None
    for _ in range(rng.randint(1, 4)):
        edit = rng.choice(EDITS)
        try:
            edit(rng, model, operators)
        except Exception:  # onnx raises all kinds on what earlier edits left
            continue
    result: bytes = model.SerializeToString()
    return result if len(result) <= limit else None


def _node(rng: random.Random, m: Any) -> Any:
    return rng.choice(m.graph.node)


def _attribute(rng: random.Random, m: Any, ops: list[str]) -> None:
    a = rng.choice(rng.choice([n for n in m.graph.node if n.attribute]).attribute)
    if a.type == AttributeProto.INT:
        a.i = rng.choice(INTEGERS)
    elif a.type == AttributeProto.FLOAT:
        a.f = rng.choice(FLOATS)
    elif a.type == AttributeProto.INTS:
        _list(rng, a.ints, INTEGERS)
    elif a.type == AttributeProto.FLOATS:
        _list(rng, a.floats, FLOATS)
    elif a.type == AttributeProto.TENSOR:
        _tensor(rng, a.t)
    elif a.type == AttributeProto.STRING:
        a.s = rng.choice([b"", b"SAME_UPPER", b"VALID", b"linear", b"\xff", b"reflect", a.s * 2])


def _list(rng: random.Random, items: Any, values: tuple[Any, ...]) -> None:
    action = rng.random()
    if action < 0.6:
        items[rng.randrange(len(items))] = rng.choice(values)
    elif action < 0.8:
        items.append(rng.choice(values))
    else:
        del items[rng.randrange(len(items))]


def _attribute_set(rng: random.Random, m: Any, ops: list[str]) -> None:
    node = _node(rng, m)
    action = rng.random()
    if action < 0.4:
        del node.attribute[rng.randrange(len(node.attribute))]
    elif action < 0.7:
        donor = rng.choice([n for n in m.graph.node if n.attribute])
        node.attribute.append(rng.choice(donor.attribute))
    else:
        name = rng.choice(["axis", "axes", "keepdims", "pads", "strides", "perm", "to", "group",
                           "kernel_shape", "dilations", "auto_pad", "mode", "epsilon", "alpha",
                           "direction", "hidden_size", "equation", "num_outputs", "k"])  # fmt: skip
        value: Any = rng.choice([rng.choice(INTEGERS), [rng.choice(INTEGERS)] * 2, "x", 0.5])
        node.attribute.append(onnx.helper.make_attribute(name, value))


def _tensor(rng: random.Random, t: Any) -> None:
    action = rng.random()
    if action < 0.5 and len(t.dims) <= 1:
        array = np.array(numpy_helper.to_array(t)).reshape(-1)
        if array.dtype.kind in "iu" and array.size:
            with np.errstate(all="ignore"):
                array[rng.randrange(array.size)] = np.array(rng.choice(INTEGERS)).astype(
                    array.dtype
                )
        elif array.dtype.kind == "f" and array.size:
            array[rng.randrange(array.size)] = rng.choice(FLOATS)
        if rng.random() < 0.2:
            array = np.resize(array, rng.choice([0, 1, 2, 5]))
        t.CopyFrom(numpy_helper.from_array(array, t.name))
    elif action < 0.7:
        _list(rng, t.dims, INTEGERS)
    elif action < 0.85:
        t.data_type = rng.choice(TYPES)
    else:
        array = numpy_helper.to_array(t)
        shape = list(array.shape)
        shape[rng.randrange(len(shape))] = rng.choice([1, 2, 3, 5])
        t.CopyFrom(numpy_helper.from_array(np.resize(array, shape), t.name))


def _initializer(rng: random.Random, m: Any, ops: list[str]) -> None:
    _tensor(rng, rng.choice(m.graph.initializer))


def _constant_input(rng: random.Random, m: Any, ops: list[str]) -> None:
    """An input becomes a constant: shapes and axes of ONNX's own test models are inputs."""
    value = rng.choice(m.graph.input)
    kind = value.type.tensor_type
    shape = [d.dim_value for d in kind.shape.dim]
    if np.prod(shape) > 1 << 12 or kind.elem_type not in (1, 6, 7, 9, 2, 3):
        return
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    array = np.array([rng.choice([0, 1, 2, 3, -1]) for _ in range(int(np.prod(shape)))])
    array = array.reshape(shape).astype(dtype)
    m.graph.initializer.append(numpy_helper.from_array(array, value.name))


def _input(rng: random.Random, m: Any, ops: list[str]) -> None:
    kind = rng.choice(m.graph.input).type.tensor_type
    if rng.random() < 0.2:
        kind.elem_type = rng.choice(TYPES)
    elif rng.random() < 0.2:
        kind.shape.dim.add().dim_value = rng.choice([1, 2, 1 << 20])
    elif rng.random() < 0.2:
        del kind.shape.dim[rng.randrange(len(kind.shape.dim))]
    else:
        rng.choice(kind.shape.dim).dim_value = rng.choice(INTEGERS)


def _operands(rng: random.Random, m: Any, ops: list[str]) -> None:
    node = _node(rng, m)
    names = [i for n in m.graph.node for i in (*n.input, *n.output)] + ["", "nothing"]
    names += [t.name for t in m.graph.initializer]
    action = rng.random()
    if action < 0.4:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif action < 0.6:
        node.input.append(rng.choice(names))
    elif action < 0.8:
        del node.input[rng.randrange(len(node.input))]
    elif action < 0.9:
        node.output[rng.randrange(len(node.output))] = rng.choice(names)
    else:
        node.output.append(rng.choice([*names, "more"]))


def _operator(rng: random.Random, m: Any, ops: list[str]) -> None:
    _node(rng, m).op_type = rng.choice(ops)


def _another(rng: random.Random, m: Any, ops: list[str]) -> None:
    """A node behind another one, and an output behind it."""
    source = _node(rng, m)
    new = m.graph.node.add()
    new.CopyFrom(_node(rng, m))
    new.name = ""
    if rng.random() < 0.5:
        new.op_type = rng.choice(ops)
    result = f"again{len(m.graph.node)}"
    new.input[0] = source.output[0]
    del new.output[1:]
    new.output[0] = result
    m.graph.output[0].name = result


def _opset(rng: random.Random, m: Any, ops: list[str]) -> None:
    m.opset_import[0].version = rng.choice([*range(6, 25), -1, 1 << 40])


def _subgraph(rng: random.Random, m: Any, ops: list[str]) -> None:
    """The graph inside a node of itself, perhaps several times over."""
    node = _node(rng, m)
    name = rng.choice(["body", "then_branch", "else_branch"])
    if rng.random() < 0.5:
        node.op_type = rng.choice(["If", "Loop", "Scan"])
    for _ in range(rng.choice([1, 1, 2, 5])):
        inner = onnx.GraphProto()
        inner.CopyFrom(m.graph)
        node.attribute.append(onnx.helper.make_attribute(name, inner))


EDITS: list[Callable[[random.Random, Any, list[str]], None]] = [
    *([_attribute] * 4), _attribute_set, *([_initializer] * 4), *([_constant_input] * 2), _input,
    *([_operands] * 2), _operator, *([_another] * 2), _opset, _subgraph,
]  # fmt: skip
