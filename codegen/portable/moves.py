"""slice, pad, expand, tile, transpose, nearest resize, and gather with constant indices: copies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codegen.kernel import (
    BYTES,
    C_TYPES,
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.overlap import sharing
from codegen.portable._moves import Copy, Loop, along, copy_text, merged, strides_of
from edgekit.graph import Node, Shape
from edgekit.ops import windows as win
from edgekit.ops.gather import batch_dims, inside
from edgekit.ops.movement import axis_of
from edgekit.ops.pad import MODES, mode_of, pad_value, widths_of
from edgekit.ops.resize import changed_axes
from edgekit.ops.sampling import nearest_places
from edgekit.ops.slice import slices_of


def _by_axis(places: list[np.ndarray], x: Shape, y: Shape) -> Copy:
    """Element [j, k, ...] of y is element [places[0][j], places[1][k], ...] of x."""
    pairs = [
        along(p, source, target)
        for p, source, target in zip(places, strides_of(x), strides_of(y), strict=True)
    ]
    return Copy(tuple(merged(loop for loop, _ in pairs)), sum(first for _, first in pairs))


def _slice(node: Node, x: Shape, y: Shape) -> Copy:
    return _by_axis([np.arange(n)[s] for n, s in zip(x, slices_of(node), strict=True)], x, y)


def _expand(node: Node, x: Shape, y: Shape) -> Copy:
    full = (*[1] * (len(y) - len(x)), *x)
    places = [np.arange(b) * (a > 1) for a, b in zip(full, y, strict=True)]
    return _by_axis(places, full, y)


def _tile(node: Node, x: Shape, y: Shape) -> Copy:
    loops = []
    for size, times, source, target in zip(
        x, node.attrs["repeats"], strides_of(x), strides_of(y), strict=True
    ):
        loops += [Loop(times, 0, size * target), Loop(size, source, target)]
    return Copy(tuple(merged(loops)))


def _transpose(node: Node, x: Shape, y: Shape) -> Copy:
    steps = strides_of(x)
    return Copy(
        tuple(merged(
            Loop(size, steps[axis], target)
            for axis, size, target in zip(node.attrs["perm"], y, strides_of(y), strict=True)
        ))
    )  # fmt: skip


def _pad(node: Node, x: Shape, y: Shape) -> Copy:
    widths = widths_of(node)
    if mode_of(node) != "constant":
        mode = MODES[mode_of(node)]
        places = [
            np.pad(np.arange(n), pair, mode=mode)  # type: ignore[call-overload]
            for n, pair in zip(x, widths, strict=True)
        ]
        return _by_axis(places, x, y)
    loops = [Loop(n, a, b) for n, a, b in zip(x, strides_of(x), strides_of(y), strict=True)]
    first = sum(before * b for (before, _), b in zip(widths, strides_of(y), strict=True))
    return Copy(tuple(merged(loops)), target=first)


def _resize(node: Node, x: Shape, y: Shape) -> Copy:
    if node.attrs.get("mode", "nearest") != "nearest":
        raise NotApplicable("interpolation")
    changed = changed_axes(node, x)
    places = [nearest_places(node, i, n) if i in changed else np.arange(n) for i, n in enumerate(x)]
    return _by_axis(places, x, y)


def _pixel_shuffle(node: Node, x: Shape, y: Shape) -> Copy:
    (sh, sw), (top, left) = win.pair(node, "strides"), node.attrs["crop"]
    row, column, channels = x[2] * x[3], x[3], y[3]
    rows, columns = np.arange(y[1]) + top, np.arange(y[2]) + left
    down, first = along(rows // sh * row + rows % sh * sw * channels, 1, y[2] * channels)
    across, second = along(columns // sw * column + columns % sw * channels, 1, channels)
    return Copy(tuple(merged([down, across, Loop(channels, 1, 1)])), first + second)


def _gather(node: Node, x: Shape, indices: np.ndarray) -> Copy:
    axis = axis_of(node)
    at = inside(indices, x[axis]).ravel()
    flat = (*x[:axis], at.size, *x[axis + 1 :])
    return _by_axis([at if i == axis else np.arange(n) for i, n in enumerate(x)], x, flat)


SHAPED: dict[str, Callable[[Node, Shape, Shape], Copy]] = {
    "slice": _slice,
    "expand": _expand,
    "tile": _tile,
    "transpose": _transpose,
    "pad": _pad,
    "resize": _resize,
    "pixel_shuffle": _pixel_shuffle,
}


def copy_of(layer: Layer) -> Copy:
    """The copy that a layer is; NotApplicable where it is none."""
    node, x = layer.node, layer.inputs[0]
    if node.op in SHAPED:
        return SHAPED[node.op](node, x.shape, layer.output.shape)
    indices = layer.constants.get(node.inputs[1])
    if indices is None or batch_dims(node):
        raise NotApplicable("computed indices")
    return _gather(node, x.shape, indices)


def _candidates(layer: Layer) -> list[Candidate]:
    x, y = layer.inputs[0], layer.output
    if x.dtype not in C_TYPES or x.name in layer.constants:
        raise NotApplicable(f"{x.dtype} constants" if x.name in layer.constants else x.dtype)
    copy = copy_of(layer)
    tables = {f"table{i}": t for i, t in enumerate(copy.tables)}
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        *(Operand(name, str(t.dtype), t.size, "constant") for name, t in tables.items()),
        Operand("y", y.dtype, y.size, "output"),
    )
    params = {"template": "moves", **copy.params()}
    cost, filled = copy.cost(x.dtype), layer.node.op == "pad" and mode_of(layer.node) == "constant"
    if filled:
        params["fill"] = int(pad_value(layer.node, x)) if x.dtype != "float32" else float(
            pad_value(layer.node, x))  # fmt: skip
        cost += Cost(y.nbytes // 4 + 20, y.nbytes // 3 + 30)
    spec = KernelSpec(layer.node.op, "c99", operands, params)
    candidate = Candidate(spec, (x.name,), tables, cost=cost)
    if filled:
        return [candidate]
    # A memmove has read its run when it has written the first byte.
    reads, size = copy.reads(), BYTES[x.dtype]
    ends = (np.arange(len(reads)) + 1) * copy.run
    return [sharing(candidate, np.stack([reads, ends], 1) * size)]


def _write(spec: KernelSpec) -> Written:
    x, y = spec.operands[0], spec.operands[-1]
    tables = [o for o in spec.operands if o.role == "constant"]
    kind, restrict = C_TYPES[x.dtype], "" if x.alias else "restrict "
    parameters = [
        f"const {kind} *{restrict}x",
        *(f"const {C_TYPES[o.dtype]} *restrict {o.name}" for o in tables),
        f"{kind} *{restrict}y",
    ]
    fill = _fill(spec.params["fill"], y) if "fill" in spec.params else ""
    body = copy_text(spec.params, x.dtype, tables=[o.name for o in tables], overlaps=x.alias)
    return Written(f"void {spec.name}({', '.join(parameters)})\n{{\n{fill}{body}\n}}\n", {}, 0)


def _fill(value: float, y: Operand) -> str:
    """C text that sets all of `y`."""
    if y.dtype == "float32":
        # The shortest decimal that is this float32.
        number = f"{float(np.float32(value))!r}f"
        return f"    for (int32_t i = 0; i < {y.count}; ++i) {{\n        y[i] = {number};\n    }}\n"
    raw = np.array(value, y.dtype).tobytes()
    if raw == raw[:1] * len(raw):
        return f"    (void)memset(y, {raw[0]}, {y.nbytes}u);\n"
    return f"    for (int32_t i = 0; i < {y.count}; ++i) {{\n        y[i] = {value};\n    }}\n"


TEMPLATES = (Template("moves", (*SHAPED, "gather"), _candidates, _write),)
