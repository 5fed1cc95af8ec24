"""Layers whose operand lies on the device in another shape than the one they read it in.

A reshape is a view of memory on the CPU; in blocks of channels it moves elements, which is done
before the layer that reads them. Fully connected layers take the elements in any order if their
weights come in the same, so that nothing moves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codegen.gpu.kernel import Place, Variant
from codegen.gpu.layers import variants
from codegen.gpu.layout import blocked, pack
from codegen.kernel import Layer
from edgekit.graph import Node, Value
from edgekit.ops.interval import Interval

Shape = tuple[int, ...]


def variants_as_stored(layer: Layer, stored: dict[str, Shape]) -> list[Variant]:
    """Variants of `layer` on its operands as they lie on the device.

    Args:
        stored: the shape of each operand's tensor there, by value.

    Raises:
        NotApplicable: where there is none.
    """
    operands = [v for v in layer.inputs if v.name not in layer.constants]
    moved = {i: v for i, v in enumerate(operands) if not _alike(v.shape, stored[v.name])}
    if not moved:
        return variants(layer)
    x = layer.inputs[0]
    if layer.node.op == "fully_connected" and len(x.shape) == 2 and x.shape[0] == 1:
        return variants(_permuted(layer, stored[x.name]))
    first = {i: _move(i, replace(v, shape=stored[v.name]), v) for i, v in moved.items()}
    return [_behind(variant, first) for variant in variants(layer)]


def _move(index: int, here: Value, wanted: Value) -> Variant:
    """The reshape of operand `index` into scratch memory of the same name."""
    name = _moved(index).name
    node = Node("reshape", (here.name,), (name,), {"shape": list(wanted.shape)})
    made = variants(Layer(node, (here,), {}, replace(wanted, name=name)))[0]
    places = {Place("input"): Place("input", index), Place("output"): _moved(index)}
    layout = blocked(wanted.shape, wanted.dtype)
    return _renamed(made, places, f" of {name}", {name: layout.nbytes})


def _renamed(
    variant: Variant, places: dict[Place, Place], suffix: str, scratch: dict[str, int]
) -> Variant:
    """`variant` with other places, and with a suffix to the names of its constants."""
    own = {n: n + suffix for n in variant.constants}
    places = places | {
        Place("constant", name=old): Place("constant", name=new) for old, new in own.items()
    }
    launches = tuple(
        replace(launch, arguments=tuple(places.get(a, a) for a in launch.arguments))
        for launch in variant.launches
    )
    return replace(
        variant,
        launches=launches,
        constants={own[n]: data for n, data in variant.constants.items()},
        scratch=variant.scratch | scratch,
    )


def _behind(variant: Variant, moves: dict[int, Variant]) -> Variant:
    """`variant` after moves of some of its operands, by their number."""
    own = _renamed(variant, {Place("input", i): _moved(i) for i in moves}, "", {})
    steps = (*moves.values(), own)
    return replace(
        own,
        launches=tuple(run for step in steps for run in step.launches),
        constants={name: data for step in steps for name, data in step.constants.items()},
        scratch={name: nbytes for step in steps for name, nbytes in step.scratch.items()},
    )


def _moved(operand: int) -> Place:
    return Place("scratch", name=f"operand {operand}")


def _alike(a: Shape, b: Shape) -> bool:
    """Whether two shapes of one tensor are the same bytes on the device."""
    return blocked(a, "int8") == blocked(b, "int8")


def _permuted(layer: Layer, stored: Shape) -> Layer:
    """A fully connected layer on one pixel whose channels are the bytes of a tensor, gaps too."""
    x, w = layer.inputs[0], layer.inputs[1]
    layout = blocked(stored, "int64")
    # Where each element of the device's tensor comes from; gaps have weights of zero.
    order = pack(np.arange(1, x.size + 1, dtype=np.int64), layout) - 1
    gap = order < 0
    data = layer.constants[w.name][:, order]
    data[:, gap] = 0
    interval = layer.x_interval
    if interval is not None:
        interval = Interval(
            np.where(gap, 0, interval.lo[order]), np.where(gap, 0, interval.hi[order])
        )
    values = (replace(x, shape=(1, len(order))), replace(w, shape=data.shape), *layer.inputs[2:])
    return replace(
        layer, inputs=values, constants={**layer.constants, w.name: data}, x_interval=interval
    )
