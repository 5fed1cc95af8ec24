"""``make demo``'s program, as a user runs it: in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_demo(tmp_path: Path) -> None:
    environment = {**os.environ, "EDGEKIT_STATE_DIR": str(tmp_path / "boards")}
    done = subprocess.run(
        [sys.executable, "-m", "samples.digits.demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Output bytes that differ between board and reference: 0 of" in done.stdout
    assert (tmp_path / "out" / "digits" / "model.ekb").is_file()
