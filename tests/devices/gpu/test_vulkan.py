"""The GPU program through Vulkan: lavapipe, and libraries that lie, fail or lose the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

import pytest
from gpu_model import samples
from tools import need, need_modules

from edgekit.devices.firmware.build import Firmware, firmware_folder
from edgekit.devices.firmware.model import model_firmware
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, Output
from edgekit.toolchain import host_library
from targets import board

pytestmark = pytest.mark.apt
HERE = Path(__file__).parent
ON = board("gpu-lavapipe")
INPUTS, OUTPUTS = samples()
Start = Callable[..., Session]


@pytest.fixture(scope="module")
def firmware(small: Output) -> Firmware:
    need("vulkaninfo")
    need_modules("pyclspv")
    return model_firmware(small.sources, small.name, ON, bundle=small.path / BUNDLE)


@pytest.fixture(scope="module")
def shim() -> Path:
    """What it does not define is the system's, as a library that it needs."""
    real = find_library("vulkan")
    assert real is not None
    return host_library(
        [HERE / "bad_vulkan.c"],
        include=[firmware_folder() / "gpu"],
        link_flags=["-Wl,--no-as-needed", f"-l:{real}"],
        compiler="gcc",
    )


@pytest.fixture
def start(firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv("EDGEKIT_GPU_FOLDER", str(tmp_path / "kept"))

    @contextmanager
    def start_(library: Path | None = None, bad: str = "") -> Iterator[Session]:
        monkeypatch.setenv("EDGEKIT_VULKAN_LIBRARY", "" if library is None else str(library))
        monkeypatch.setenv("EK_BAD", bad)
        with connect(ON, elf=firmware.elf) as session:
            yield session

    return start_  # type: ignore[return-value]


def exact(session: Session) -> bool:
    return [session.run([x])[0] for x in INPUTS] == OUTPUTS


def on_device(session: Session) -> int:
    return sum(not text.startswith("CPU") for text in session.gpu().layers)


def test_lavapipe(start: Start, tmp_path: Path) -> None:
    """Exact, with what was built kept for the next start; a damaged file is written again."""
    with start() as session:
        assert exact(session) and session.gpu().api == "Vulkan" and session.gpu().is_cpu
        assert on_device(session) >= 2 and not session.gpu().said
    (kept,) = (tmp_path / "kept").glob("gpu-pipelines-*")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-3] + b"abc")
    with start() as session:
        assert exact(session) and on_device(session) >= 2
    assert kept.read_bytes()[:24] == whole[:24]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("device", "Vulkan has no device"),
        ("bytes", "no 8-bit integers"),
        ("logical", "Vulkan cannot compute on"),
        ("fence", "Vulkan cannot compute on"),
    ],
)
def test_no_device(start: Start, shim: Path, bad: str, why: str) -> None:
    with start(shim, bad) as session, pytest.raises(EdgekitError, match=why) as caught:
        session.run([INPUTS[0]])
    assert caught.value.code == "E670"


def test_no_library(start: Start, tmp_path: Path) -> None:
    with (
        start(tmp_path / "libnothing.so") as session,
        pytest.raises(EdgekitError, match=r"there is no Vulkan library: .*libnothing") as caught,
    ):
        session.run([INPUTS[0]])
    assert caught.value.code == "E670"


def test_a_pipeline_that_cannot_be_made(start: Start, shim: Path) -> None:
    """The layer's next variant is taken."""
    with start(shim, "pipeline") as session:
        assert exact(session)
        assert on_device(session) >= 2 and session.gpu().said


@pytest.mark.parametrize("fault", ["lost", "slow"])
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_the_device_is_lost(start: Start, shim: Path, fault: str, batch: int) -> None:
    """In the self-test or later: the CPU's bytes, which are the same."""
    with start(shim, f"{fault}:{batch}") as session:
        for _ in range(8):
            assert exact(session)
        notices = " ".join(session.notices())
    assert batch > 3 or "CPU" in notices or "lost" in notices
