# mypy: ignore-errors
"""Tensor intrinsics: the inner loops that schedules replace by calls into `ek_dsp.h`.

An intrinsic is a description, which TVM matches against the loops it is to replace, and an
implementation. Both are TVMScript, whose annotations are not types, so type checking is off here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any


def pack4() -> str:
    """Intrinsic: four int8 become two words of int16 pairs, doubled: (2*a0, 2*a2), (2*a1, 2*a3).

    That order is what SXTB16 yields; the doubling gives accumulators of 2 * acc, the operand that
    SMMULR needs for a doubling high multiply.
    """
    return register("ek.pack4", _pack4)


def dot_5x1(steps: int) -> str:
    """Intrinsic: 5 pixels x 1 channel over `steps` groups of 4 weights; ``ek_dot_5x1``.

    Activations [steps, 5, 2, 2] int16 as `pack4` writes them, weights [steps, 4] int8, results [5]
    int32, added to.
    """
    return register(f"ek.dot_5x1_{steps}", _dot_5x1, steps)


def dot_1x4(steps: int) -> str:
    """Intrinsic: 1 pixel x 4 channels over `steps` groups of 4 weights; ``ek_dot_1x4``.

    Activations [steps, 2, 2] int16 as `pack4` writes them, weights [steps, 4, 4] int8 (group,
    channel, weight), results [4] int32, added to.
    """
    return register(f"ek.dot_1x4_{steps}", _dot_1x4, steps)


def dot_5x1_w4(steps: int) -> str:
    """As `dot_5x1` with four-bit weights: [steps, 4] bytes, activations [2*steps, 5, 2, 2]."""
    return register(f"ek.dot_5x1_w4_{steps}", _dot_5x1_w4, steps)


def dot_1x4_w4(steps: int) -> str:
    """As `dot_1x4` with four-bit weights: [steps, 4, 4] bytes, activations [2*steps, 2, 2]."""
    return register(f"ek.dot_1x4_w4_{steps}", _dot_1x4_w4, steps)


def smlad() -> str:
    """Intrinsic: one accumulator plus two int16 products; ``ek_smlad``."""
    return register("ek.smlad", _smlad)


_known: set[str] = set()


def register(name: str, build: Any, *args: Any) -> str:
    """Make the intrinsic `name` known: ``build(*args)`` is its description and implementation."""
    if name not in _known:
        from tvm.s_tir import TensorIntrin

        # TVMScript looks up the source of every frame of the stack, twice per function: below a
        # command line or pytest that takes a second. A thread of its own has three frames.
        with ThreadPoolExecutor(1) as shallow:
            parts = shallow.submit(build, *args).result()
        TensorIntrin.register(name, *parts)
        _known.add(name)
    return name


def _pack4() -> tuple[Any, Any]:
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def description(
        a: T.Buffer((4,), "int8", offset_factor=1), p: T.Buffer((2, 2), "int16", offset_factor=1)
    ) -> None:
        with T.sblock("root"):
            T.reads(a[0:4])
            T.writes(p[0:2, 0:2])
            for h, low in T.grid(2, 2):
                with T.sblock("pack"):
                    vh, vl = T.axis.remap("SS", [h, low])
                    p[vh, vl] = T.Cast("int16", a[vl * 2 + vh]) * T.int16(2)

    @T.prim_func(s_tir=True)
    def implementation(
        a: T.Buffer((4,), "int8", offset_factor=1), p: T.Buffer((2, 2), "int16", offset_factor=1)
    ) -> None:
        with T.sblock("root"):
            T.reads(a[0:4])
            T.writes(p[0:2, 0:2])
            T.evaluate(
                T.call_extern("ek_pack4", T.address_of(a[0]), T.address_of(p[0, 0]), dtype="void")
            )

    return description, implementation


def _dot_5x1(steps: int) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def description(
        a: T.Buffer((steps, 5, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4), "int8", offset_factor=1),
        c: T.Buffer((5,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:5], a[0:steps, 0:5, 0:2, 0:2], w[0:steps, 0:4])
            T.writes(c[0:5])
            for p, k, h, low in T.grid(5, steps, 2, 2):
                with T.sblock("dot"):
                    vp, vk, vh, vl = T.axis.remap("SRRR", [p, k, h, low])
                    c[vp] = c[vp] + T.Cast("int32", a[vk, vp, vh, vl]) * T.Cast(
                        "int32", w[vk, vl * 2 + vh]
                    )

    @T.prim_func(s_tir=True)
    def implementation(
        a: T.Buffer((steps, 5, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4), "int8", offset_factor=1),
        c: T.Buffer((5,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:5], a[0:steps, 0:5, 0:2, 0:2], w[0:steps, 0:4])
            T.writes(c[0:5])
            T.evaluate(
                T.call_extern(
                    "ek_dot_5x1",
                    T.address_of(a[0, 0, 0, 0]),
                    T.address_of(w[0, 0]),
                    T.int32(steps),
                    T.address_of(c[0]),
                    dtype="void",
                )
            )

    return description, implementation


def _dot_1x4(steps: int) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def description(
        a: T.Buffer((steps, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4, 4), "int8", offset_factor=1),
        c: T.Buffer((4,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:4], a[0:steps, 0:2, 0:2], w[0:steps, 0:4, 0:4])
            T.writes(c[0:4])
            for n, k, h, low in T.grid(4, steps, 2, 2):
                with T.sblock("dot"):
                    vn, vk, vh, vl = T.axis.remap("SRRR", [n, k, h, low])
                    c[vn] = c[vn] + T.Cast("int32", a[vk, vh, vl]) * T.Cast(
                        "int32", w[vk, vn, vl * 2 + vh]
                    )

    @T.prim_func(s_tir=True)
    def implementation(
        a: T.Buffer((steps, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4, 4), "int8", offset_factor=1),
        c: T.Buffer((4,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:4], a[0:steps, 0:2, 0:2], w[0:steps, 0:4, 0:4])
            T.writes(c[0:4])
            T.evaluate(
                T.call_extern(
                    "ek_dot_1x4",
                    T.address_of(a[0, 0, 0]),
                    T.address_of(w[0, 0, 0]),
                    T.int32(steps),
                    T.address_of(c[0]),
                    dtype="void",
                )
            )

    return description, implementation


def _dot_5x1_w4(steps: int) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def description(
        a: T.Buffer((2 * steps, 5, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4), "int8", offset_factor=1),
        c: T.Buffer((5,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:5], a[0 : 2 * steps, 0:5, 0:2, 0:2], w[0:steps, 0:4])
            T.writes(c[0:5])
            for p, k, s, h, low in T.grid(5, steps, 2, 2, 2):
                with T.sblock("dot"):
                    vp, vk, vs, vh, vl = T.axis.remap("SRRRR", [p, k, s, h, low])
                    c[vp] = c[vp] + T.Cast("int32", a[vk * 2 + vs, vp, vh, vl]) * (
                        T.call_pure_extern(
                            "ek_int4", T.Cast("int32", w[vk, vl * 2 + vh]), vs, dtype="int32"
                        )
                    )

    @T.prim_func(s_tir=True)
    def implementation(
        a: T.Buffer((2 * steps, 5, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4), "int8", offset_factor=1),
        c: T.Buffer((5,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:5], a[0 : 2 * steps, 0:5, 0:2, 0:2], w[0:steps, 0:4])
            T.writes(c[0:5])
            T.evaluate(
                T.call_extern(
                    "ek_dot_5x1_w4",
                    T.address_of(a[0, 0, 0, 0]),
                    T.address_of(w[0, 0]),
                    T.int32(steps),
                    T.address_of(c[0]),
                    dtype="void",
                )
            )

    return description, implementation


def _dot_1x4_w4(steps: int) -> tuple[Any, Any]:
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def description(
        a: T.Buffer((2 * steps, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4, 4), "int8", offset_factor=1),
        c: T.Buffer((4,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:4], a[0 : 2 * steps, 0:2, 0:2], w[0:steps, 0:4, 0:4])
            T.writes(c[0:4])
            for n, k, s, h, low in T.grid(4, steps, 2, 2, 2):
                with T.sblock("dot"):
                    vn, vk, vs, vh, vl = T.axis.remap("SRRRR", [n, k, s, h, low])
                    c[vn] = c[vn] + T.Cast("int32", a[vk * 2 + vs, vh, vl]) * (
                        T.call_pure_extern(
                            "ek_int4", T.Cast("int32", w[vk, vn, vl * 2 + vh]), vs, dtype="int32"
                        )
                    )

    @T.prim_func(s_tir=True)
    def implementation(
        a: T.Buffer((2 * steps, 2, 2), "int16", offset_factor=1),
        w: T.Buffer((steps, 4, 4), "int8", offset_factor=1),
        c: T.Buffer((4,), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[0:4], a[0 : 2 * steps, 0:2, 0:2], w[0:steps, 0:4, 0:4])
            T.writes(c[0:4])
            T.evaluate(
                T.call_extern(
                    "ek_dot_1x4_w4",
                    T.address_of(a[0, 0, 0]),
                    T.address_of(w[0, 0, 0]),
                    T.int32(steps),
                    T.address_of(c[0]),
                    dtype="void",
                )
            )

    return description, implementation


def _smlad() -> tuple[Any, Any]:
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def description(
        a: T.Buffer((2,), "int16", offset_factor=1),
        b: T.Buffer((2,), "int16", offset_factor=1),
        c: T.Buffer((), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[()], a[0:2], b[0:2])
            T.writes(c[()])
            for low in range(2):
                with T.sblock("pair"):
                    vl = T.axis.remap("R", [low])
                    c[()] = c[()] + T.Cast("int32", a[vl]) * T.Cast("int32", b[vl])

    @T.prim_func(s_tir=True)
    def implementation(
        a: T.Buffer((2,), "int16", offset_factor=1),
        b: T.Buffer((2,), "int16", offset_factor=1),
        c: T.Buffer((), "int32", offset_factor=1),
    ) -> None:
        with T.sblock("root"):
            T.reads(c[()], a[0:2], b[0:2])
            T.writes(c[()])
            c[()] = T.call_pure_extern(
                "ek_smlad", a.vload([0], "int16x2"), b.vload([0], "int16x2"), c[()], dtype="int32"
            )

    return description, implementation
