"""The models that are measured: MLPerf Tiny, as int8 .tflite and as float .onnx."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PEERS = Path(__file__).with_name("peers.toml")
#: Int8 reference files of MLPerf Tiny by the name of their data.
TFLITE = {
    "kws": "kws_ref_model.tflite",
    "resnet8": "pretrainedResnet_quant.tflite",
    "vww96": "vww_96_int8.tflite",
    "ad01": "ad01_int8.tflite",
    "sww": "str_ww_ref_model.tflite",
}
SOURCES = ("tflite", "onnx")


@dataclass(frozen=True)
class Model:
    """A model file; `calibration` and `evaluation` are its data, the former None for int8 files."""

    name: str
    source: str
    label: str
    path: Path
    calibration: Path | None
    evaluation: Path


def models(shared: Path, names: list[str], source: str) -> list[Model]:
    """The models called `names` as `source` files below the folder `shared`."""
    labels = peers()
    found = []
    for name in names:
        file = TFLITE[name] if source == "tflite" else f"mlperf_tiny_{name}_float32.onnx"
        data = shared / "data"
        calibration = None if source == "tflite" else data / f"{name}_calibration.npz"
        found.append(
            Model(
                name,
                source,
                labels[name]["label"],
                shared / "models" / file,
                calibration,
                data / f"{name}_eval.npz",
            )
        )
    return found


def peers() -> dict[str, Any]:
    """The figures of other tools by model; ``layers`` has TFLM's instructions per layer."""
    return tomllib.loads(PEERS.read_text(encoding="utf-8"))


def names_of(text: str) -> list[str]:
    """``"kws,ad01"`` as a list of known models; raises ValueError."""
    names = [n for n in text.split(",") if n]
    if unknown := [n for n in names if n not in TFLITE]:
        raise ValueError(f"unknown model '{unknown[0]}'; known: {', '.join(TFLITE)}")
    return names
