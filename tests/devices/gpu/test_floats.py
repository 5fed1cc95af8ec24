"""Float models through the runtime on this machine's OpenCL device."""

from __future__ import annotations

import ctypes
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from codegen.gpu.sources import prelude
from edgekit import pipeline
from edgekit.cli import cli
from edgekit.devices.firmware.build import firmware_folder
from edgekit.output import Output, open_output
from edgekit.toolchain import host_library
from edgekit.validate import Validation, validate
from samples import digits
from targets import board

pytestmark = pytest.mark.apt
COUNT = 20
POCL = board("gpu-pocl")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier run found out of these very bundles is not to count."""
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv("EDGEKIT_GPU_FOLDER", str(tmp_path / "kept"))


def compiled(folder: Path, precision: str) -> Output:
    pipeline.compile(digits.MODEL, output=folder, target="gpu-x86_64", precision=precision)
    return open_output(folder)


def validated(folder: Output) -> Validation:
    graph = folder.graph
    (name,) = graph.inputs
    with np.load(digits.EVALUATION) as data:
        x = data[name][:COUNT].astype(np.float32)
    return validate(folder, POCL, {name: x.reshape(COUNT, *graph.values[name].sample_shape)})


@pytest.mark.slow
def test_float32_is_exact(tmp_path: Path) -> None:
    found = validated(compiled(tmp_path / "out", "fp32"))
    assert (found.equal, found.different_bytes, found.notices) == (COUNT, 0, ())


def test_half_is_close_and_runs_on_the_device(tmp_path: Path) -> None:
    out = compiled(tmp_path / "out", "fp16")
    found = validated(out)
    assert found.equal == COUNT and found.tolerance == 1 / 16 and found.notices == ()
    assert found.different_bytes > 0  # the CPU has float32
    assert "floats are close enough" in out.description["report"]["not_measured"]
    done = CliRunner().invoke(cli, ["profile", str(out.path), "--board", POCL.name])
    assert done.exit_code == 0, done.output
    assert "output is close enough to the reference" in done.output
    assert "stack" not in done.output  # that of a process is not measured


@pytest.mark.slow
def test_half_that_is_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every result negated: no variant passes the self-test, the CPU computes, and says so."""
    sound = prelude()
    broken = sound.replace("vstore_half4_rte(x, 0,", "vstore_half4_rte(-x, 0,")
    assert broken != sound
    monkeypatch.setattr("codegen.gpu.lower.prelude", lambda: broken)
    found = validated(compiled(tmp_path / "out", "fp16"))
    assert found.different_bytes == 0  # all of it is the CPU's
    assert len(found.notices) == 1 and "run on the CPU" in found.notices[0]
    assert "differ" in found.notices[0]


class Tensor(ctypes.Structure):
    names = ("pixels", "channels", "element_bytes", "offset", "nbytes", "cpu_offset", "half")
    _fields_ = [(name, ctypes.c_uint32) for name in names]


@pytest.mark.parametrize(
    "half, found, right",
    [
        (0, [1.0, -8.0], True),
        (0, [np.nextafter(np.float32(1), np.float32(2)), -8.0], False),  # integers: no bit
        (2, [1.0 + 8 / 4096, -8.0], True),
        (2, [1.0 + 9 / 4096, -8.0], False),
        (1, [1.5, -8.5], True),
        (1, [1.0, -8.51], False),
        (2, [float("nan"), -8.0], False),
        (1, [1.0, float("inf")], False),
    ],
)
def test_what_is_close_enough(half: int, found: list[float], right: bool) -> None:
    root = firmware_folder()
    sources = sorted((root / "gpu").glob("ek_gpu*.c"))
    sources = [s for s in sources if "opencl" not in s.name and "vulkan" not in s.name]
    library = ctypes.CDLL(
        str(host_library(
            [*sources, root / "linux" / "ek_system.c", *sorted((root / "src").glob("*.c"))],
            include=[root / name for name in ("include", "src", "gpu", "linux")], opt="-O1",
        ))
    )  # fmt: skip
    library.ek_gpu_agrees.restype = ctypes.c_bool
    tensor = Tensor(1, 2, 2 if half == 1 else 4, 0, 16, 0, half)
    pair = (struct.pack("<2f", *found), struct.pack("<2f", 1.0, -8.0))
    assert library.ek_gpu_agrees(ctypes.byref(tensor), *pair, 8) is right
