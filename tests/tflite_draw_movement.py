"""Operators that move, repeat or resize."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tflite_draw import ALL, Draw, Made, operator
from tflite_files import File


@operator(*ALL)
def concatenation(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    names, total = [], 0
    for _ in range(d.number(1, 3)):
        part = list(shape)
        part[axis] = d.number(1, 3)
        total += part[axis]
        names.append(f.tensor(part, *q))
    inputs = list(names)
    if d.number(0, 1):
        names.append(f.tensor(shape, *q, data=d.numbers(shape, dtype)))
        total += shape[axis]
    out = list(shape)
    out[axis] = total
    y = f.tensor(out, *q)
    f.op("CONCATENATION", names, [y], "Concatenation", 2, axis=d.of([axis, axis - len(shape)]))
    return inputs, [y]


@operator(*ALL)
def pack(f: File, d: Draw, dtype: str) -> Made:
    shape, q, count = d.shape(d.number(2, 3)), d.quant(dtype), d.number(1, 3)
    axis = d.number(1, len(shape))
    names = [f.tensor(shape, *q) for _ in range(count)]
    y = f.tensor([*shape[:axis], count, *shape[axis:]], *q)
    f.op("PACK", names, [y], "Pack", axis=axis, valuesCount=count)
    return names, [y]


@operator("int8", "float32")
def unpack(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(d.number(3, 4), 3), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    x = f.tensor(shape, *q)
    outs = [f.tensor([*shape[:axis], *shape[axis + 1 :]], *q) for _ in range(shape[axis])]
    f.op("UNPACK", [x], outs, "Unpack", axis=axis, num=shape[axis])
    return [x], outs


@operator("int8", "int16", "float32")
def split(f: File, d: Draw, dtype: str) -> Made:
    shape, q, count = d.shape(), d.quant(dtype), d.number(1, 3)
    axis = d.number(1, len(shape) - 1)
    part = list(shape)
    shape[axis] *= count
    x = f.tensor(shape, *q)
    outs = [f.tensor(part, *q) for _ in range(count)]
    f.op("SPLIT", [f.ints(axis), x], outs, "Split", 2, numSplits=count)
    return [x], outs


@operator("int8", "int16", "float32")
def split_v(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    sizes = [d.number(1, 3) for _ in range(d.number(1, 3))]
    shape[axis] = sum(sizes)
    x = f.tensor(shape, *q)
    outs = []
    for size in sizes:
        part = list(shape)
        part[axis] = size
        outs.append(f.tensor(part, *q))
    f.op("SPLIT_V", [x, f.ints(sizes), f.ints(axis)], outs, "SplitV", 2, numSplits=len(sizes))
    return [x], outs


@operator(*ALL)
def slice_(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    begins = [d.number(0, n - 1) for n in shape]
    sizes = [d.number(1, n - b) for n, b in zip(shape, begins, strict=True)]
    x, y = f.tensor(shape, *q), f.tensor(sizes, *q)
    said = [-1 if b + s == n and d.number(0, 1) else s for b, s, n in
            zip(begins, sizes, shape, strict=True)]  # fmt: skip
    f.op("SLICE", [x, f.ints(begins), f.ints(said)], [y], "Slice", 3)
    return [x], [y]


@operator(*ALL)
def strided_slice(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(4), d.quant(dtype)
    begins, ends, steps, parts = [0], [1], [1], [slice(0, 1)]
    begin_mask, end_mask, shrink_mask = 0, 0, 0
    for i, n in enumerate(shape[1:], 1):
        step, begin, end = d.of([1, 1, 2, -1]), d.number(-n, n - 1), d.number(-n, n)
        if d.number(0, 3) == 0 and not shrink_mask:
            shrink_mask |= 1 << i
            step, end = 1, begin + 1 if begin != -1 else n
            parts.append(slice(begin % n, begin % n + 1))
        else:
            begin_mask |= d.number(0, 1) << i
            end_mask |= d.number(0, 1) << i
            part = slice(None if begin_mask >> i & 1 else begin,
                         None if end_mask >> i & 1 else end, step)  # fmt: skip
            if not len(range(*part.indices(n))):
                begin_mask, end_mask = begin_mask | 1 << i, end_mask | 1 << i
                part = slice(None, None, step)
            parts.append(part)
        begins.append(begin)
        ends.append(end)
        steps.append(step)
    sizes = [len(range(*p.indices(n))) for p, n in zip(parts, shape, strict=True)]
    out = [n for i, n in enumerate(sizes) if not shrink_mask >> i & 1]
    x, y = f.tensor(shape, *q), f.tensor(out, *q)
    f.op(
        "STRIDED_SLICE", [x, f.ints(begins), f.ints(ends), f.ints(steps)], [y], "StridedSlice", 2,
        beginMask=begin_mask, endMask=end_mask, shrinkAxisMask=shrink_mask,
    )  # fmt: skip
    return [x], [y]


def _pads(d: Draw, shape: Sequence[int], most: Sequence[int]) -> list[list[int]]:
    return [[0, 0], *([d.number(0, m), d.number(0, m)] for m in most[1:])]


@operator("int8", "int16", "float32")
def pad(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    pads = _pads(d, shape, [2] * len(shape))
    x = f.tensor(shape, *q)
    y = f.tensor([n + a + b for n, (a, b) in zip(shape, pads, strict=True)], *q)
    f.op("PAD", [x, f.ints(pads)], [y], "Pad", 2)
    return [x], [y]


@operator("int8", "float32")
def padv2(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    pads = _pads(d, shape, [2] * len(shape))
    x = f.tensor(shape, *q)
    y = f.tensor([n + a + b for n, (a, b) in zip(shape, pads, strict=True)], *q)
    value = f.tensor([1], *q, data=d.numbers([1], dtype))
    f.op("PADV2", [x, f.ints(pads), value], [y], "PadV2", 2)
    return [x], [y]


@operator("int8", "float32")
def mirror_pad(f: File, d: Draw, dtype: str) -> Made:
    shape, q, mode = d.shape(), d.quant(dtype), d.number(0, 1)
    pads = _pads(d, shape, [min(2, n - 1 + mode) for n in shape])
    x = f.tensor(shape, *q)
    y = f.tensor([n + a + b for n, (a, b) in zip(shape, pads, strict=True)], *q)
    f.op("MIRROR_PAD", [x, f.ints(pads)], [y], "MirrorPad", mode=mode)
    return [x], [y]


@operator("int8", "float32")
def gather(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(d.number(2, 3)), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    count = d.number(1, 4)
    indices = f.ints([d.number(0, shape[axis] - 1) for _ in range(count)])
    x, y = f.tensor(shape, *q), f.tensor([*shape[:axis], count, *shape[axis + 1 :]], *q)
    f.op("GATHER", [x, indices], [y], "Gather", axis=axis)
    return [x], [y]


@operator("int8", "float32")
def gather_nd(f: File, d: Draw, dtype: str) -> Made:
    shape, q, count = d.shape(3), d.quant(dtype), d.number(1, 4)
    depth = d.number(1, 3)
    indices = [[d.number(0, n - 1) for n in shape[:depth]] for _ in range(count)]
    x, y = f.tensor(shape, *q), f.tensor([count, *shape[depth:]], *q)
    f.op("GATHER_ND", [x, f.ints(indices)], [y], "GatherNd")
    return [x], [y]


def _resize(f: File, d: Draw, dtype: str, code: str, options: str) -> Made:
    shape, q = [1, d.number(1, 5), d.number(1, 5), d.number(1, 3)], d.quant(dtype)
    size = [d.number(1, 9), d.number(1, 9)]
    how = d.of([{}, {"alignCorners": True}, {"halfPixelCenters": True}])
    x, y = f.tensor(shape, *q), f.tensor([1, *size, shape[3]], *q)
    f.op(code, [x, f.ints(size)], [y], options, 3, **how)
    return [x], [y]


@operator("int8", "float32")
def resize_bilinear(f: File, d: Draw, dtype: str) -> Made:
    return _resize(f, d, dtype, "RESIZE_BILINEAR", "ResizeBilinear")


@operator(*ALL)
def resize_nearest_neighbor(f: File, d: Draw, dtype: str) -> Made:
    return _resize(f, d, dtype, "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor")


@operator(*ALL)
def transpose(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    perm = d.permutation(len(shape))
    x, y = f.tensor(shape, *q), f.tensor([shape[p] for p in perm], *q)
    f.op("TRANSPOSE", [x, f.ints(perm)], [y], "Transpose", 2)
    return [x], [y]


@operator(*ALL)
def reshape(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    out = d.of([[1, -1], [-1, 1], [1, 1, -1], [-1]])
    to = [math.prod(shape) if n == -1 else n for n in out]
    x, y = f.tensor(shape, *q), f.tensor(to, *q)
    f.op("RESHAPE", [x, f.ints(out)], [y], "Reshape", newShape=out)
    return [x], [y]


@operator("int8", "float32")
def expand_dims(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(d.number(2, 3)), d.quant(dtype)
    axis = d.number(0, len(shape))
    x, y = f.tensor(shape, *q), f.tensor([*shape[:axis], 1, *shape[axis:]], *q)
    f.op("EXPAND_DIMS", [x, f.ints(axis)], [y], "ExpandDims")
    return [x], [y]


@operator(*ALL)
def squeeze(f: File, d: Draw, dtype: str) -> Made:
    shape, q = [1, d.number(1, 4), 1, d.number(1, 4)], d.quant(dtype)
    x, y = f.tensor(shape, *q), f.tensor([1, shape[1], shape[3]], *q)
    f.op("SQUEEZE", [x], [y], "Squeeze", squeezeDims=[2])
    return [x], [y]


@operator("int8", "float32")
def broadcast_to(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(4, 3), d.quant(dtype)
    small = [d.of([1, n]) for n in shape]
    x, y = f.tensor(small, *q), f.tensor(shape, *q)
    f.op("BROADCAST_TO", [x, f.ints(shape)], [y], "BroadcastTo", 3)
    return [x], [y]


@operator("int8", "float32")
def space_to_depth(f: File, d: Draw, dtype: str) -> Made:
    q, block, h, w, c = (
        d.quant(dtype),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
    )
    x, y = f.tensor([1, h * block, w * block, c], *q), f.tensor([1, h, w, c * block**2], *q)
    f.op("SPACE_TO_DEPTH", [x], [y], "SpaceToDepth", 2, blockSize=block)
    return [x], [y]


@operator("int8", "float32")
def depth_to_space(f: File, d: Draw, dtype: str) -> Made:
    q, block, h, w, c = (
        d.quant(dtype),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
    )
    x, y = f.tensor([1, h, w, c * block**2], *q), f.tensor([1, h * block, w * block, c], *q)
    f.op("DEPTH_TO_SPACE", [x], [y], "DepthToSpace", 2, blockSize=block)
    return [x], [y]
