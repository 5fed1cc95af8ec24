"""average_pool2d as SUM and max_pool2d as MAX commands, and reductions over pixels as either."""

from __future__ import annotations

from functools import cache

import numpy as np

from codegen.kernel import Layer
from codegen.npu.job import Image, Part, WindowJob, alike, as_it_is, image_of
from codegen.npu.layers.convolution import strides_of, taps_of
from edgekit.ops import windows as win
from edgekit.ops.average_pool2d import divisors
from edgekit.ops.reduce import axes_of, count_of, kind_of, reduce_params
from edgekit.ops.requant import clamp_of_output, tensor_quant
from targets.npu.config import Accelerator
from targets.npu.isa import Opcode, Window

#: Commands that a layer may be cut into because its windows have different divisors.
MOST_PARTS = 64
#: Largest window whose divisor is proven: its sums are tried one by one.
MOST_PIXELS = 1 << 14


def maximum(layer: Layer, image: Image, a: Accelerator) -> WindowJob:
    window = _window(layer, image, a, Opcode.MAX, -128)
    parameters = as_it_is(a.requant_lanes)
    return WindowJob(layer.node.inputs[0], layer.output.name, image, image_of(layer.output.shape),
                     window, parameters)  # fmt: skip


def average(layer: Layer, image: Image, a: Accelerator) -> WindowJob:
    """One command where every window has one divisor, else parts (`parts_of`)."""
    counts = counts_of(layer)
    different = list(dict.fromkeys(counts.ravel().tolist()))
    pad = tensor_quant(layer.inputs[0])[1] if layer.node.attrs.get("count_include_pad") else 0
    lanes, entries = a.requant_lanes, []
    for count in different:
        found = divisor(count)
        assert found is not None
        entries.append(alike(*found, lanes))
    place = {count: i * lanes for i, count in enumerate(different)}
    parts = tuple(Part(t, b, c, place[n]) for t, b, c, n in parts_of(counts))
    return WindowJob(layer.node.inputs[0], layer.output.name, image, image_of(layer.output.shape),
                     _window(layer, image, a, Opcode.SUM, pad), np.concatenate(entries),
                     parts=parts)  # fmt: skip


def reduction(layer: Layer, image: Image, a: Accelerator) -> WindowJob:
    """A sum, mean or maximum over rows, columns or both: one window along each of them."""
    node, entries = layer.node, a.requant_lanes
    rows, columns = reduced_axes(layer)
    kernel = (image.height if rows else 1, image.width if columns else 1)
    result = Image(1 if rows else image.height, 1 if columns else image.width, image.channels)
    values = list(layer.inputs)
    if kind_of(node) == "max":
        low, high, zero_point, opcode = -128, 127, 0, Opcode.MAX
        parameters = as_it_is(entries)
    else:
        p, opcode = reduce_params(node, values, layer.output), Opcode.SUM
        low, high, zero_point = p.qmin, p.qmax, tensor_quant(layer.output)[1]
        parameters = alike(p.multiplier, max(p.shift, 0), max(-p.shift, 0), entries)
        parameters[:, 0] = -count_of(node, values[0]) * tensor_quant(values[0])[1]
    taps, kernel_groups, tail = taps_of(kernel[1], 1)
    window = Window(
        opcode, 0, image.pixels, image.width, image.height, result.width, result.height,
        0, result.pixels, result.blocks, -(-image.channels // a.depthwise_lanes), 1,
        kernel[0], kernel_groups, taps, tail, step_w=taps, pad=-128 if opcode == Opcode.MAX else 0,
        uniform=1, zero_point=zero_point, low=low, high=high,
    )  # fmt: skip
    return WindowJob(node.inputs[0], layer.output.name, image, result, window, parameters)


def reduced_axes(layer: Layer) -> tuple[bool, bool]:
    """Whether a reduction goes over the rows, and over the columns, of its operand's image."""
    rank, axes = len(layer.inputs[0].shape), axes_of(layer.node)
    return rank == 4 and 1 in axes, rank - 2 in axes


def counts_of(layer: Layer) -> np.ndarray:
    """Divisors of the windows, int64 [OH, OW]."""
    _, counts = divisors(layer.node, layer.inputs[0].shape)
    return np.asarray(counts[0, :, :, 0])


def parts_of(counts: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(top, bottom, columns, divisor) of commands that give every pixel its divisor.

    A command's rows are as wide as its result's, so that one that does not make whole rows makes
    one row. The last columns' divisor is taken for whole rows first; then what lies further to the
    left is written over, from right to left.
    """
    found: list[tuple[int, int, int, int]] = []
    rows, columns = counts.shape
    for top in range(rows):
        if found and (counts[top] == counts[found[-1][0]]).all():
            found[-1] = (found[-1][0], top + 1, columns, found[-1][3])
        else:
            found.append((top, top + 1, columns, int(counts[top, -1])))
    more = []
    for top in range(rows):
        row = counts[top]
        ends = [x + 1 for x in range(columns - 1) if row[x] != row[x + 1]]
        more += [(top, top + 1, end, int(row[end - 1])) for end in reversed(ends)]
    return found + more


@cache
def divisor(count: int) -> tuple[int, int, int] | None:
    """(multiplier, left shift, right shift) that divide every sum of `count` int8 as SPEC's mean
    does; None where none was found."""
    if count > MOST_PIXELS:
        return None
    sums = np.arange(-128 * count, 127 * count + 1, dtype=np.int64)
    wanted = np.sign(sums) * ((np.abs(sums) + count // 2) // count)
    # The sum keeps its sign, and the most bits below that; the quotient is rounded once it has the
    # fewest bits behind the point that tell its halves apart, or a few more.
    left = 31 - (128 * count).bit_length()
    fewest = (2 * count).bit_length()
    for right in range(fewest, min(left + count.bit_length(), 31) + 1):
        multiplier = round(2 ** (31 + right - left) / count)
        if multiplier >= 1 << 31:
            break
        h = ((sums << left) * multiplier + (1 << 30)) >> 31
        if np.array_equal((h + (1 << (right - 1)) - (h < 0)) >> right, wanted):
            return multiplier, left, right
    return None


def _window(layer: Layer, image: Image, a: Accelerator, opcode: Opcode, pad: int) -> Window:
    node, result = layer.node, image_of(layer.output.shape)
    kernel, strides = win.pair(node, "kernel"), strides_of(node, result)
    dilations = win.pair(node, "dilations", 1)
    top, left, _, _ = win.pads_of(node)
    taps, kernel_groups, tail = taps_of(kernel[1], dilations[1])
    low, high = clamp_of_output(node, layer.output)
    return Window(
        opcode, 0, image.pixels, image.width, image.height, result.width, result.height,
        0, result.pixels, result.blocks, -(-image.channels // a.depthwise_lanes), 1,
        kernel[0], kernel_groups, taps, tail, *strides, dilations[0],
        taps if dilations[1] == 1 else dilations[1], top, left, pad, uniform=1,
        zero_point=0, low=low, high=high,
    )  # fmt: skip
