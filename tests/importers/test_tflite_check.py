"""`edgekit check` on .tflite files: every node that is in the way, and none where all is well."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared import SHARED, needs_shared
from tflite_files import File

from edgekit.check import check


def test_every_offending_node_at_once(tmp_path: Path) -> None:
    f = File()
    x = f.tensor([1, 8, 8, 4], "int8", 0.1)
    results = [f.tensor([1, 8, 8, 4], "int8", 0.1) for _ in range(4)]
    for code, y in zip(
        ("LOCAL_RESPONSE_NORMALIZATION", "L2_POOL_2D", "RELU", "SQRT"), results, strict=True
    ):
        f.op(code, [x], [y])
    behind = f.tensor([1, 8, 8, 4], "int8", 0.1)
    f.op("RELU", [results[0]], [behind])  # reads what is not made: no finding of its own
    path = tmp_path / "m.tflite"
    path.write_bytes(f.bytes([x], [*results, behind]))
    found = check(path)
    assert [(i.op, i.kernel) for i in found] == [
        ("LOCAL_RESPONSE_NORMALIZATION", ""),
        ("L2_POOL_2D", ""),
        ("SQRT", ""),
    ]
    assert "int8" in found[2].reason


@needs_shared
@pytest.mark.parametrize(
    "name", ["mcunet_tinyengine_vww", "pymicrowakeword_okay_nabu", "tflm_trained_lstm_int8"]
)
def test_every_node_of_these_models_has_a_kernel(name: str) -> None:
    assert all(f.kernel for f in check(SHARED / "models" / f"{name}.tflite"))
