"""The GPU program on drivers that lie, fail or die: the right bytes, or an error that says why.

The library of tests/devices/gpu/bad_opencl.c hands everything on to PoCL but for one thing.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gpu_model import samples

from edgekit.devices.firmware.build import Firmware, firmware_folder
from edgekit.devices.firmware.model import model_firmware
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, Output
from edgekit.toolchain import host_library
from targets import board

pytestmark = pytest.mark.apt
HERE = Path(__file__).parent
ON = board("gpu-pocl")
INPUTS, OUTPUTS = samples()
Start = Callable[..., Session]


@pytest.fixture(scope="module")
def firmware(small: Output) -> Firmware:
    return model_firmware(small.sources, small.name, ON, bundle=small.path / BUNDLE)


@pytest.fixture(scope="module")
def shim() -> Path:
    return host_library([HERE / "bad_opencl.c"], include=[firmware_folder() / "gpu"])


@pytest.fixture
def start(firmware: Firmware, shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv("EDGEKIT_OPENCL_LIBRARY", str(shim))
    monkeypatch.setenv("EDGEKIT_GPU_FOLDER", str(tmp_path / "kept"))
    monkeypatch.setenv("EDGEKIT_GPU_PATIENCE_MS", "5000")
    monkeypatch.setenv("EK_BAD_WHEN", str(tmp_path / "when"))

    @contextmanager
    def start_(bad: str = "") -> Iterator[Session]:
        monkeypatch.setenv("EK_BAD", bad)
        with connect(ON, elf=firmware.elf) as session:
            yield session

    return start_  # type: ignore[return-value]


def test_a_driver_that_crashes(start: Start) -> None:
    """The fault is told over the link, whatever the driver's libraries do with signals."""
    with start("crash") as session, pytest.raises(EdgekitError, match="faulted") as caught:
        session.run([INPUTS[0]])
    assert caught.value.code == "E609" and "hfsr 0x0000000b" in str(caught.value)  # SIGSEGV


def exact(session: Session) -> bool:
    return [session.run([x])[0] for x in INPUTS] == OUTPUTS


def test_a_good_driver(start: Start) -> None:
    with start() as session:
        assert exact(session) and session.gpu().is_cpu
        on_device = [text for text in session.gpu().layers if not text.startswith("CPU")]
        assert len(on_device) >= 2 and not session.gpu().said


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("platform", "OpenCL has no platform"),
        ("device", "OpenCL's platforms have no device"),
        ("context", "OpenCL makes no context for "),
        ("queue", "OpenCL makes no queue for "),
    ],
)
def test_no_device(start: Start, bad: str, why: str) -> None:
    with start(bad) as session, pytest.raises(EdgekitError, match=why) as caught:
        session.run([INPUTS[0]])
    assert caught.value.code == "E670"


@pytest.mark.parametrize(
    ("library", "why"),
    [
        ("libEdgekitHasNoSuchLibrary.so", "there is no OpenCL library"),
        ("libm.so.6", "the OpenCL library lacks clGetPlatformIDs"),
    ],
)
def test_no_library(start: Start, monkeypatch: pytest.MonkeyPatch, library: str, why: str) -> None:
    monkeypatch.setenv("EDGEKIT_OPENCL_LIBRARY", library)
    with start() as session, pytest.raises(EdgekitError, match=why) as caught:
        session.opened()
    assert caught.value.code == "E670"


