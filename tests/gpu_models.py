"""The models of MLPerf Tiny and mcunet on OpenCL devices of this machine.

``python tests/gpu_models.py`` prints for each model and platform how many bytes of eight inferences
differ from the reference's, and of every variant of every layer on the first of them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from gpu_device import device
from gpu_program import Run
from graphs import batch
from models import TFLITE, TestModel, compiled, raw_inputs
from shared import SHARED

from edgekit import reference

PLATFORMS = ("Portable", "rusticl")
INPUTS = 8
NO_SAMPLES = Path("none of this shape")
MCUNET = TestModel(
    "mcunet_vww", SHARED / "models" / "mcunet_tinyengine_vww.tflite", None, NO_SAMPLES
)
MODELS = [*TFLITE, MCUNET]


@dataclass(frozen=True)
class Found:
    """Bytes of outputs and of layers that were compared, and those that differ."""

    layers: int
    on_cpu: int
    variants: int
    compared: int
    differ: int


def check(model: TestModel, platform: str, inputs: int, every: bool = True) -> Found:
    """Whole inferences, and with `every` all variants of all layers on the first input."""
    graph = compiled(model).graph
    plausible = model.samples != NO_SAMPLES
    feeds = raw_inputs(model, inputs) if plausible else batch(graph, 0, inputs)
    want = reference.run(graph, feeds)
    run = Run(graph, device(platform))
    compared = differ = 0
    for i in range(inputs):
        one = {name: x[i : i + 1] for name, x in feeds.items()}
        for name, found in zip(graph.outputs, run.outputs(one), strict=True):
            compared += found.nbytes
            differ += int((found != want[name][i : i + 1]).sum())
    if every:
        run.all_variants({name: x[:1] for name, x in feeds.items()})  # raises where one differs
    layers = run.gpu.layers
    return Found(
        len(layers),
        sum(not layer.variants for layer in layers),
        sum(len(layer.variants) for layer in layers) if every else 0,
        compared,
        differ,
    )


def main(names: list[str]) -> None:
    print("model", "platform", "layers", "on the CPU", "variants", "bytes", "differ", sep="\t")
    for model in MODELS:
        if names and model.name not in names:
            continue
        for platform in PLATFORMS:
            f = check(model, platform, INPUTS)
            numbers = (f.layers, f.on_cpu, f.variants, f.compared, f.differ)
            print(model.name, platform, *numbers, sep="\t", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
