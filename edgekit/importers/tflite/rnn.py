"""TFLite's recurrent operators: lstm, rnn and svdf, with their variable tensors as states.

TFLite has one tensor for each gate, in the order input, forget, cell, output, which is the order of
the rows of ours. A variable tensor is what an inference leaves to the next: a state of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph import GraphError, Quant
from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles, reals
from edgekit.importers.tflite.read import Tensor, TfliteNode
from edgekit.importers.tflite.shared import clamp_attribute
from edgekit.importers.tflite.variables import first_content
from edgekit.ops.lstm import lstm_params
from edgekit.ops.svdf import svdf_params

TANH = 4


def _state(b: TfliteBuilder, node: TfliteNode, index: int, units: int, dtype: str) -> str:
    """The state that operand `index`, a variable tensor, is; its shape becomes [1, units]."""
    tensor, at = b.operand(node, index), node.inputs[index]
    if not tensor.variable:
        raise Refused(f"'{tensor.name}' is no variable tensor, so nothing keeps it")
    if at in b.names:
        raise Refused(f"'{tensor.name}' is kept by two operators")
    if tensor.dtype != dtype:
        raise Refused(f"'{tensor.name}' is {tensor.dtype}, {dtype} is supported here")
    if int(np.prod(tensor.shape)) != units:
        raise invalid(f"'{tensor.name}' is {list(tensor.shape)}, {units} units need [1, {units}]")
    flat = replace(tensor, shape=(1, units))
    b.names[at] = b.variables.state(b, flat, first_content(flat, None, dtype))
    return b.names[at]


def _weights(b: TfliteBuilder, node: TfliteNode, places: Sequence[int], name: str) -> str:
    """The matrices of all gates, one below the other, with a scale for each row."""
    tensors = [b.constant_operand(node, i, "weights") for i in places]
    if len({t.shape for t in tensors}) != 1 or len(tensors[0].shape) != 2:
        shapes = ", ".join(str(list(t.shape)) for t in tensors)
        raise invalid(f"'{node.name}' ({node.op}): weights of shapes {shapes}")
    if b.floating:
        return b.constant(f"{node.name}:{name}", np.concatenate([reals(t) for t in tensors]))
    scales = np.concatenate([np.repeat(_scale(t), t.shape[0]) for t in tensors])
    data = np.concatenate([_data(t) for t in tensors])
    return b.constant(f"{node.name}:{name}", data, Quant.make(scales, 0, 0))


def _scale(tensor: Tensor) -> np.ndarray:
    """The only scale of a matrix of symmetric int8 weights.

    Raises:
        Refused: where the weights are of another kind.
    """
    q = tensor.quant
    if tensor.dtype != "int8" or q is None or q.scale.size != 1 or q.zero_point.any():
        raise Refused(f"its weights '{tensor.name}' must be symmetric int8 with one scale")
    return q.scale


def _data(tensor: Tensor) -> np.ndarray:
    assert tensor.data is not None
    return tensor.data


def _bias(
    b: TfliteBuilder,
    node: TfliteNode,
    places: Sequence[int],
    rows: int,
    scale: np.ndarray | None = None,
) -> str:
    """The biases of all gates, in steps of `scale`; zeros where the file has none."""
    parts = []
    for i in places:
        tensor = b.tensor(node, i)
        if tensor is None:
            parts.append(np.zeros(rows, np.int64))
            continue
        tensor = b.constant_operand(node, i, "bias")
        if tensor.shape != (rows,):
            raise invalid(f"'{node.name}': bias '{tensor.name}' must be [{rows}]")
        if not b.floating and tensor.dtype not in ("int32", "int64"):
            raise Refused(f"its bias is {tensor.dtype}, int32 or int64 is supported")
        parts.append(reals(tensor) if b.floating else _data(tensor).astype(np.int64))
    data = np.concatenate(parts)
    if not b.floating and (np.abs(data) >= 1 << 31).any():
        raise Refused("a bias leaves 32 bits")
    quant = None
    if scale is not None:
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise invalid(f"'{node.name}': its bias scale leaves the range of float32")
        quant = Quant.make(scale, 0, 0 if scale.size > 1 else None)
    data = data.astype(np.float32 if b.floating else np.int32)
    return b.constant(f"{node.name}:bias", data, quant)


def _product_scale(b: TfliteBuilder, x: str, w: str) -> np.ndarray | None:
    """The scale of products, by row of `w`; None for floats."""
    of_x, of_w = b.value(x).quant, b.value(w).quant
    return None if of_x is None or of_w is None else of_x.scale * of_w.scale


def _sequence(b: TfliteBuilder, node: TfliteNode, time_major: bool) -> str:
    """The first operand as [1, T, I]."""
    x = b.x(node)
    shape = b.value(x).shape
    if len(shape) != 3:
        raise invalid(f"'{node.name}' ({node.op}) reads {list(shape)}, 3 axes are needed")
    batch = shape[1 if time_major else 0]
    if batch != 1:
        raise Refused(f"it has a batch of {batch}, 1 is supported")
    steps = shape[0 if time_major else 1]
    return b.reshape(x, (1, steps, shape[2]), node=node.name) if time_major and steps > 1 else x


def _absent(b: TfliteBuilder, node: TfliteNode, places: Sequence[int], what: str) -> None:
    if any(b.tensor(node, i) is not None for i in places):
        raise Refused(f"{what} are not supported")


def _follow(b: TfliteBuilder, states: Sequence[str], results: Sequence[str]) -> None:
    """Say what states become."""
    for state, result in zip(states, results, strict=True):
        b.variables.follow(b, state, result)


def _lstm(
    b: TfliteBuilder,
    node: TfliteNode,
    x: str,
    places: tuple[int, int],
    clip: float,
    *,
    reverse: bool = False,
    out: str = "",
) -> str:
    """An lstm whose weights and states begin at operands `places`; returns y, named `out`."""
    first, states = places
    if b.tensor(node, first) is None:
        raise Refused("coupled input and forget gates (CIFG) are not supported")
    _absent(b, node, range(first + 8, first + 11), "peepholes")
    _absent(b, node, range(first + 15, first + 17), "projections")
    r_shape = b.constant_operand(node, first + 4, "weights").shape
    units = r_shape[0] if r_shape else 0
    dtype = b.value(x).dtype
    h = _state(b, node, states, units, dtype)
    c = _state(b, node, states + 1, units, "float32" if b.floating else "int16")
    w = _weights(b, node, range(first, first + 4), "W")
    r = _weights(b, node, range(first + 4, first + 8), "R")
    bias = _bias(b, node, range(first + 11, first + 15), units, _product_scale(b, x, w))
    operands = [x, h, c, w, r, bias]
    attrs: dict[str, Any] = {"cell_clip": clip, "clamp_terms": not b.floating, "reverse": reverse}
    of_h, of_c = b.value(h).quant, b.value(c).quant
    y, *after = b.emit_all(
        "lstm", operands, attrs, node=node.name, outs=[out, "", ""], quants=[of_h, of_h, of_c]
    )
    _follow(b, (h, c), after)
    if not b.floating:
        _check_scales(b, lstm_params)
    return y


def _check_scales(b: TfliteBuilder, params: Any) -> None:
    """Refuse scales of the node just emitted that no multiplier and shift represent."""
    node, values = b.graph.nodes[-1], b.graph.values
    try:
        params(node, [values[i] for i in node.inputs], [values[o] for o in node.outputs])
    except GraphError as error:
        raise invalid(str(error), "its scales are out of range: convert again") from None


def _finish(b: TfliteBuilder, node: TfliteNode, y: str, index: int = 0) -> None:
    """Let `y` [1, T, H] be a result of the node, in the shape that the file says."""
    out = b.result(node, index, len(node.outputs))
    _, quant = b.kind_of(out)
    if b.value(y).quant != quant:
        raise Refused(f"'{out.name}' and the hidden state differ in scale or zero point")
    if y != out.name:
        y = b.reshape(y, out.shape, node=node.name, out=out.name)
    b.take(node, y, index)


def _name(b: TfliteBuilder, node: TfliteNode, x: str) -> str:
    """The name of y where it is the node's first result as it is, "" where a reshape follows."""
    out = b.tensors[node.outputs[0]] if node.outputs else None
    steps = b.value(x).shape[1]
    return out.name if out is not None and out.shape[:2] == (1, steps) else ""


