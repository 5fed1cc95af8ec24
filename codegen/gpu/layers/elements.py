"""Element by element operators that broadcast: four channels of a pixel, or of four, per item."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from codegen.gpu.emit import launch
from codegen.gpu.kernel import Maker, Place, Variant
from codegen.gpu.layers._cells import CELLS, cell_of, layout_of, packed
from codegen.kernel import Layer, NotApplicable
from codegen.portable._elements import axes_of
from edgekit.ops.base import clamp_of
from edgekit.ops.binary_params import moved_params
from edgekit.ops.exact_float import UNARY
from edgekit.ops.functions import parameters_of
from edgekit.ops.requant import add_params, clip_params, mul_params, tensor_quant
from edgekit.ops.unary_forms import Lookup
from edgekit.ops.unary_params import unary_params

#: Pixels of an item.
PIXELS = (1, 4)
FLOATS = ("float32", "float16")


def variants(layer: Layer) -> list[Variant]:
    dtype = cell_of(layer, *CELLS)
    op, out = layer.node.op, layer.output
    numbers = _float_numbers(layer) if dtype in FLOATS else _NUMBERS[op](layer)
    constants: dict[str, np.ndarray] = {}
    arguments: list[Place] = []
    operands = []
    activations = 0
    for i, value in enumerate(layer.inputs):
        own = layout_of(value)
        operands.append(
            {
                "blocks": own.blocks,
                "pixels": own.pixels,
                "first": own.channels == 1 and out.shape[-1:] != (1,),
                "axes": _axes(value.shape, out.shape),
            }
        )
        if value.name in layer.constants:
            constants["ab"[i]] = packed(layer, value)
            arguments.append(Place("constant", name="ab"[i]))
        else:
            arguments.append(Place("input", activations))
            activations += 1
    if table := numbers.pop("table", None):
        constants["table"] = np.array(table, np.int8)
        arguments.append(Place("constant", name="table"))
    arguments.append(Place("output"))
    layout = layout_of(out)
    p = {
        "op": op,
        "dtype": dtype,
        "C": layout.channels,
        "blocks": layout.blocks,
        "P": layout.pixels,
        "operands": operands,
        **numbers,
    }
    found = []
    for pixels in PIXELS:
        if pixels == 1 or layout.pixels >= pixels:
            run = launch(f"{op}_elements", schedule, {**p, "pixels": pixels}, tuple(arguments))
            found.append(Variant("direct" if pixels == 1 else f"pixels{pixels}", (run,), constants))
    return found


def _axes(shape: tuple[int, ...], out: tuple[int, ...]) -> list[list[int]]:
    """Axes of the result's pixels, [size, pixels of the operand per step], outermost first."""
    full = (*[1] * (len(out) - len(shape)), *shape)
    return [[a.size, a.strides[0]] for a in axes_of([full[:-1]], out[:-1])]


# ---- integers


def _add(layer: Layer) -> dict[str, Any]:
    values = list(layer.inputs)
    p = add_params(layer.node, values, layer.output)._asdict()
    return {k: int(v) for k, v in p.items()} | _zeros(layer)


def _mul(layer: Layer) -> dict[str, Any]:
    p = mul_params(layer.node, list(layer.inputs), layer.output)._asdict()
    return {k: int(v) for k, v in p.items()} | _zeros(layer)


def _clip(layer: Layer) -> dict[str, Any]:
    p = clip_params(layer.node, list(layer.inputs), layer.output)._asdict()
    return {k: int(v) for k, v in p.items()} | _zeros(layer)


def _extreme(layer: Layer) -> dict[str, Any]:
    moves = []
    for value in layer.inputs:
        p = moved_params(value, layer.output)
        moves.append(None if p is None else [int(v) for v in p])
    return {"moves": moves} | _zeros(layer)


def _unary(layer: Layer) -> dict[str, Any]:
    form = unary_params(layer.node, list(layer.inputs), layer.output)
    if not isinstance(form, Lookup):
        raise NotApplicable(f"a function by {type(form).__name__}")
    return {"table": [int(v) for v in form.table.reshape(-1)]}


def _zeros(layer: Layer) -> dict[str, Any]:
    return {
        "zeros": [tensor_quant(v)[1] for v in layer.inputs],
        "zy": tensor_quant(layer.output)[1],
    }


_NUMBERS: dict[str, Callable[[Layer], dict[str, Any]]] = {
    "add": _add,
    "sub": _add,
    "mul": _mul,
    "clip": _clip,
    "minimum": _extreme,
    "maximum": _extreme,
    "unary": _unary,
}


def _float_numbers(layer: Layer) -> dict[str, Any]:
    low, high = clamp_of(layer.node)
    clamp = [None if math.isinf(low) else low, None if math.isinf(high) else high]
    if layer.node.op != "unary":
        return {"clamp": clamp}
    name = layer.node.attrs["function"]
    if name not in UNARY:
        raise NotApplicable(f"{name} in float")
    parameters = [float(v) for v in parameters_of(name, layer.node.attrs).values()]
    return {"clamp": clamp, "function": name, "parameters": [*parameters, 0.0, 0.0][:2]}


# ---- schedules


