"""OpenCL C as it is printed, without a device: threads, memory, vectors, barriers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from codegen.cprinter import PrintError
from codegen.gpu.printer import PrintedKernel, c_type, print_kernel
from codegen.tvm_api import lower_gpu

N = 32


def printed(compute: Callable[..., Any], schedule: Callable[[Any], None]) -> PrintedKernel:
    """A kernel of y = compute(x), both `N` blocks of four bytes."""
    from tvm import s_tir, te

    x = te.placeholder((N,), "int8x4", name="x")
    y = te.compute((N,), lambda i: compute(x, i), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    schedule(sch)
    return print_kernel(lower_gpu(sch), "kernel_of_test", written={"y"})


def along_items(sch: Any) -> None:
    sch.bind(sch.get_loops(sch.get_sblock("y"))[0], "blockIdx.x")


def in_groups(sch: Any) -> None:
    """Groups of 8, which first copy what they read into local memory, each its neighbour's."""
    group, item = sch.split(sch.get_loops(sch.get_sblock("y"))[0], [None, 8])
    sch.bind(group, "blockIdx.x")
    sch.bind(item, "threadIdx.x")
    copy = sch.cache_read(sch.get_sblock("y"), 0, "shared")
    sch.compute_at(copy, group)
    sch.bind(sch.get_loops(copy)[-1], "threadIdx.x")


def test_items_have_numbers_and_an_end() -> None:
    kernel = printed(lambda x, i: x[i] + x[N - 1 - i], along_items)
    assert (kernel.groups, kernel.items, kernel.local_bytes) == ({"x": N}, {}, 0)
    assert "const int global_x = (int)get_global_id(0);" in kernel.text
    assert f"if (global_x >= {N}) return;" in kernel.text
    assert re.search(r"__kernel void kernel_of_test\(__global const char4 \*restrict x, "
                     r"__global char4 \*restrict y\)", kernel.text)  # fmt: skip


def test_groups_wait_for_what_others_copy() -> None:
    kernel = printed(lambda x, i: x[i // 8 * 8 + (i + 1) % 8], in_groups)
    assert (kernel.groups, kernel.items) == ({"x": N // 8}, {"x": 8})
    assert kernel.local_bytes == 8 * 4
    lines = [line.strip() for line in kernel.text.splitlines()]
    assert lines[2] == "__local char4 x_shared[8];"  # before everything else
    store = next(i for i, line in enumerate(lines) if line.startswith("x_shared["))
    load = next(i for i, line in enumerate(lines) if line.startswith("y["))
    assert "barrier(CLK_LOCAL_MEM_FENCE);" in lines[store + 1 : load]
    # Items that wait for each other do not return.
    assert "return" not in kernel.text
    assert "get_group_id(0)" in kernel.text and "get_local_id(0)" in kernel.text


def test_no_barrier_where_items_read_their_own() -> None:
    kernel = printed(lambda x, i: x[i], in_groups)
    assert "barrier" not in kernel.text


def test_casts_and_constants_of_vectors() -> None:
    from tvm import tirx

    def compute(x: Any, i: Any) -> Any:
        wide = x[i].astype("int32x4") + tirx.const(-5, "int32x4")
        return wide.astype("int8x4")

    text = printed(compute, along_items).text
    assert "convert_char4(convert_int4(x[global_x]) + (int4)(-5))" in text


def test_ramps_are_vector_loads_and_stores() -> None:
    from tvm import s_tir, te

    x = te.placeholder((N,), "int8", name="x")
    y = te.compute((N,), lambda i: x[i], name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    outer, inner = sch.split(sch.get_loops(sch.get_sblock("y"))[0], [None, 16])
    sch.bind(outer, "blockIdx.x")
    sch.vectorize(inner)
    text = print_kernel(lower_gpu(sch), "k", written={"y"}).text
    assert "vstore16(vload16(0, x + global_x * 16), 0, y + global_x * 16);" in text


def test_sums_of_64_bits_are_long() -> None:
    def compute(x: Any, i: Any) -> Any:
        from tvm import tirx

        wide = tirx.Cast("int64", i) * tirx.const(1 << 40, "int64")
        return tirx.Broadcast((wide >> 40).astype("int8"), 4)

    text = printed(compute, along_items).text
    assert "(long)global_x * 1099511627776L" in text
    assert "int64" not in text


def test_names_of_the_language_are_not_those_of_tensors() -> None:
    from tvm import s_tir, te

    x = te.placeholder((N,), "int8x4", name="half")
    y = te.compute((N,), lambda i: x[i], name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    along_items(sch)
    text = print_kernel(lower_gpu(sch), "k", written={"y"}).text
    assert "*restrict half_1" in text


@pytest.mark.parametrize("dtype", ["int8x3", "boolx4", "int8x32"])
def test_no_such_vector(dtype: str) -> None:
    with pytest.raises(PrintError):
        c_type(dtype)
