"""Whole random small models: every byte as the reference has it, on every configuration."""

from __future__ import annotations

import pytest

from targets.npu.config import CONFIGURATIONS

from .configurations import NPU64, TINY
from .exact import Tally, assert_exact, program_of
from .models import Net, dense, flat, pointwise, random_model, softmax

CONFIGS = (*CONFIGURATIONS.values(), *TINY)


def _all_exact(seeds: range, *, cpu: float) -> Tally:
    """Each seed's model on the next of the configurations."""
    tally = Tally()
    for seed in seeds:
        config, graph = CONFIGS[seed % len(CONFIGS)], random_model(seed, cpu=cpu)
        program = program_of(graph, config)
        if program is not None:
            assert_exact(graph, program, config, seed)
            tally.add(program)
    return tally


def test_small_models() -> None:
    tally = _all_exact(range(27), cpu=0)
    assert tally.accelerated > 60
    assert tally.striped > 5 and tally.aside > 0


def test_models_that_go_between_cpu_and_accelerator() -> None:
    tally = _all_exact(range(1000, 1004), cpu=0.3)
    assert tally.accelerated and tally.on_cpu


def test_a_run_has_one_stream_and_its_inner_values_no_memory() -> None:
    graph = random_model(7, cpu=0)
    program = program_of(graph, NPU64)
    assert program is not None
    starts = [c for c in program.calls if c.kernel.spec.op == "npu_run"]
    assert len(starts) == 1
    outside = {a.value for a in starts[0].arguments if a.role in ("input", "output")}
    assert {b.name for b in program.buffers} <= outside | {"scratch of step 0"} | set(graph.inputs)


def test_heads_share_a_run() -> None:
    """Two heads with a softmax each: the accelerator is started once."""
    net = Net(3, cpu=0)
    x = flat(net, pointwise(net, net.input(1, 4, 4, 8), 16))
    heads = [softmax(net, dense(net, x, units)) for units in (5, 3)]
    graph = net.done(*heads)
    program = program_of(graph)
    assert program is not None
    assert [c.kernel.spec.op for c in program.calls].count("npu_run") == 1
    assert_exact(graph, program)


def test_more_commands_than_after_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose stream would be too long is several, with what is between them in RAM."""
    monkeypatch.setattr("codegen.npu.compile.MOST_COMMANDS", 9)
    starts = 0
    for seed in range(40, 46):
        config, graph = TINY[seed % 3], random_model(seed, cpu=0)
        program = program_of(graph, config)
        assert program is not None
        starts += sum(c.kernel.spec.op == "npu_run" for c in program.calls)
        assert_exact(graph, program, config)
    assert starts > 10


@pytest.mark.slow
@pytest.mark.parametrize("part", range(9))
def test_many_models(part: int) -> None:
    """360 models, 40 on each configuration."""
    _all_exact(range(2000 + part * 40, 2000 + (part + 1) * 40), cpu=0.05)