def _value(p: dict[str, Any], operands: list[Any]) -> Any:
    """TE expression: a block of the result, without regard to its gap."""
    from codegen.tvm_api import call, int32

    op = p["op"]
    if p["dtype"] in FLOATS:
        return _float_value(p, operands)
    limits = tuple(int32(p[k]) for k in ("zy", "qmin", "qmax") if k in p)
    if op in ("add", "sub"):
        a, b = (
            call("int32x4", "ek_scaled4", x, *map(int32, (zero, p["left_shift"], m, s)))
            for x, zero, m, s in zip(
                operands,
                p["zeros"],
                (p["multiplier_a"], p["multiplier_b"]),
                (p["shift_a"], p["shift_b"]),
                strict=True,
            )
        )
        numbers = (int32(p["multiplier_out"]), int32(p["shift_out"]), *limits)
        return call("int8x4", "ek_requantized4", a + b if op == "add" else a - b, *numbers)
    if op in ("mul", "clip"):
        parts = [
            call("int32x4", "ek_centred4", x, int32(zero))
            for x, zero in zip(operands, p["zeros"], strict=True)
        ]
        product = parts[0] * parts[1] if op == "mul" else parts[0]
        numbers = (int32(p["multiplier"]), int32(p["shift"]), *limits)
        return call("int8x4", "ek_requantized4", product, *numbers)
    moved = []
    for x, zero, move in zip(operands, p["zeros"], p["moves"], strict=True):
        if move is not None:
            multiplier, shift, low, high = map(int32, move)
            x = call("int32x4", "ek_centred4", x, int32(zero))
            x = call("int8x4", "ek_requantized4", x, multiplier, shift, int32(p["zy"]), low, high)
        moved.append(x)
    return call("int8x4", {"minimum": "min", "maximum": "max"}[op], *moved)


def _float_value(p: dict[str, Any], operands: list[Any]) -> Any:
    from codegen.tvm_api import call, float32

    op, a = p["op"], operands[0]
    if op == "unary":
        y = call("float32x4", f"ek_f_{p['function']}", a, *map(float32, p["parameters"]))
    elif op in ("minimum", "maximum"):
        y = call("float32x4", {"minimum": "ek_minf4", "maximum": "ek_maxf4"}[op], *operands)
    elif op == "clip":
        y = a
    else:
        b = operands[1]
        y = {"add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b}[op]()
    return clamped(p["clamp"], y)


def clamped(clamp: list[float | None], y: Any) -> Any:
    """TE expression: four float32 between the bounds, None for none."""
    from codegen.tvm_api import call, float32

    low, high = clamp
    if low is None and high is None:
        return y
    most = float(np.finfo(np.float32).max)
    bounds = (float32(-most if low is None else low), float32(most if high is None else high))
    return call("float32x4", "ek_clampf4", y, *bounds)


def schedule(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    from codegen.tvm_api import call

    cell = CELLS[p["dtype"]]
    lookup = p["op"] == "unary" and p["dtype"] == "int8"
    tensors = []
    for letter, operand in zip("ab", p["operands"], strict=False):
        shape = (operand["blocks"], operand["pixels"], *((4,) if lookup else ()))
        tensors.append(te.placeholder(shape, cell.scalar if lookup else cell.memory, name=letter))
    table = te.placeholder((256,), "int8", name="table")

    def block(b: Any, pixel: Any) -> Any:
        if lookup:
            x = tensors[0]
            entries = (table[x[b, pixel, i].astype("int32") + 128] for i in range(4))
            return cell.lanes(cell.of_scalars(*entries), b, p["C"])
        values = []
        for tensor, operand in zip(tensors, p["operands"], strict=True):
            at = tensor[b if operand["blocks"] > 1 else 0, _pixel(operand["axes"], pixel)]
            x = cell.load(at)
            if operand["first"]:
                x = call(cell.vector, "ek_first4" if cell.suffix == "4" else "ek_firstf4", x)
            values.append(x)
        return cell.lanes(cell.store(_value(p, values)), b, p["C"])

    y = te.compute((p["blocks"], p["P"]), block, name="y")
    sch = s_tir.Schedule(te.create_prim_func([*tensors, *([table] if lookup else []), y]))
    bind_pixels(sch, p["pixels"])
    return sch


def bind_pixels(sch: Any, pixels: int) -> None:
    """Blocks along y and pixels along x; an item makes so many of the latter."""
    b, q = sch.get_loops(sch.get_sblock("y"))
    if pixels > 1:
        q, inner = sch.split(q, [None, pixels])
        sch.unroll(inner)
    sch.bind(b, "blockIdx.y")
    sch.bind(q, "blockIdx.x")


def _pixel(axes: list[list[int]], pixel: Any) -> Any:
    """TE expression: the operand's pixel that goes with one of the result."""
    inner = [prod(size for size, _ in axes[k + 1 :]) for k in range(len(axes))]
    terms = []
    for k, ((size, stride), below) in enumerate(zip(axes, inner, strict=True)):
        if stride and size > 1:
            index = pixel // below if below > 1 else pixel
            terms.append((index % size if k else index) * stride)
    return sum(terms[1:], terms[0]) if terms else 0


MAKERS = (Maker("elements", tuple(_NUMBERS), variants),)
