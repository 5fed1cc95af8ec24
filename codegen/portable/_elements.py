"""Loops over elements with numpy broadcasting, for kernels in plain C text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.kernel import C_TYPES, Candidate, Cost, KernelSpec, Layer, Operand
from codegen.overlap import element_steps, sharing
from edgekit.graph import Shape, Value


@dataclass(frozen=True)
class Axis:
    """A loop of `size` rounds; `strides` are each operand's elements per round, 0 broadcasts."""

    size: int
    strides: tuple[int, ...]


def axes_of(shapes: Sequence[Sequence[int]], out: Sequence[int]) -> list[Axis]:
    """As few loops as do: axes in which every operand goes on where it was are one."""
    padded = [[1] * (len(out) - len(shape)) + list(shape) for shape in shapes]
    found: list[Axis] = []
    steps = [1] * len(shapes)
    for axis in reversed(range(len(out))):
        size = out[axis]
        if size == 1:
            continue
        strides = tuple(
            step if shape[axis] > 1 else 0 for shape, step in zip(padded, steps, strict=True)
        )
        steps = [step * shape[axis] for shape, step in zip(padded, steps, strict=True)]
        inner = found[-1] if found else None
        if inner and all(s == t * inner.size for s, t in zip(strides, inner.strides, strict=True)):
            found[-1] = Axis(inner.size * size, inner.strides)
        else:
            found.append(Axis(size, strides))
    return found[::-1] or [Axis(1, (0,) * len(shapes))]


def loops(
    shapes: Sequence[Sequence[int]], out: Sequence[int], body: Callable[[list[str], str], str]
) -> str:
    """Nested loops in C around ``body(operands' indices, result's index)``, result in order."""
    axes = axes_of(shapes, out)
    inner = [math.prod(a.size for a in axes[k + 1 :]) for k in range(len(axes))]
    at = [_index([a.strides[i] for a in axes]) for i in range(len(shapes))]
    lines = []
    for k, axis in enumerate(axes):
        pad = "    " * (k + 1)
        lines.append(f"{pad}for (int32_t i{k} = 0; i{k} < {axis.size}; ++i{k}) {{")
    pad = "    " * (len(axes) + 1)
    lines += [pad + line for line in body(at, _index(inner)).splitlines()]
    lines += ["    " * (k + 1) + "}" for k in reversed(range(len(axes)))]
    return "\n".join(lines)


def _index(strides: Sequence[int]) -> str:
    terms = [f"i{k}" if s == 1 else f"i{k} * {s}" for k, s in enumerate(strides) if s]
    return " + ".join(terms) or "0"


def candidate(
    template: str,
    layer: Layer,
    params: dict[str, Any],
    per_element: Cost,
    tables: dict[str, np.ndarray] | None = None,
) -> Candidate:
    """A kernel of operands a, b, c in the node's order, its tables, and the result y.

    Operands that are graph constants are constants of the kernel. The result may lie over the
    first operand as far as the order of elements allows.
    """
    operands, inputs, constants = [], [], dict(tables or {})
    for letter, value in zip("abc", layer.inputs, strict=False):
        data = layer.constants.get(value.name)
        role = "input" if data is None else "constant"
        operands.append(Operand(letter, value.dtype, value.size, role))
        if data is None:
            inputs.append(value.name)
        else:
            constants[letter] = np.ascontiguousarray(data)
    for name, table in (tables or {}).items():
        operands.append(Operand(name, str(table.dtype), table.size, "constant"))
    out = layer.output
    operands.append(Operand("y", out.dtype, out.size, "output"))
    spec = KernelSpec(
        layer.node.op,
        "c99",
        tuple(operands),
        {
            "template": template,
            "shapes": [list(v.shape) for v in layer.inputs],
            "out": list(out.shape),
            "headers": ["ek_element.h"],
            **params,
        },
    )
    found = Candidate(spec, tuple(inputs), constants, cost=per_element * out.size)
    varying = [v for v in layer.inputs if v.name not in layer.constants]
    if not varying:
        return found
    return sharing(found, _steps(varying[0], out.shape, out.dtype))


def _steps(first: Value, out: Shape, dtype: str) -> np.ndarray:
    read = np.broadcast_to(np.arange(first.size).reshape(first.shape), out)
    return np.asarray(element_steps(read, first.dtype, dtype))


def signature(spec: KernelSpec) -> str:
    """The kernel's first line in C."""
    parameters = [
        f"{'' if o.role == 'output' else 'const '}{C_TYPES[o.dtype]} *{o.name}"
        for o in spec.operands
    ]
    return f"void {spec.name}({', '.join(parameters)})"


def function(spec: KernelSpec, body: str, setup: str = "") -> str:
    return f"{signature(spec)}\n{{\n{setup}{body}\n}}\n"


def dtypes(spec: KernelSpec) -> dict[str, str]:
    return {o.name: o.dtype for o in spec.operands}
