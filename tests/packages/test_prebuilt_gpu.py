"""Packages of compiled libraries that use GPUs: what apps need to be told, and examples on PoCL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from gpu_device import device
from gpu_model import samples, small_graph
from libraries import HERE, check_for_android, folder_of, gpu_folder_of
from tools import need

from edgekit.cli import main
from edgekit.library.packing import libraries_of
from edgekit.packages import find_form, write_package
from edgekit.packages.contents import About
from edgekit.packages.libraries import Libraries

pytestmark = [pytest.mark.apt, HERE]
ANDROID = "{http://schemas.android.com/apk/res/android}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpu_folder_of(small_graph(), tmp_path_factory.mktemp("out"), "gpu-x86_64").path


@pytest.fixture(scope="module")
def libraries(folder: Path) -> Libraries:
    return libraries_of([folder], About())


def test_an_android_archive_names_the_vendors_libraries(libraries: Libraries) -> None:
    files = find_form("android").files(libraries)
    manifest = ElementTree.fromstring(files["AndroidManifest.xml"])
    (application,) = manifest.iter("application")
    named = [dict(element.attrib) for element in application.iter("uses-native-library")]
    assert named == [
        {f"{ANDROID}name": name, f"{ANDROID}required": "false"}
        for name in ("libOpenCL.so", "libOpenCL-pixel.so")
    ]
    check_for_android(files["jni/x86_64/libsmall.so"], "small")
    readme = files["README.md"].decode()
    assert '<uses-native-library android:name="libOpenCL.so" android:required="false" />' in readme
    assert "small_gpu_open(&model, &settings)" in readme


def test_archives_for_cpus_name_none(tmp_path: Path) -> None:
    out = folder_of(small_graph(), tmp_path / "out", "linux-x86_64", golden=True)
    cpu = libraries_of([out.path], About())
    files = find_form("android").files(cpu)
    assert not list(ElementTree.fromstring(files["AndroidManifest.xml"]).iter("application"))
    for form in ("android", "linux", "wheel"):
        texts = [d for n, d in find_form(form).files(cpu).items() if n.endswith((".md", ".cmake"))]
        assert not any(b"GPU" in text or b"DL_LIBS" in text for text in texts)


def test_the_example_of_the_linux_form_computes_on_a_device(
    libraries: Libraries, tmp_path: Path
) -> None:
    device()
    need("cmake", "gcc")
    package = write_package(tmp_path / "small", find_form("linux"), libraries).path
    build = tmp_path / "build"
    for command in (
        ["cmake", "-S", package / "example", "-B", build],
        ["cmake", "--build", build],
        ["ctest", "--test-dir", build, "--verbose"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("edgekit: 3 of 3 layers on the GPU: ") == 2  # shared and static
    assert done.stdout.count("bytes equal, program for gpu-x86_64") == 2


def test_a_wheel_computes_on_a_device(libraries: Libraries, tmp_path: Path) -> None:
    device()
    made = write_package(tmp_path / "dist", find_form("wheel"), libraries).path
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--quiet", "--target", tmp_path / "site", made], check=True)
    inputs, outputs = samples()
    np.save(tmp_path / "x.npy", np.frombuffer(b"".join(inputs), np.int8).reshape(-1, 6, 6, 3))
    code = (
        "import numpy as np, small\n"
        "model = small.Model(gpu=small.Gpu(folder='kept'))\n"
        "y = model.run(np.load('x.npy'), raw=True)\n"
        "print(model.gpu.device_layers, y.tobytes().hex())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", b"".join(outputs).hex()]


def test_packages_of_sources(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ahead-of-time C has no way to a GPU; the sources of the runtime go with the interpreter."""
    arguments = ["export", str(folder), "--as", "cmake", "-o", str(tmp_path / "made")]
    assert main(arguments) == 1
    assert "E729" in capsys.readouterr().err
    assert main([*arguments, "--mode", "interpreter"]) == 0
    assert (tmp_path / "made" / "src" / "edgekit" / "ek_gpu_opencl.c").exists()
