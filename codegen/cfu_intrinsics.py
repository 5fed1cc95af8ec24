"""Tensor intrinsics of the custom function unit: what schedules replace by calls into `ek_cfu.h`.

A tile is some pixels by four channels. Its accumulators ([pixels, 4] int32) and its channels'
parameters ([4, 3] int32: bias, multiplier, right shift) are registers of the unit; schedules see
them as buffers. Axes of one iteration are left out of every intrinsic, as TVM drops such loops.

Each intrinsic is generated as TVMScript text: a description, which TVM matches against the loops
it is to replace, and an implementation, a call.
"""

from __future__ import annotations

from typing import Any

from codegen.tensor_intrinsics import register


def clear(pixels: int) -> str:
    """Intrinsic: the accumulators become zero."""
    axes = _axes(i=(pixels, "S"), j=(4, "S"))
    return _register(
        f"clear_{pixels}", {"acc": (axes.shape("i", "j"), "int32", 0)}, axes,
        f"acc[{axes.at('i', 'j')}] = 0",
        ["ek_cfu_clear", f"T.int32({pixels})", axes.first("acc", "i", "j")],
    )  # fmt: skip


def dot(pixels: int, stride: int, width: int, steps: int) -> str:
    """Intrinsic: `steps` words of taps of each pixel times four channels' weights, added.

    x has rows of `width` bytes; a pixel's first word begins a row, `stride` rows from the last
    pixel's, and its words follow each other. Weights [steps, 4, 4] int8 (word, channel, tap).
    """
    axes = _axes(i=(pixels, "S"), j=(4, "S"), k=(steps, "R"), b=(4, "R"))
    words = width // 4
    rows = (pixels - 1) * stride + -(-steps // words)
    first = [_times("vi", stride)] if pixels > 1 else []
    if steps > words:
        first.append(f"vk // {words}" if words > 1 else "vk")
    within = _times(f"vk % {words}" if steps > words else "vk", 4)
    byte = f"{within} + vb" if steps > 1 and words > 1 else "vb"
    place = ", ".join([" + ".join(first), byte] if rows > 1 else [byte])
    acc, weight = f"acc[{axes.at('i', 'j')}]", f"w[{axes.at('k', 'j', 'b')}]"
    return _register(
        f"dot_{pixels}_{stride}_{width}_{steps}",
        {
            "acc": (axes.shape("i", "j"), "int32", 0),
            "x": ((rows, width) if rows > 1 else (width,), "int8", 0),
            "w": (axes.shape("k", "j", "b"), "int8", 0),
        },
        axes,
        f'{acc} = {acc} + T.Cast("int32", x[{place}]) * T.Cast("int32", {weight})',
        ["ek_cfu_dot", f"T.int32({pixels})",
         "T.address_of(x[0, 0])" if rows > 1 else "T.address_of(x[0])",
         f"T.int32({stride * width})", axes.first("w", "k", "j", "b"), f"T.int32({steps})",
         axes.first("acc", "i", "j")],
    )  # fmt: skip


def lanes(pixels: int, stride: int, taps: int, dilation: int) -> str:
    """Intrinsic: `taps` neighbours of each pixel times their weights, channel by channel, added.

    x has rows of four channels, a pixel's first is `stride` rows from the last pixel's, its next
    tap `dilation` rows further; weights [taps, 4] int8.
    """
    axes = _axes(i=(pixels, "S"), j=(4, "S"), t=(taps, "R"))
    rows = (pixels - 1) * stride + (taps - 1) * dilation + 1
    place = " + ".join(
        [
            *([_times("vi", stride)] if pixels > 1 else []),
            *([_times("vt", dilation)] if taps > 1 else []),
        ]
    )
    x = f"x[{place}, vj]" if rows > 1 else "x[vj]"
    acc, weight = f"acc[{axes.at('i', 'j')}]", f"w[{axes.at('t', 'j')}]"
    row = "x_0" if rows > 1 else "T.int32(4)"
    return _register(
        f"lanes_{pixels}_{stride}_{taps}_{dilation}",
        {
            "acc": (axes.shape("i", "j"), "int32", 0),
            "x": ((rows, 4) if rows > 1 else (4,), "int8", 1 if rows > 1 else 0),
            "w": (axes.shape("t", "j"), "int8", 0),
        },
        axes,
        f'{acc} = {acc} + T.Cast("int32", {x}) * T.Cast("int32", {weight})',
        ["ek_cfu_lanes", f"T.int32({pixels})",
         "T.address_of(x[0, 0])" if rows > 1 else "T.address_of(x[0])", f"{row} * {stride}",
         f"{row} * {dilation}", axes.first("w", "t", "j"), f"T.int32({taps})",
         axes.first("acc", "i", "j")],
    )  # fmt: skip


def channels(output: int) -> str:
    """Intrinsic: four channels' parameters into the unit, and what results are made of (`output`
    as `targets.cfu.isa.output` gives it)."""
    axes = _axes(j=(4, "S"), n=(3, "S"))
    return _register(
        f"channels_{output}",
        {"parameters": ((4, 3), "int32", 0), "rq": ((4, 3), "int32", 0)},
        axes,
        "parameters[vj, vn] = rq[vj, vn]",
        ["ek_cfu_channels", "T.address_of(rq[0, 0])", f"T.int32({output})",
         "T.address_of(parameters[0, 0])"],
    )  # fmt: skip


def results(pixels: int, zero_point: int, low: int, high: int, output: int) -> str:
    """Intrinsic: the accumulators requantized into rows of four int8, a row for each pixel."""
    axes = _axes(i=(pixels, "S"), j=(4, "S"))
    numbers = "".join(f", T.int32({n})" for n in (zero_point, low, high))
    return _register(
        f"results_{pixels}_{output}",
        {
            "y": (axes.shape("i", "j"), "int8", 1 if pixels > 1 else 0),
            "acc": (axes.shape("i", "j"), "int32", 0),
            "parameters": ((4, 3), "int32", 0),
        },
        axes,
        f'y[{axes.at("i", "j")}] = T.call_pure_extern("ek_requantize", '
        f'acc[{axes.at("i", "j")}] + parameters[vj, 0], parameters[vj, 1], '
        f'0 - parameters[vj, 2]{numbers}, dtype="int8")',
        ["ek_cfu_results", f"T.int32({pixels})", axes.first("acc", "i", "j"),
         "T.address_of(parameters[0, 0])", f"T.int32({output})", axes.first("y", "i", "j"),
         "y_0" if pixels > 1 else "T.int32(4)"],
    )  # fmt: skip


def _times(text: str, factor: int) -> str:
    return f"{text} * {factor}" if factor > 1 else text


class _axes:
    """The loops of an intrinsic, without those of one iteration."""

    def __init__(self, **extents: tuple[int, str]) -> None:
        self.extents = {name: e for name, e in extents.items() if e[0] > 1}

    def shape(self, *names: str) -> tuple[int, ...]:
        return tuple(self.extents[n][0] for n in names if n in self.extents)

    def at(self, *names: str) -> str:
        return ", ".join(f"v{n}" for n in names if n in self.extents)

    def first(self, buffer: str, *names: str) -> str:
        zeros = ", ".join("0" for n in names if n in self.extents)
        return f"T.address_of({buffer}[{zeros}])"


def _register(
    name: str,
    buffers: dict[str, tuple[tuple[int, ...], str, int]],
    axes: _axes,
    body: str,
    call: list[str],
) -> str:
    """Register an intrinsic. The first buffer is the one that is written.

    Args:
        buffers: shape, dtype, and how many of the leading strides are symbols (``NAME_0``).
        body: the statement of the description, in the variables ``v`` plus an axis' name.
        call: the function of the implementation and its arguments.
    """
    loops = ", ".join(axes.extents)
    kinds = "".join(kind for _, kind in axes.extents.values())
    extents = ", ".join(str(n) for n, _ in axes.extents.values())
    described = [
        f"for {loops} in T.grid({extents}):",
        '    with T.sblock("inner"):',
        f'        {axes.at(*axes.extents)} = T.axis.remap("{kinds}", [{loops}])',
        f"        {body}",
    ]
    called = [f'T.evaluate(T.call_extern("{call[0]}", {", ".join(call[1:])}, dtype="void"))']
    regions = {n: f"{n}[{', '.join(f'0:{s}' for s in b[0])}]" for n, b in buffers.items()}
    written = next(iter(buffers))
    _, made_of = body.split(" = ", 1)
    read = [region for n, region in regions.items() if f"{n}[" in made_of]
    head = [
        "@T.prim_func(s_tir=True)",
        f"def main({', '.join(f'{n}_h: T.handle' for n in buffers)}):",
    ]
    for buffer, (shape, dtype, symbols) in buffers.items():
        strides = [f"{buffer}_{i}" for i in range(symbols)]
        head += [f"    {s} = T.int32()" for s in strides]
        after = f", strides=[{', '.join([*strides, '1'])}]" if strides else ""
        head.append(
            f'    {buffer} = T.match_buffer({buffer}_h, {shape}, "{dtype}", offset_factor=1{after})'
        )
    head += [
        '    with T.sblock("root"):',
        f"        T.reads({', '.join(read)})",
        f"        T.writes({regions[written]})",
    ]
    texts = ["\n".join([*head, *(f"        {line}" for line in lines)]) for lines in
             (described, called)]  # fmt: skip
    return register(f"ek.cfu_{name}", _parse, *texts)


def _parse(*texts: str) -> Any:
    from tvm.script import from_source
    from tvm.script import tirx as T

    return tuple(from_source(text, {"T": T}) for text in texts)
