"""Movement, reduction and window kernels against the reference, 0 bytes: on the host, under
sanitizers with every operand in memory of just its size, and on the virtual M4."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4, run_tight
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from movement_graphs import STRATEGIES, samples

from codegen import memory_check
from codegen.liveness import VIEWS
from codegen.lower import build_program, reduced
from edgekit import reference
from edgekit.graph import Graph

PLAIN, BOTH = ("int8", "int16", "int32", "bool"), ("int8", "int16")
COUNTED = (*BOTH, "int32")
#: Strategies that are built together, with their dtypes.
GROUPS = {
    "copies": dict.fromkeys(
        ("concat", "slice", "pad", "expand", "tile", "resize nearest", "transpose wide"), PLAIN
    ),
    "indices": dict.fromkeys(("gather", "gather computed", "gather_nd", "one_hot"), PLAIN),
    "reductions": {
        **{f"reduce {kind}": BOTH for kind in ("sum", "mean", "prod")},
        **{f"reduce {kind}": COUNTED for kind in ("max", "min")},
        "reduce any": ("bool",),
        "reduce all": ("bool",),
    },
    "orders": dict.fromkeys(("arg", "top_k", "cumsum"), COUNTED),
    "windows": dict.fromkeys(
        ("conv_transpose2d", "average_pool2d wide", "max_pool2d wide", "resize linear",
         "resize cubic"), BOTH
    ),
}  # fmt: skip
TARGET = replace(M4.target, families=("c99",))
CHECKED = settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def compare(graphs: list[Graph], seed: int, folder: Path) -> None:
    """All of `graphs` in one program, but those that copy nothing."""
    kept = [g for g in graphs if reduced(g)[0].nodes[0].op not in VIEWS]
    if not kept:
        return
    graph = merged(kept)
    # "size" has the plain kernels of transposed convolutions.
    program = build_program(graph, TARGET, optimize="size")
    memory_check.check(program)
    feeds = {name: x[:1] for name, x in samples(graph, seed, n=2).items()}
    want = reference.run(graph, feeds)
    runs = {
        "host": run_host(program, folder, feeds),
        "tight": run_tight(program, folder, feeds),
        "m4": run_m4(program, folder, feeds)[0],
    }
    for where, found in runs.items():
        for tensor, result in zip(program.outputs, found, strict=True):
            call = next(
                c for c in program.calls if any(a.value == tensor.name for a in c.arguments)
            )
            np.testing.assert_array_equal(
                result,
                want[tensor.name].reshape(tensor.shape),
                err_msg=f"{where} {call.kernel.spec} {tensor}",
            )


@pytest.mark.parametrize("group", GROUPS)
@CHECKED
@given(data=st.data())
def test_exact(group: str, tmp_path: Path, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 1000))
    if seed == 0:
        return  # the simplest example of all: scalars
    graphs = [
        data.draw(STRATEGIES[case](data.draw(st.sampled_from(dtypes))))
        for case, dtypes in GROUPS[group].items()
    ]
    compare(graphs, seed, tmp_path)
