"""What a report says of a bundle's GPU section."""

from __future__ import annotations

from dataclasses import replace

import pytest
from state_graphs import accumulator

from codegen.gpu.lower import build_gpu_program
from codegen.lower import build_program
from edgekit.cli.compile import _print_gpu
from edgekit.graph import Quant
from edgekit.measure import gpu_report_of
from targets import target

from ..npu.models import Net, conv

GPU = target("gpu-x86_64")


def test_layers_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """One that a GPU can run, and one of int16 that it cannot."""
    net = Net(0, "two")
    x = conv(net, net.input(1, 6, 5, 6))
    wide = net.node("clip", (x,), net.shape(x), net.quant(), clamp=[0, None], out_dtype="int16")
    values = net.graph.values
    values[wide] = replace(values[wide], dtype="int16", quant=Quant.make(0.001, 0))
    graph = net.done(wide)
    program = build_program(graph, GPU)
    gpu = build_gpu_program(graph, program)
    report = gpu_report_of(program, gpu)
    assert report.layers == 1 and report.variants >= 2 and report.functions >= 2
    assert (report.arena_bytes, report.constant_bytes) == (gpu.arena_bytes, len(gpu.constants))
    ((name, why),) = report.on_cpu.items()
    assert name == wide and "int16" in why
    _print_gpu(report, 2)
    said = capsys.readouterr().out
    assert "1 of 2 layers" in said and f"{wide}: the CPU, {why}" in said


def test_models_with_states(capsys: pytest.CaptureFixture[str]) -> None:
    program = build_program(accumulator([0] * 4), GPU)
    assert program.states
    _print_gpu(gpu_report_of(program, None), 1)
    assert capsys.readouterr().out == (
        "GPU      none: the model has states, the CPU runs it as a whole\n"
    )
