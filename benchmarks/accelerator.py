"""The accelerator's bars: MLPerf Tiny on the simulated system, cycle by cycle, beside the estimate.

    python -m benchmarks.accelerator --shared DIR [--json FILE] [--update FILE]

Board `sim-ecp5-soc` is VexRiscv, memory and accelerator in Verilator; its cycles are counted by the
CPU. A whole inference is one call of the firmware's interpreter: the CPU's layers, the start of the
stream, transfers and waiting, the profiler included. The first run after reset has cold caches.

How much of the array a layer uses is seen without the CPU, which looks at the accelerator once per
layer and so not in time where layers are short: the same streams run on the accelerator and a
memory of the same latency, and its count of finished commands is watched.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks import tables
from benchmarks.models import Model, models
from codegen.lower import layer_of, reduced
from codegen.npu.compile import Compiled
from codegen.npu.lower import Accelerated
from edgekit import pipeline
from edgekit.devices.emulators.verilated import Verilated
from edgekit.devices.find import find_board
from edgekit.devices.profile import Profile
from edgekit.execute import session
from edgekit.graph import Graph, Node
from edgekit.ops.base import node_macs
from edgekit.report import Report
from targets.npu.config import Accelerator
from targets.npu.rtl.registers import Register

BOARD = "sim-ecp5-soc"
#: Whole inferences, in cycles, that were asked for.
BARS = {"kws": 75_000, "resnet8": 280_000, "vww96": 260_000, "ad01": 90_000}
#: Channels from which on a convolution can fill the array, and the share that was asked for.
FULL_CHANNELS, CONV_BAR, DEPTHWISE_BAR = 16, 0.85, 0.50
OPS = ("conv2d", "depthwise_conv2d")
#: Taps of a depthwise step. Cycles after which a simulation says that it goes on.
DEPTHWISE_TAPS = 4
STEPS = 1_000_000


@dataclass(frozen=True)
class Utilised:
    """A layer of the accelerator: its share of the multipliers that a step of its kind can use, in
    the cycles from the end of the layer before to its own."""

    name: str
    op: str
    cycles: int
    share: float

    @property
    def bar(self) -> float:
        return CONV_BAR if self.op == "conv2d" else DEPTHWISE_BAR


@dataclass(frozen=True)
class Result:
    """Of one model: bytes that differ from the reference, cycles cold and warm, the estimate."""

    model: str
    differing: int
    first: int
    again: int
    estimated: int
    cpu_layers: int
    moved: int
    stalled: int
    layers: tuple[Utilised, ...]

    @property
    def error(self) -> float:
        """The estimate's, as a share of what was counted in a run that is not the first."""
        return self.estimated / self.again - 1


def measure(model: Model) -> Result:
    """Compile, run on the simulated system, compare and count."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as name:
        compiled = pipeline.compile(
            model.path, output=Path(name) / "out", target="npu64", calibration=model.calibration
        )
        folder, sample = compiled.output, compiled.output.bundle.golden[-1]
        with session(folder, find_board(BOARD)) as board:
            first = board.profile(list(sample.inputs), repeat=1)
            profile = board.profile(list(sample.inputs), repeat=2)
            found = board.outputs()
        layers = utilised(folder.graph)
    differing = sum(
        a != b
        for f, s in zip(found, sample.outputs, strict=True)
        for a, b in zip(f, s, strict=True)
    )
    return _result(model, layers, compiled.report, differing, first, profile)


def _result(
    model: Model,
    layers: tuple[Utilised, ...],
    report: Report,
    differing: int,
    first: Profile,
    profile: Profile,
) -> Result:
    work = profile.work
    return Result(
        model=model.label,
        differing=differing,
        first=first.total,
        again=profile.total,
        estimated=report.cycles or 0,
        cpu_layers=sum(layer.family != "npu" for layer in report.layers),
        moved=sum(w.moved for w in work),
        stalled=sum(w.stalled for w in work),
        layers=layers,
    )


def utilised(graph: Graph) -> tuple[Utilised, ...]:
    """Convolutions of at least `FULL_CHANNELS` channels on both sides, and all depthwise ones."""
    smaller, known = reduced(graph)
    config = find_board(BOARD).target.accelerator
    assert config is not None
    accelerated = Accelerated(smaller, lambda node: layer_of(smaller, node, known), config)
    found: list[Utilised] = []
    hardware = Verilated(config)
    for compiled in accelerated.compiled:
        nodes = [smaller.nodes[step] for step in compiled.run.steps]
        for node, cycles in zip(nodes, _cycles(hardware, compiled), strict=True):
            if lanes := _lanes(smaller, node, config):
                share = node_macs(smaller, node) / (cycles * lanes)
                found.append(Utilised(node.name or node.output, node.op, cycles, share))
    return tuple(found)


def _lanes(graph: Graph, node: Node, config: Accelerator) -> int:
    """Multipliers that a step of this layer can use; 0 for layers that the bars leave out."""
    if node.op == "depthwise_conv2d":
        return DEPTHWISE_TAPS * config.depthwise_lanes
    channels = [graph.values[name].shape[-1] for name in (node.inputs[0], node.output)]
    return config.macs if node.op == "conv2d" and min(channels) >= FULL_CHANNELS else 0


def _cycles(hardware: Verilated, compiled: Compiled) -> list[int]:
    """From the end of each layer's last command to the next one's; the first from the start."""
    outside = [bytes(n) for n in compiled.region_bytes[1:]]
    hardware.start([int(w) for w in compiled.words], [compiled.constants, *outside])
    begun, ends = hardware.cycle, []
    for computed, _ in compiled.waits:
        while hardware.read(Register.COMPUTED) < computed:
            hardware.clock(1)
        ends.append(hardware.cycle)
    while hardware.clock(STEPS) == STEPS:
        pass
    return [b - a for a, b in pairwise([begun, *ends])]


def table(found: Sequence[tuple[Model, Result]]) -> str:
    """The results as Markdown: inferences, then the layers that fill the array least."""
    columns = ("model", "differing bytes", "cycles, first run", "cycles, again", "bar", "estimate",
               "estimate off %", "layers on the CPU", "bus words moved")  # fmt: skip
    rows = [
        (r.model, r.differing, r.first, r.again, BARS[m.name], r.estimated,
         f"{100 * r.error:+.1f}", r.cpu_layers, r.moved)
        for m, r in found
    ]  # fmt: skip
    kinds = [(r, op, [u for u in r.layers if u.op == op]) for _, r in found for op in OPS]
    use = [
        (r.model, op, len(layers), _percent(sum(u.share * u.cycles for u in layers)
         / sum(u.cycles for u in layers)), _percent(min(u.share for u in layers)),
         sum(u.share < u.bar for u in layers), sum(u.cycles for u in layers if u.share < u.bar))
        for r, op, layers in kinds if layers
    ]  # fmt: skip
    more = (
        "model",
        "layers",
        "number",
        "use of the array %, all",
        "least",
        "below the bar",
        "their cycles",
    )
    return tables.table(columns, rows) + "\n" + tables.table(more, use)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    found = [(m, measure(m)) for m in models(options.shared, list(BARS), "tflite")]
    text = table(found)
    print(text)
    for model, result in found:
        for u in result.layers:
            if u.share < u.bar:
                print(f"{model.name}: {u.name} ({u.op}) {100 * u.share:.0f} % in {u.cycles} cycles")
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for _, r in found], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "accelerator", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
