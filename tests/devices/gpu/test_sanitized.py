"""The whole program of a GPU board under sanitizers, with drivers that are good and bad."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from gpu_model import samples
from tools import need

from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME_FOLDER, support_files
from edgekit.output import BUNDLE, Output
from edgekit.toolchain import host_executable, host_library

pytestmark = [pytest.mark.apt, pytest.mark.slow]
HERE = Path(__file__).parent
ROOT = firmware_folder()
INPUTS, OUTPUTS = samples()
BLOB = """\
    .section .rodata
    .balign 16
    .globl ek_bundle_start, ek_bundle_end
ek_bundle_start:
    .incbin "{path}"
ek_bundle_end:
    .section .note.GNU-stack,"",%progbits
"""
#: Drivers keep what they like until the process ends.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "EDGEKIT_GPU": "Portable"}


@pytest.fixture(scope="module")
def program(small: Output, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("gcc")
    folder = tmp_path_factory.mktemp("sanitized")
    blob = folder / "blob.S"
    blob.write_text(BLOB.format(path=small.path / BUNDLE))
    runtime = small.sources / RUNTIME_FOLDER
    support = [runtime / name for name in support_files() if name.endswith(".c")]
    return host_executable(
        [
            *(small.sources / name for name in ("kernels.c", "registry.c")),
            *(runtime / name for name in ("ek_runtime.c", "ek_verify.c")),
            *support,
            *sorted(runtime.glob("ek_gpu*.c")),
            runtime / "ek_system.c",
            ROOT / "app" / "ek_app_gpu.c",
            HERE / "run_app.c",
            blob,
        ],
        include=[small.sources, runtime, ROOT / "app", ROOT / "include"],
        opt="-O1",
        sanitize=True,
    )


@pytest.mark.parametrize(
    "bad",
    ["nothing", "align=0", "unified=0", "subbuffer", "map", "clock", "compile=kernel", "start=3",
     "lost=1", "lost=9", "hang=5", "event=7", "garbage"],
)  # fmt: skip
def test_no_sanitizer_complains(program: Path, tmp_path: Path, bad: str) -> None:
    shim = host_library([HERE / "bad_opencl.c"], include=[ROOT / "gpu"])
    environment = {
        **ENVIRONMENT,
        "EDGEKIT_OPENCL_LIBRARY": str(shim),
        "EDGEKIT_GPU_FOLDER": str(tmp_path),
        "EDGEKIT_GPU_PATIENCE_MS": "1000",
        "EK_BAD": bad,
    }
    for _ in range(2):  # without files, and with them
        done = subprocess.run(
            [program], input=b"".join(INPUTS), env=environment, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
        runs = [line.split() for line in done.stdout.decode().splitlines() if line[:4] == "run "]
        assert [bytes.fromhex(y) for _, _, y in runs] == OUTPUTS
        assert all(status in ("0", "14") for _, status, _ in runs)
