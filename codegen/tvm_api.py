"""The one door to TVM: lowering a schedule, and the expressions that schedules are built from.

TVM makes kernels and nothing else here. It takes over a second to import and some versions crash
the process, so only the schedules reach it, and only when a kernel is not in the cache.
"""

from __future__ import annotations

from functools import cache
from typing import Any

PINNED = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}


@cache
def _passes(gpu: bool = False) -> Any:
    """What turns a schedule into plain loops; target-independent, so no target is named.

    With `gpu` thread bindings of one axis become one, and barriers stand where items read what
    others of their group wrote.
    """
    import tvm
    from tvm.s_tir import transform as st
    from tvm.tirx import transform as tt

    return tvm.transform.Sequential(
        [
            st.CanonicalizeLoop(),
            st.LowerInitBlock(),
            st.PlanAndUpdateBufferAllocationLocation(),
            st.ConvertBlocksToOpaque(),
            *([st.LiftThreadBinding()] if gpu else []),
            st.CompactBufferAllocation(),
            *([st.UnifyThreadBinding()] if gpu else []),
            st.LowerMatchBuffer(),
            st.LowerOpaqueBlock(),
            tt.FlattenBuffer(),
            tt.NarrowDataType(32),
            st.LoopPartition(),
            tt.VectorizeLoop(),
            tt.UnrollLoop(),
            tt.StmtSimplify(),
            tt.RemoveNoOp(),
            *([st.ThreadSync("shared")] if gpu else []),
        ]
    )


def lower(schedule: Any) -> Any:
    """The scheduled function as a PrimFunc of loops, flat buffers and calls."""
    return _passes()(schedule.mod)["main"]


def lower_gpu(schedule: Any) -> Any:
    """The same where loops are bound to groups and items of a GPU."""
    return _passes(gpu=True)(schedule.mod)["main"]


def call(dtype: str, name: str, *args: Any) -> Any:
    """A call to one of the inline functions of `firmware/include/ek_kernel.h` or `ek_dsp.h`."""
    from tvm import tirx

    return tirx.call_pure_extern(dtype, name, *args)


def int32(value: int) -> Any:
    from tvm import tirx

    return tirx.const(value, "int32")


def float32(value: float) -> Any:
    from tvm import tirx

    return tirx.const(value, "float32")


def select(condition: Any, yes: Any, no: Any) -> Any:
    """``condition ? yes : no``; the branch that is not taken is not evaluated."""
    from tvm import tirx

    return tirx.if_then_else(condition, yes, no)


def all_of(*conditions: Any) -> Any:
    """Conjunction of conditions; plain True ones (always in bounds) are left out."""
    from tvm import tirx

    real = [c for c in conditions if c is not True]
    if not real:
        return True
    result = real[0]
    for condition in real[1:]:
        result = tirx.all(result, condition)
    return result
