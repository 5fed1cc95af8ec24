"""Four-bit weights from the float model to the board: smaller, and still the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, compiled, raw_inputs

from edgekit import pipeline
from edgekit.execute import execute
from edgekit.output import Output
from edgekit.reference import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Output:
    out = tmp_path_factory.mktemp("int4") / "digits"
    options = {"weight_bits": 4}
    return pipeline.compile(
        DIGITS.path, output=out, calibration=DIGITS.calibration, quantization=options
    ).output


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
@pytest.mark.parametrize("where", ["host", "virtual-cortex-m4"])
def test_same_bytes(
    folder: Output, where: str, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    inputs = raw_inputs(DIGITS, 8)
    want = run(folder.graph, inputs)
    found = execute(folder, inputs, where, mode=mode)
    for name in folder.graph.outputs:
        np.testing.assert_array_equal(found[name], want[name])


def test_flash_shrinks_by_what_four_bits_promise(folder: Output) -> None:
    packed = [n for n in folder.graph.nodes if n.attrs.get("weight_bits") == 4]
    saved = sum(folder.graph.values[n.inputs[1]].size for n in packed) // 2
    before = len(compiled(DIGITS).bundle.constants)
    assert packed and before - len(folder.bundle.constants) == saved
