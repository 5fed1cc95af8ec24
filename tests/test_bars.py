"""Figures that must not get worse: exact counts and bytes, never times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from models import DIGITS, TFLITE, TestModel, compiled
from pace import thinned
from shared import needs_shared
from tools import need

from benchmarks.cortex_a import peers
from codegen.lower import weight_bytes
from edgekit import pipeline
from edgekit.devices.find import find_board
from edgekit.execute import session

KWS = TFLITE[0]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgekit.cli; edgekit.cli.main(['--help']);"
        "heavy = {'numpy', 'tvm', 'onnx', 'rich', 'unicorn', 'flatbuffers'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_runtime_stays_small() -> None:
    assert compiled(DIGITS).description["report"]["flash"]["runtime"] <= 6 * 1024


#: Cortex-M4, balanced, from the reference .tflite: instructions, arena and code in bytes (of the
#: interpreter's build, whose runtime is 2.9 KB of it), constants by the int8 weights.
BARS = {
    "kws_tflite": (2_600_000, 10_500, 12_000, 1.25),
    "resnet8_tflite": (8_000_000, 46_000, 20_500, 1.25),
    "vww96_tflite": (4_900_000, 42_000, 16_000, 1.25),
    "ad01_tflite": (270_000, 2_200, 7_000, 1.25),
    "sww_tflite": (800_000, 9_000, 12_000, 1.25),
}


@needs_shared
@pytest.mark.parametrize(
    "model",
    thinned(TFLITE, lambda m: m.name not in ("vww96_tflite", "ad01_tflite")),
    ids=lambda m: m.name,
)
def test_the_balanced_build(model: TestModel) -> None:
    instructions, arena, code, ratio = BARS[model.name]
    folder = compiled(model)
    report = folder.description["report"]
    assert report["instructions"] <= instructions
    assert report["ram"]["arena"] <= arena
    assert report["flash"]["kernels"] + report["flash"]["runtime"] <= code
    assert len(folder.bundle.constants) <= ratio * weight_bytes(folder.graph)


#: XNNPACK's instructions on the Cortex-A53 and A76, and the share of them that edgekit's balanced
#: build may take.
XNNPACK = peers()
SHARES = {
    "kws": (0.60, 0.50),
    "resnet8": (0.62, 0.76),
    "vww96": (0.35, 0.38),
    "ad01": (0.42, 0.55),
    "sww": (0.60, 0.63),
}


@needs_shared
@pytest.mark.parametrize(
    ("model", "core"),
    thinned(
        [(m, core) for m in TFLITE for core in ("cortex-a53", "cortex-a76")],
        lambda case: case[0].name == "ad01_tflite",
    ),
    ids=lambda x: x if isinstance(x, str) else x.name,
)
def test_cortex_a(model: TestModel, core: str, tmp_path: Path) -> None:
    name = model.name.removesuffix("_tflite")
    report = pipeline.compile(model.path, output=tmp_path / "out", target=core).report
    share = SHARES[name][core == "cortex-a76"]
    assert report.instructions is not None
    assert report.instructions <= share * XNNPACK[name]["xnnpack"][core]
    assert report.flash["kernels"] + report.flash["runtime"] <= 150_000
    counted = [(x.cost, x.instructions) for x in report.layers if x.cost and x.instructions]
    assert len(counted) >= 0.8 * len(report.layers)  # what kernels are chosen by is what runs
    assert sum(c for c, _ in counted) == pytest.approx(sum(i for _, i in counted), rel=0.05)


@needs_shared
def test_keyword_spotting_in_instructions(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    need("qemu-system-arm")
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path_factory.mktemp("boards")))
    folder, board = compiled(KWS), find_board("qemu-mps2-an386")
    totals = {}
    for mode in ("interpreter", "aot"):
        with session(folder, board, mode=mode) as device:
            measured = device.profile(list(folder.bundle.golden[0].inputs), repeat=1)
        assert measured.unit == "instructions"
        totals[mode] = measured.total
    assert totals["interpreter"] <= 2_600_000
    assert totals["interpreter"] < 1.01 * totals["aot"]
