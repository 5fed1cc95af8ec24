# mypy: ignore-errors
"""Tensor intrinsic: the copy of a block of weights becomes a call that decodes it.

Schedules describe sparse weights as dense ones that are copied to scratch block by block
(``cache_read``); see `codegen.schedules._sparse`. TVMScript's annotations are not types, so type
checking is off here.
"""

from __future__ import annotations

from typing import Any

from codegen.tensor_intrinsics import register


def sparse_decode(shape: tuple[int, ...], nbytes: int, blocks: int) -> str:
    """Intrinsic for blocks of int8 `shape`, of 2 to 4 axes: ``ek_sparse_decode``.

    `blocks` blocks take `nbytes` bytes in all.
    """
    name = "x".join(str(extent) for extent in shape)
    build = {2: _two_axes, 3: _three_axes, 4: _four_axes}[len(shape)]
    return register(f"ek.sparse_{name}_{nbytes}_{blocks}", build, *shape, nbytes, blocks)


def _two_axes(rows: int, n1: int, nbytes: int, blocks: int) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    count = rows * n1

    @T.prim_func(s_tir=True)
    def description(
        src: T.Buffer((rows, n1), "int8", offset_factor=1),
        dst: T.Buffer((rows, n1), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(src[0:rows, 0:n1])
            T.writes(dst[0:rows, 0:n1])
            for i, j in T.grid(rows, n1):
                with T.sblock("copy"):
                    vi, vj = T.axis.remap("SS", [i, j])
                    dst[vi, vj] = src[vi, vj]

    @T.prim_func(s_tir=True)
    def implementation(
        src: T.Buffer((rows, n1), "int8", offset_factor=1),
        dst: T.Buffer((rows, n1), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(src[0:rows, 0:n1])
            T.writes(dst[0:rows, 0:n1])
            T.evaluate(
                T.call_extern(
                    "ek_sparse_decode",
                    src.data,
                    T.int32(nbytes),
                    T.int32(blocks),
                    src.elem_offset,
                    T.int32(count),
                    T.address_of(dst[0, 0]),
                    dtype="void",
                )
            )

    return description, implementation


def _three_axes(rows: int, n1: int, n2: int, nbytes: int, blocks: int) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    count = rows * n1 * n2

    @T.prim_func(s_tir=True)
    def description(
        src: T.Buffer((rows, n1, n2), "int8", offset_factor=1),
        dst: T.Buffer((rows, n1, n2), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(src[0:rows, 0:n1, 0:n2])
            T.writes(dst[0:rows, 0:n1, 0:n2])
            for i, j, k in T.grid(rows, n1, n2):
                with T.sblock("copy"):
                    vi, vj, vk = T.axis.remap("SSS", [i, j, k])
                    dst[vi, vj, vk] = src[vi, vj, vk]

    @T.prim_func(s_tir=True)
    def implementation(
        src: T.Buffer((rows, n1, n2), "int8", offset_factor=1),
        dst: T.Buffer((rows, n1, n2), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(src[0:rows, 0:n1, 0:n2])
            T.writes(dst[0:rows, 0:n1, 0:n2])
            T.evaluate(
                T.call_extern(
                    "ek_sparse_decode",
                    src.data,
                    T.int32(nbytes),
                    T.int32(blocks),
                    src.elem_offset,
                    T.int32(count),
                    T.address_of(dst[0, 0, 0]),
                    dtype="void",
                )
            )

    return description, implementation


def _four_axes(rows: int, n1: int, n2: int, n3: int, nbytes: int, blocks: int) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    count = rows * n1 * n2 * n3

    @T.prim_func(s_tir=True)
    def description(
        src: T.Buffer((rows, n1, n2, n3), "int8", offset_factor=1),
        dst: T.Buffer((rows, n1, n2, n3), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(src[0:rows, 0:n1, 0:n2, 0:n3])
            T.writes(dst[0:rows, 0:n1, 0:n2, 0:n3])
            for i, j, k, m in T.grid(rows, n1, n2, n3):
                with T.sblock("copy"):
                    vi, vj, vk, vm = T.axis.remap("SSSS", [i, j, k, m])
                    dst[vi, vj, vk, vm] = src[vi, vj, vk, vm]

    @T.prim_func(s_tir=True)
    def implementation(
        src: T.Buffer((rows, n1, n2, n3), "int8", offset_factor=1),
        dst: T.Buffer((rows, n1, n2, n3), "int8", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(src[0:rows, 0:n1, 0:n2, 0:n3])
            T.writes(dst[0:rows, 0:n1, 0:n2, 0:n3])
            T.evaluate(
                T.call_extern(
                    "ek_sparse_decode",
                    src.data,
                    T.int32(nbytes),
                    T.int32(blocks),
                    src.elem_offset,
                    T.int32(count),
                    T.address_of(dst[0, 0, 0, 0]),
                    dtype="void",
                )
            )

    return description, implementation
