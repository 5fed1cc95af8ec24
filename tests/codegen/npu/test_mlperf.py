"""The four networks of MLPerf Tiny: exact, and within the bars by the timing model."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared import SHARED, needs_shared

from codegen.lower import build_program
from edgekit import importers
from edgekit.assemble import bundle_of, golden_samples
from edgekit.build import model_files
from edgekit.bundle import write_bundle
from edgekit.devices.firmware.model import HostModel
from edgekit.graph import Graph
from targets.npu.check import check
from targets.npu.isa import Opcode, Window
from targets.npu.timing import timing

from .configurations import NPU64
from .exact import TARGET

#: Cycles that the stream may take of the bar of a whole inference, what is left is the CPU's.
MODELS = {
    "kws_ref_model": 58_000,
    "pretrainedResnet_quant": 215_000,
    "vww_96_int8": 95_000,
    "ad01_int8": 75_000,
}


def _load(name: str) -> Graph:
    return importers.load(SHARED / "models" / f"{name}.tflite")


@needs_shared
@pytest.mark.parametrize("name", MODELS)
def test_stream_is_within_its_bar(name: str) -> None:
    program = build_program(_load(name), TARGET)
    starts = [c for c in program.calls if c.kernel.spec.op == "npu_run"]
    assert len(starts) == 1
    on_cpu = [c.op for c in program.calls if c.kernel.spec.family != "npu"]
    assert on_cpu in ([], ["softmax"])
    stream = starts[0].arguments[0]
    raw = program.constants[stream.offset : stream.offset + stream.nbytes]
    words = [int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw), 4)]
    found = timing(check(words, NPU64), NPU64)
    assert found.cycles <= MODELS[name]


@needs_shared
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("mode", ["interpreter", "aot"])
def test_exact_on_the_host(name: str, mode: str, tmp_path: Path) -> None:
    """The whole path: bundle or ahead-of-time C, with the simulator in the place of hardware."""
    graph = _load(name)
    program = build_program(graph, TARGET)
    bundle = bundle_of(program, golden_samples(graph, None))
    for file, body in model_files(graph, program, bundle).items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
    model = HostModel(tmp_path / "src", program.name, write_bundle(bundle), mode)
    for sample in bundle.golden:
        assert model.run(list(sample.inputs)) == list(sample.outputs)


@needs_shared
@pytest.mark.parametrize("name", ["kws_ref_model", "pretrainedResnet_quant", "vww_96_int8"])
def test_utilisation(name: str) -> None:
    """Convolutions with 16 channels and more keep 85 % of the multipliers busy while they run, and
    depthwise layers half of their lanes."""
    graph = _load(name)
    program = build_program(graph, TARGET)
    (start,) = [c for c in program.calls if c.kernel.spec.op == "npu_run"]
    stream = start.arguments[0]
    raw = program.constants[stream.offset : stream.offset + stream.nbytes]
    commands = check(
        [int.from_bytes(raw[i : i + 4], "little") for i in range(0, len(raw), 4)], NPU64
    )
    spans = timing(commands, NPU64).spans
    seen = set()
    for command, span in zip(commands, spans, strict=True):
        if not isinstance(command, Window) or span.cycles < 1000:
            continue
        pixels = command.groups * command.out_h * command.out_w
        if command.opcode == Opcode.CONV and command.blocks >= 2:
            share = pixels * command.steps / span.cycles
            assert share >= 0.85, command
        elif command.opcode == Opcode.DEPTHWISE:
            taps = command.taps * (command.kernel_groups - 1) + command.tail
            share = pixels * command.kernel_h * taps / (span.cycles * 4)
            assert share >= 0.5, command
        else:
            continue
        seen.add(command.opcode)
    assert Opcode.CONV in seen