def test_a_device_that_is_not_there(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_GPU", "no such device")
    with start() as session, pytest.raises(EdgekitError, match="fits no such device"):
        session.opened()


@pytest.mark.parametrize(
    "bad",
    ["group=0", "group=18446744073709551615", "items=0", "items=4294967296", "align=0", "align=8",
     "align=32768", "local=0", "unified=0", "subbuffer", "map", "clock"],
)  # fmt: skip
def test_lies_that_do_no_harm(start: Start, bad: str) -> None:
    with start(bad) as session:
        assert exact(session)
        assert sum(not text.startswith("CPU") for text in session.gpu().layers) >= 2


def test_a_clock_that_stands_still_times_nothing(start: Start) -> None:
    """As rusticl's in Mesa 22.3: the time is taken by the clock of this machine."""
    with start("clock=1") as session:
        assert exact(session)
        timings = [session.time_variant(0, variant, [0], 2) for variant in range(3)]
        assert any(t.right for t in timings)
        assert all(t.ns > 100 for t in timings if t.right)


@pytest.mark.parametrize(
    "bad",
    ["group=1", "items=1", "buffer", "start=1", pytest.param("kernel=", marks=pytest.mark.slow)],
)
def test_nothing_runs_on_the_device(start: Start, bad: str) -> None:
    with start(bad) as session:
        assert exact(session)
        assert all(text.startswith("CPU") for text in session.gpu().layers)
        assert session.notices()


def test_nothing_compiles(start: Start) -> None:
    with start("compile=kernel") as session:
        assert exact(session)
        assert all(text.startswith("CPU") for text in session.gpu().layers)
        said = session.gpu().said
        assert "did not compile: <source>:1:1: error: seeded by the test" in said[0]


@pytest.mark.parametrize("what", ["compile", "kernel", "skip", "part"])
def test_the_next_variant_is_taken(start: Start, what: str, small: Output) -> None:
    """The variant that a good device takes for the convolution fails, in any way."""
    gpu = small.bundle.gpu
    assert gpu is not None
    layer = gpu.layers[0]
    own = gpu.variants[layer.first_variant : layer.first_variant + layer.variant_count]
    able = [v for v in own if not v.needs]
    name = gpu.string(able[0].name, able[0].name_bytes)
    function = gpu.functions[gpu.launches[able[0].first_launch].function]
    with start(f"{what}={gpu.string(function.name, function.name_bytes)}") as session:
        assert exact(session)
        text = session.gpu().layers[0]
    reason = "did not compile" if what in ("compile", "kernel") else "bytes differ"
    assert f"; {name}: " in text and reason in text
    assert text.startswith("CPU") == (len(able) == 1)


@pytest.mark.parametrize("what", ["lost", "hang", "event"])
@pytest.mark.parametrize("launch", [1, pytest.param(2, marks=pytest.mark.slow), 4])
def test_lost_during_the_tests(
    start: Start, what: str, launch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_GPU_PATIENCE_MS", "300")
    with start(f"{what}={launch}") as session:
        assert exact(session)
        assert "GPU: the device is lost: the CPU computes from now on" in session.notices()


@pytest.mark.parametrize("what", ["lost", "hang", "event"])
def test_lost_between_inferences(
    start: Start, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_GPU_PATIENCE_MS", "300")
    with start(what) as session:
        assert exact(session) and not session.lost
        (tmp_path / "when").touch()
        assert exact(session) and session.lost
        assert "GPU: it was lost meanwhile; the CPU did those inferences again" in session.notices()


# ---- programs in files


def programs(folder: Path) -> list[Path]:
    return sorted((folder / "kept").glob("gpu-program-*"))


def test_programs_are_kept_and_damaged_ones_written_again(start: Start, tmp_path: Path) -> None:
    with start() as session:
        assert exact(session)
    (path,) = programs(tmp_path)
    good = path.read_bytes()
    chance = random.Random(1)
    for _ in range(2):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        for bad in (bytes(data), good[: chance.randrange(len(good))]):
            path.write_bytes(bad)
            with start() as session:
                assert exact(session) and not session.gpu().said
            assert path.read_bytes()[:24] == good[:24] and path.read_bytes() != bad


@pytest.mark.parametrize("bad", ["binary", "garbage"])
def test_programs_that_the_driver_refuses(start: Start, tmp_path: Path, bad: str) -> None:
    with start(bad if bad == "garbage" else "") as session:
        assert exact(session)
    assert programs(tmp_path)
    with start(bad) as session:
        assert exact(session) and not session.gpu().said


def test_a_folder_that_cannot_be_written(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_GPU_FOLDER", "/proc/edgekit")
    with start() as session:
        assert exact(session)
        assert any("no folder to keep anything in" in line for line in session.gpu().said)


@pytest.mark.slow
def test_what_is_no_file(start: Start, tmp_path: Path) -> None:
    """A FIFO would wait for a writer, /dev/zero never ends, a folder cannot be read."""
    with start() as session:
        assert exact(session)
    for path in sorted((tmp_path / "kept").iterdir()):
        path.unlink()
        os.mkfifo(path)
        with start() as session:
            assert exact(session)
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/zero")
        with start() as session:
            assert exact(session)
        path.unlink(missing_ok=True)
        path.mkdir()
        with start() as session:
            assert exact(session)


def test_settings_that_say_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_GPU_PATIENCE_MS", "5 s")
    with start() as session:
        assert exact(session)
        assert any("EDGEKIT_GPU_PATIENCE_MS is ignored" in line for line in session.gpu().said)
    monkeypatch.setenv("EDGEKIT_GPU_API", "metal")
    with start() as session, pytest.raises(EdgekitError, match="'metal', not opencl") as caught:
        session.opened()
    assert caught.value.code == "E670"
