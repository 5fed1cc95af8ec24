"""One fixture: the GPU runtime's core, run on a device that does as it is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from gpu_core import BUNDLE, Result, Run, program, sample

from edgekit.bundle import Bundle, write_bundle

#: run_core ends where it may, and leaves its memory to the system.
_NO_LEAKS = {"ASAN_OPTIONS": "detect_leaks=0"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_(
        script: str = "",
        bundle: Bundle | bytes = BUNDLE,
        kept: bool = False,
        tuning: Path | str = "",
        timed: bool = False,
    ) -> Result:
        data = bundle if isinstance(bundle, bytes) else write_bundle(bundle)
        (tmp_path / "model.ekb").write_bytes(data)
        (tmp_path / "inputs").write_bytes(b"".join(map(sample, range(10, 13))))
        folder = tmp_path / "kept"
        folder.mkdir(exist_ok=True)
        command = [program(), tmp_path / "model.ekb", tmp_path / "inputs", folder if kept else "",
                   tuning, *["timed"] * timed]  # fmt: skip
        done = subprocess.run(
            command,
            env={**os.environ, "EK_FAKE": script, **_NO_LEAKS},
            capture_output=True,
            timeout=60,
        )
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, text + done.stderr.decode(errors="replace")[:3000]
        lines = [line.split(" ", 1) for line in text.splitlines()]
        runs = [rest.split() for word, rest in lines if word == "run"]
        return Result(
            text,
            [rest for word, rest in lines if word == "said"],
            [rest for word, rest in lines if word == "layer"],
            [(int(s), bytes.fromhex(y), int(n), int(m)) for s, y, n, m in runs],
        )

    return run_