def _need_tanh(options: Any) -> None:
    if options.FusedActivationFunction() != TANH:
        kind = options.FusedActivationFunction()
        raise Refused(f"its activation is number {kind} of TFLite's, tanh ({TANH}) is supported")


@handles("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(b: TfliteBuilder, node: TfliteNode) -> None:
    """Of int8, int16 or float32, without peepholes, projection and layer normalization."""
    import tflite

    options = node.options(tflite.UnidirectionalSequenceLSTMOptions)
    _need_tanh(options)
    _absent(b, node, range(20, 24), "layer normalization's coefficients")
    x = _sequence(b, node, bool(options.TimeMajor()))
    clip = float(options.CellClip())
    _finish(b, node, _lstm(b, node, x, (1, 18), clip, out=_name(b, node, x)))


@handles("BIDIRECTIONAL_SEQUENCE_LSTM")
def bidirectional_lstm(b: TfliteBuilder, node: TfliteNode) -> None:
    """Of float32, without peepholes, projection and a second input."""
    import tflite

    options = node.options(tflite.BidirectionalSequenceLSTMOptions)
    _need_tanh(options)
    _float_only(b)
    _absent(b, node, range(39, 48), "a second input and its weights")
    x = _sequence(b, node, bool(options.TimeMajor()))
    clip = float(options.CellClip())
    forward = _lstm(b, node, x, (1, 35), clip)
    backward = _lstm(b, node, x, (18, 37), clip, reverse=True)
    _both(b, node, forward, backward, bool(options.MergeOutputs()))


def _both(b: TfliteBuilder, node: TfliteNode, forward: str, backward: str, merge: bool) -> None:
    """The results of two directions, side by side in one tensor or in two."""
    if merge:
        both = b.emit("concat", [forward, backward], {"axis": 2}, node=node.name)
        _finish(b, node, both)
        return
    _finish(b, node, forward, 0)
    _finish(b, node, backward, 1)


def _float_only(b: TfliteBuilder) -> None:
    if not b.floating:
        raise Refused("it is supported in float32 only, as in TFLite: give the float model")


def _rnn(
    b: TfliteBuilder, node: TfliteNode, x: str, first: int, *, reverse: bool = False, out: str = ""
) -> str:
    """An rnn whose weights, recurrent weights, bias and state begin at operand `first`."""
    shape = b.constant_operand(node, first + 1, "weights").shape
    units = shape[0] if shape else 0
    h = _state(b, node, first + 3, units, "float32")
    operands = [
        x, h,
        _weights(b, node, [first], "W"),
        _weights(b, node, [first + 1], "R"),
        _bias(b, node, [first + 2], units),
    ]  # fmt: skip
    attrs = {"reverse": reverse}
    outs, none = [out, ""], [None, None]
    y, *after = b.emit_all("rnn", operands, attrs, node=node.name, outs=outs, quants=none)
    _follow(b, [h], after)
    return y


@handles("RNN", "UNIDIRECTIONAL_SEQUENCE_RNN")
def rnn(b: TfliteBuilder, node: TfliteNode) -> None:
    """Of float32, with tanh."""
    import tflite

    one = node.op == "RNN"
    options = node.options(tflite.RNNOptions if one else tflite.SequenceRNNOptions)
    _need_tanh(options)
    _float_only(b)
    if one:
        value = b.value(b.x(node))
        if len(value.shape) != 2 or value.shape[0] != 1:
            raise Refused(f"it reads {list(value.shape)}, [1, inputs] is supported")
        x = b.reshape(b.x(node), (1, *value.shape), node=node.name)
    else:
        x = _sequence(b, node, bool(options.TimeMajor()))
    _finish(b, node, _rnn(b, node, x, 1, out="" if one else _name(b, node, x)))


@handles("BIDIRECTIONAL_SEQUENCE_RNN")
def bidirectional_rnn(b: TfliteBuilder, node: TfliteNode) -> None:
    """Of float32, with tanh, without a second input."""
    import tflite

    options = node.options(tflite.BidirectionalSequenceRNNOptions)
    _need_tanh(options)
    _float_only(b)
    _absent(b, node, range(9, 12), "a second input and its weights")
    x = _sequence(b, node, bool(options.TimeMajor()))
    forward = _rnn(b, node, x, 1)
    backward = _rnn(b, node, x, 5, reverse=True)
    _both(b, node, forward, backward, bool(options.MergeOutputs()))


@handles("SVDF")
def svdf(b: TfliteBuilder, node: TfliteNode) -> None:
    """Of int8 (with a memory of int8 or int16) or float32."""
    import tflite

    options = node.options(tflite.SVDFOptions)
    x, out = b.x(node), b.result(node)
    feature = b.constant_operand(node, 1, "feature weights")
    time = b.constant_operand(node, 2, "time weights")
    rank = int(options.Rank())
    if b.value(x).shape[:1] != (1,) or len(feature.shape) != 2 or len(time.shape) != 2:
        raise Refused(f"it reads {list(b.value(x).shape)}, [1, inputs] is supported")
    if rank < 1 or feature.shape[0] % rank:
        raise invalid(f"'{node.name}' has {feature.shape[0]} filters of rank {rank}")
    memory = b.operand(node, 4)
    state = _state(b, node, 4, int(np.prod(time.shape)), memory.dtype)
    attrs: dict[str, Any] = {"rank": rank}
    if b.floating:
        names = [
            b.constant(f"{node.name}:feature", reals(feature)),
            b.constant(f"{node.name}:time", reals(time)),
        ]
        attrs |= clamp_attribute(options.FusedActivationFunction())
    else:
        # Integers are clamped to their dtype only, whatever the fused activation says: TFLM's rule.
        names = [
            b.constant(f"{node.name}:feature", _data(feature), Quant.make(_scale(feature))),
            b.constant(f"{node.name}:time", _data(time), _quant_of_time(time)),
        ]
    scale = _product_scale(b, state, names[1])
    bias = _bias(b, node, [3], feature.shape[0] // rank, scale)
    y, after = b.emit_all(
        "svdf", [x, state, *names, bias], attrs, node=node.name, outs=[out.name, ""],
        quants=[b.kind_of(out)[1], b.value(state).quant],
    )  # fmt: skip
    _follow(b, [state], [after])
    if not b.floating:
        _check_scales(b, svdf_params)
    b.take(node, y)


def _quant_of_time(time: Tensor) -> Quant:
    q = time.quant
    if q is None or q.scale.size != 1 or q.zero_point.any():
        raise Refused(f"its time weights '{time.name}' must be symmetric with one scale")
    return Quant.make(q.scale)
