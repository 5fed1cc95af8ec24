"""What imported models give: .tflite against TFLite Micro, ONNX exports against float.

    PYTHONPATH=tests python -m benchmarks.importing --models DIR [--samples 100] [--update FILE]

Every .tflite file runs on full-range and on plausible random inputs, half of each, in numpy; every
tensor inside the network that both sides have is compared with TFLite Micro's interpreter. Eight of
them run on the virtual Cortex-M4 too. Models with states take the samples as consecutive steps.

Every ONNX export is quantized on one set of random inputs and judged on another; the integer
network then runs on the virtual Cortex-M4 and every byte is compared with the reference.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from tflite_peer import differing_bytes, feed

from benchmarks import tables
from edgekit import data
from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.execute import execute
from edgekit.graph import Graph, logits_of
from edgekit.importers import load
from edgekit.output import write_output
from edgekit.reference import run
from quantizer import quantize

TARGET = find_target("cortex-m4")
BOARD = TARGET.default_board
ON_THE_BOARD = 8
TFLITE = (
    "ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "str_ww_ref_model", "vww_96_int8",
    "mcunet_tinyengine_vww", "pymicrowakeword_okay_nabu", "tflm_trained_lstm_int8",
)  # fmt: skip
ONNX = (
    "silero_vad_openvino_16k", "torch213_exp_cnn_dynamo", "torch213_exp_cnn_ts",
    "torch213_exp_rnn_dynamo", "torch213_exp_rnn_ts", "torch213_exp_attn_dynamo",
    "torch213_exp_attn_ts",
)  # fmt: skip


def board_differs(graph: Graph, feeds: dict[str, np.ndarray], name: str) -> tuple[int, int]:
    """Bytes by which the virtual board differs from the reference, and instructions of a call."""
    built = build(graph, None, target=TARGET, board=find_board(BOARD), compiler="zig",
                  say=lambda stage, share: None)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        out = write_output(Path(folder) / "out", built.files, built.description(name, "zig"))
        want, have = run(graph, feeds), execute(out, feeds, BOARD)
    differing = sum(
        int(np.count_nonzero(want[n].view(np.uint8) != have[n].view(np.uint8)))
        for n in graph.outputs
    )
    return differing, built.report.instructions or 0


def tflite_row(path: Path, samples: int) -> list[tables.Cell]:
    graph = load(path)
    differing, tensors = 0, 0
    for plausible in (False, True):
        feeds = feed(graph, np.random.default_rng(int(plausible)), samples // 2, plausible)
        found = differing_bytes(path, graph, feeds)
        differing += sum(found.values())
        tensors = len(found)
    few = feed(graph, np.random.default_rng(2), ON_THE_BOARD, plausible=True)
    on_board, instructions = board_differs(graph, few, path.stem)
    return [path.name, len(graph.states), tensors, samples, differing, ON_THE_BOARD, on_board,
            instructions]  # fmt: skip


def onnx_row(path: Path, samples: int) -> list[tables.Cell]:
    graph = load(path)
    row: list[tables.Cell] = [path.name]
    few: dict[str, np.ndarray] = {}
    for bits in (8, 16):
        result = quantize(graph, _normal(graph, 0, samples), activation_bits=bits)
        held = _normal(graph, 1, samples)
        name = logits_of(result.float_graph)
        want = run(result.float_graph, held, keep=[name])[name]
        raw = data.quantize_inputs(result.graph, held)
        have = data.dequantize_output(result.graph, name, run(result.graph, raw, keep=[name])[name])
        row.append(float(10 * np.log10(np.sum(want**2) / np.sum((want - have) ** 2))))
        few = {n: x[:ON_THE_BOARD] for n, x in raw.items()}
        row += board_differs(result.graph, few, path.stem)
    return row


def _normal(graph: Graph, seed: int, samples: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 1, (samples, *graph.values[name].sample_shape)).astype(np.float32)
        for name in graph.inputs
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args()
    exact = [tflite_row(options.models / f"{n}.tflite", options.samples) for n in TFLITE]
    columns = ("model", "states", "tensors", "inputs", "bytes that differ, numpy", "inputs",
               "bytes that differ, virtual M4", "instructions")  # fmt: skip
    text = tables.table(columns, exact) + "\n"
    close = [onnx_row(options.models / f"{n}.onnx", options.samples) for n in ONNX]
    columns = ("model", "int8 SQNR dB", "bytes that differ, virtual M4", "instructions",
               "16x8 SQNR dB", "bytes that differ, virtual M4", "instructions")  # fmt: skip
    text += tables.table(columns, close)
    print(text)
    if options.update:
        tables.update(options.update, "importing", text)


if __name__ == "__main__":
    main()
