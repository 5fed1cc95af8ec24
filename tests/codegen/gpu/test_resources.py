"""What functions take of a GPU: estimated registers, and limits of device classes."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_small import layers

from codegen.gpu.kernel import Function, Launch, Variant
from codegen.gpu.layers import variants
from codegen.gpu.resources import CLASSES, excess, registers, within_limits

MALI, ADRENO = CLASSES


def variant(local_bytes: int = 0, held: int = 10, items: tuple[int, int, int] = (64, 1, 1)) -> Any:
    function = Function("f", "", local_bytes, held)
    return Variant("v", (Launch(function, (), items, items),))


def test_small_functions_are_within_all_limits() -> None:
    assert excess(variant()) == []
    assert within_limits([variant()]) == ([variant()], [])


@pytest.mark.parametrize(
    "broken, said",
    [
        (variant(local_bytes=40000), "40000 B of local memory, Mali-G76 has 32768 B"),
        (variant(held=70), "~70 registers, Mali-G76 has 64 for an item"),
        (variant(items=(512, 1, 1)), "groups of 512 items with ~10 registers, Mali-G76 holds 384"),
        (variant(held=40, items=(256, 1, 1)), "groups of 256 items with ~40 registers, Mali-G76"),
        (variant(held=190, items=(256, 1, 1)), "~190 registers, Adreno 6xx holds 128"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_both_numbers(broken: Variant, said: str) -> None:
    kept, refused = within_limits([broken, variant()])
    assert kept == [variant()]
    (reason,) = refused
    assert reason.startswith("v: f: ") and said in reason


def test_groups_shrink_as_registers_grow() -> None:
    """Mali halves its threads above 32 registers; an Adreno's waves share one file."""
    assert [MALI.group(n) for n in (1, 32, 33, 64)] == [384, 384, 192, 192]
    assert [ADRENO.group(n) for n in (1, 24, 48, 96, 192)] == [1024, 1024, 512, 256, 128]


def test_local_sizes_of_the_tuner_count_too() -> None:
    function = Function("f", "", 0, 40)
    launch = Launch(function, (), (256, 1, 1), (64, 1, 1), ((128, 1, 1), (256, 1, 1)))
    assert "groups of 256 items" in excess(Variant("v", (launch,)))[0]


def lowered(tile: int) -> Any:
    """Sums of `tile` columns in registers at once."""
    from tvm import s_tir, te

    from codegen.tvm_api import lower_gpu

    x = te.placeholder((64, 32), "float32", name="x")
    w = te.placeholder((32, tile), "float32", name="w")
    k = te.reduce_axis((0, 32), "k")
    y = te.compute((64, tile), lambda i, j: te.sum(x[i, k] * w[k, j], axis=[k]), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, w, y]))
    block = sch.get_sblock("y")
    held = sch.cache_write(block, 0, "local")
    i, j, k_ = sch.get_loops(block)
    sch.bind(i, "blockIdx.x")
    sch.reorder(k_, j)
    sch.unroll(j)
    sch.reverse_compute_at(held, i)
    sch.unroll(sch.get_loops(held)[-1])
    sch.decompose_reduction(block, k_)
    return lower_gpu(sch)


def test_accumulators_are_counted() -> None:
    """Four times the accumulators are twelve more registers: nothing else grows."""
    small, large = registers(lowered(4)), registers(lowered(16))
    assert large - small == 12
    assert 4 < small < 16


def test_small_layers_are_within_the_limits() -> None:
    for name, _, layer in layers():
        for v in variants(layer):
            assert excess(v) == [], (name, v.name)
            assert all(launch.function.registers > 0 for launch in v.launches)
