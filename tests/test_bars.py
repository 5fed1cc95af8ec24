"""Figures that must not get worse: exact counts and bytes, never times."""

from __future__ import annotations

import subprocess
import sys

import pytest
from models import DIGITS, TFLITE, compiled
from shared import needs_shared
from tools import need

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


@needs_shared
def test_keyword_spotting_in_bytes() -> None:
    report = compiled(KWS).description["report"]
    assert report["ram"]["arena"] <= 17_000
    assert report["flash"]["kernels"] + report["flash"]["runtime"] <= 16 * 1024


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
    assert totals["interpreter"] <= 5_000_000
    assert totals["interpreter"] < 1.01 * totals["aot"]
