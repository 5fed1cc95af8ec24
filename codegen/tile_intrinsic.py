# mypy: ignore-errors
"""Tensor intrinsics of the portable kernels: tiles of four inner products, ``ek_tile.h``."""

from __future__ import annotations

from typing import Any

from codegen.tensor_intrinsics import register


def tile(pixels: int, channels: int, taps: int, dtype: str) -> str:
    """Intrinsic: `pixels` x `channels` results (2x2 or 1x4) over `taps` taps each.

    Activations [pixels, taps] of `dtype`, weights [channels, taps] int8, results
    [pixels, channels] int32, added to.
    """
    wide = "_s16" if dtype == "int16" else ""
    function = f"ek_tile_{pixels}x{channels}{wide}"
    name = f"{function}_{taps}"
    return register(f"ek.{name}", _tile, pixels, channels, taps, dtype, function)


def _tile(pixels: int, channels: int, taps: int, dtype: str, function: str) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    # A loop of one iteration would have been dropped.
    if pixels == 1:

        @T.prim_func(s_tir=True)
        def description(
            x: T.Buffer((taps,), dtype, offset_factor=1),
            w: T.Buffer((channels, taps), "int8", offset_factor=1),
            c: T.Buffer((channels,), "int32", offset_factor=1),
        ) -> None:
            with T.sblock("root"):
                T.reads(c[0:channels], x[0:taps], w[0:channels, 0:taps])
                T.writes(c[0:channels])
                for j, k in T.grid(channels, taps):
                    with T.sblock("dot"):
                        vj, vk = T.axis.remap("SR", [j, k])
                        c[vj] = c[vj] + T.Cast("int32", x[vk]) * T.Cast("int32", w[vj, vk])

        @T.prim_func(s_tir=True)
        def implementation(
            x: T.Buffer((taps,), dtype, offset_factor=1),
            w: T.Buffer((channels, taps), "int8", offset_factor=1),
            c: T.Buffer((channels,), "int32", offset_factor=1),
        ) -> None:
            with T.sblock("root"):
                T.reads(c[0:channels], x[0:taps], w[0:channels, 0:taps])
                T.writes(c[0:channels])
                T.evaluate(
                    T.call_extern(
                        function,
                        T.address_of(x[0]),
                        T.address_of(w[0, 0]),
                        T.int32(taps),
                        T.address_of(c[0]),
                        dtype="void",
                    )
                )

        return description, implementation

    @T.prim_func(s_tir=True)
    def description2(
        x: T.Buffer((pixels, taps), dtype, offset_factor=1),
        w: T.Buffer((channels, taps), "int8", offset_factor=1),
        c: T.Buffer((pixels, channels), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:pixels, 0:channels], x[0:pixels, 0:taps], w[0:channels, 0:taps])
            T.writes(c[0:pixels, 0:channels])
            for i, j, k in T.grid(pixels, channels, taps):
                with T.sblock("dot"):
                    vi, vj, vk = T.axis.remap("SSR", [i, j, k])
                    c[vi, vj] = c[vi, vj] + T.Cast("int32", x[vi, vk]) * T.Cast("int32", w[vj, vk])

    @T.prim_func(s_tir=True)
    def implementation2(
        x: T.Buffer((pixels, taps), dtype, offset_factor=1),
        w: T.Buffer((channels, taps), "int8", offset_factor=1),
        c: T.Buffer((pixels, channels), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:pixels, 0:channels], x[0:pixels, 0:taps], w[0:channels, 0:taps])
            T.writes(c[0:pixels, 0:channels])
            T.evaluate(
                T.call_extern(
                    function,
                    T.address_of(x[0, 0]),
                    T.address_of(w[0, 0]),
                    T.int32(taps),
                    T.address_of(c[0, 0]),
                    dtype="void",
                )
            )

    return description2, implementation2
