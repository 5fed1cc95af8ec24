"""Compiled networks on the hardware: random models whole, and MLPerf Tiny's four streams.

Those streams run on random weights, parameters and inputs: more of what the hardware can compute
happens.
"""

from __future__ import annotations

import numpy as np
import pytest
from shared import SHARED, needs_shared

from codegen.lower import build_program
from edgekit import importers, reference
from edgekit.devices.emulators.verilated import Verilated
from targets.npu.footprint import external
from targets.npu.isa import Error, decode
from targets.npu.model import Model
from targets.npu.timing import timing

from .configurations import NPU64
from .exact import TARGET, program_of, samples
from .execute import in_hardware, run_program
from .models import random_model

_MODELS = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8", "ad01_int8")


def _stream(name: str) -> list[int]:
    program = build_program(importers.load(SHARED / "models" / f"{name}.tflite"), TARGET)
    (start,) = [c for c in program.calls if c.kernel.spec.op == "npu_run"]
    place = start.arguments[0]
    raw = program.constants[place.offset : place.offset + place.nbytes]
    return [int(word) for word in np.frombuffer(bytes(raw), "<u4")]


def _models_on_hardware(seeds: range) -> int:
    """Models of which every byte is the reference's."""
    hardware, exact = Verilated(NPU64), 0
    for seed in seeds:
        graph = random_model(seed, cpu=0.05)
        program = program_of(graph)
        if program is None:
            continue
        (feeds, *_) = samples(graph, seed)
        want = reference.run(graph, feeds)
        found = run_program(program, graph, feeds, NPU64, in_hardware(hardware))
        for tensor, y in zip(program.outputs, found, strict=True):
            np.testing.assert_array_equal(y, want[tensor.name], err_msg=f"model {seed}")
        exact += 1
    return exact


@pytest.mark.slow
def test_random_models() -> None:
    assert _models_on_hardware(range(3000, 3340)) >= 300


@pytest.mark.slow
@needs_shared
def test_streams_of_real_networks() -> None:
    hardware = Verilated(NPU64)
    rng = np.random.default_rng(0)
    for name in _MODELS:
        words = _stream(name)
        commands = decode(words, NPU64)
        sizes = [0] * 8
        for outside in filter(None, (external(c, NPU64) for c in commands)):
            end = outside.offset + outside.nbytes
            sizes[outside.region] = max(sizes[outside.region], end)
        regions = [rng.integers(0, 256, n, dtype=np.uint8).tobytes() for n in sizes]
        expected = [bytearray(r) for r in regions]
        Model(NPU64).run(words, expected)
        for pressure in (0, 40):
            hardware.timing(latency=10, pressure=pressure)
            found = hardware.run(words, regions)
            assert found.error is Error.NONE and found.untouched
            assert found.regions == [bytes(r) for r in expected], name
            if not pressure:
                estimate = timing(commands, NPU64).cycles
                assert abs(estimate / found.counters["cycles"] - 1) < 0.05
    assert hardware.broken == 0
