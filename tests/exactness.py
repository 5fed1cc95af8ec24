"""Generated C of random graphs against the numpy reference, on this machine and the virtual M4."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from built import M4, merged, run_host, run_m4
from graphs import batch
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st

from codegen import memory_check
from codegen.lower import build_program
from edgekit import reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from targets import Target

PER_BUILD = 10
CHECKED = settings(
    max_examples=1,
    deadline=None,
    # A build takes a second; the graphs are small as they are drawn.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def draw_seed(data: st.DataObject) -> int:
    """A seed for inputs. Refuses the first example, the simplest there is: where one is asked for,
    hypothesis would try no other."""
    seed = data.draw(st.integers(0, 1000))
    assume(seed > 0)
    return seed


def _builds(graph: Graph, target: Target) -> bool:
    try:
        build_program(graph, target)
    except EdgekitError as refused:
        assert refused.code == "E310", refused
        return False
    return True


def compare(graphs: list[Graph], seed: int, families: tuple[str, ...], folder: Path) -> None:
    """Build `graphs` as one program and run it on host and virtual M4."""
    target = replace(M4.target, families=families)
    try:
        graph = merged(graphs)
        program = build_program(graph, target)
    except EdgekitError as some:
        # An accumulator that can overflow is refused by name, which is the promise.
        assert some.code == "E310", some
        buildable = [g for g in graphs if _builds(g, target)]
        if not buildable:
            return
        graph = merged(buildable)
        program = build_program(graph, target)
    memory_check.check(program)
    feeds = {name: x[:1] for name, x in batch(graph, seed, n=2).items()}
    want = reference.run(graph, feeds)
    on_host = run_host(program, folder, feeds)
    on_m4, _ = run_m4(program, folder, feeds)
    for tensor, host, m4 in zip(program.outputs, on_host, on_m4, strict=True):
        made = (c.kernel.spec for c in program.calls
                if any(a.value == tensor.name for a in c.arguments))  # fmt: skip
        message = f"{next(made, 'a view')} {tensor}"
        np.testing.assert_array_equal(host, want[tensor.name], err_msg="host " + message)
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg="m4 " + message)
