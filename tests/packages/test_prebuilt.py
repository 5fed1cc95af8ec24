"""Packages of compiled libraries: what their formats ask for, and the example where it can run."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from libraries import check_for_android, net
from tools import need

from codegen.lower import build_program
from codegen.sources import c_name
from edgekit import __version__, reference
from edgekit.assemble import bundle_of
from edgekit.build import model_files
from edgekit.bundle import Golden
from edgekit.cli import main
from edgekit.devices.find import find_target
from edgekit.devices.firmware.build import firmware_folder
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.library.packing import libraries_of
from edgekit.output import write_output
from edgekit.packages import MARKER, find_form, write_package
from edgekit.packages.contents import About
from edgekit.packages.labels import PREBUILT
from edgekit.packages.libraries import Libraries
from edgekit.packages.registry import PREBUILT as FORMS
from targets import linux

HERE = pytest.mark.skipif(not linux.runs_here("x86_64"), reason="needs Linux on an x86-64 PC")
ANDROID = "{http://schemas.android.com/apk/res/android}"
#: Architecture to its ABI, its GCC, and glibc's loader below the folder of Debian's packages.
ARM = {
    "aarch64": ("arm64-v8a", "aarch64-linux-gnu-gcc", "ld-linux-aarch64.so.1", "cortex-a76"),
    "arm": ("armeabi-v7a", "arm-linux-gnueabihf-gcc", "ld-linux-armhf.so.3", "cortex-a9"),
}


def sample(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """An input, and the reference's output."""
    (name,), (out,) = graph.inputs, graph.outputs
    x = np.random.default_rng(2).integers(-128, 128, graph.values[name].shape).astype(np.int8)
    return x, reference.run(graph, {name: x})[out]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `edgekit compile` writes of a small model, but for figures that need a run."""
    graph, base = net(), tmp_path_factory.mktemp("compiled")
    x, want = sample(graph)
    golden = (Golden((x.tobytes(),), (want.tobytes(),)),)
    found = {}
    for target in ("cortex-a53", "cortex-a76", "armv7-neon", "linux-x86_64"):
        program = build_program(graph, find_target(target), threads=2)
        bundle = bundle_of(program, golden)
        about = {
            "edgekit": __version__,
            "name": c_name(graph.name),
            "target": target,
            "model": "net.onnx",
            "hash": bundle.hash.hex(),
            "options": {"sparse_weights": "auto", "optimize": "balanced", "threads": 2},
        }
        found[target] = write_output(base / target, model_files(graph, program, bundle), about).path
    return found


@pytest.fixture(scope="module")
def libraries(folders: dict[str, Path]) -> Libraries:
    return libraries_of(list(folders.values()), About())


def alone(libraries: Libraries, architecture: str) -> Libraries:
    """The same with one architecture only."""
    kept = tuple(b for b in libraries.built if b.architecture == architecture)
    return Libraries(libraries.contents, kept)


def test_every_form_has_a_label_and_papers(libraries: Libraries) -> None:
    assert sorted(PREBUILT) == list(FORMS)
    for form in FORMS:
        files = find_form(form).files(alone(libraries, "aarch64"))
        folded = [name.lower() for name in files]
        assert len(set(folded)) == len(folded)
        texts = [d.decode() for n, d in files.items() if not n.endswith((".so", ".a", ".jar"))]
        assert any(PREBUILT[form] in text for text in texts)
        assert any("net.onnx" in text for text in texts)
        assert not any(re.search(r"@[A-Z_]+@", text) for text in texts)


def test_an_android_archive_by_the_documented_formats(libraries: Libraries, tmp_path: Path) -> None:
    path = write_package(tmp_path / "net.aar", find_form("android"), libraries).path
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = ElementTree.fromstring(files["AndroidManifest.xml"])
    assert manifest.tag == "manifest"
    assert re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)+", manifest.attrib["package"])
    (sdk,) = manifest.iter("uses-sdk")
    assert sdk.attrib[f"{ANDROID}minSdkVersion"] == "21"
    assert files["R.txt"] == b""
    with zipfile.ZipFile(io.BytesIO(files["classes.jar"])) as jar:
        assert jar.namelist() == ["META-INF/MANIFEST.MF"]
    prefab = json.loads(files["prefab/prefab.json"])
    assert prefab == {
        "schema_version": 2, "name": "net", "version": libraries.version, "dependencies": []
    }  # fmt: skip
    module = json.loads(files["prefab/modules/net/module.json"])
    assert module == {"export_libraries": [], "android": {"library_name": "libnet"}}
    abis = {n.split("/")[1] for n in files if n.startswith("jni/")}
    assert abis == {"arm64-v8a", "armeabi-v7a", "x86_64"}
    for abi in abis:
        folder = f"prefab/modules/net/libs/android.{abi}"
        about = json.loads(files[f"{folder}/abi.json"])
        assert set(about) == {"abi", "api", "ndk", "stl", "static"}
        assert (about["abi"], about["api"], about["static"]) == (abi, 21, False)
        assert files[f"{folder}/libnet.so"] == files[f"jni/{abi}/libnet.so"]
        assert b"net_open(" in files[f"{folder}/include/net.h"]


@pytest.mark.parametrize("architecture", ["aarch64", "arm", "x86_64"])
def test_what_the_linker_of_android_asks_for(libraries: Libraries, architecture: str) -> None:
    (built,) = alone(libraries, architecture).built
    check_for_android(built.files["libnet.so"], "net")


_PROGRAM = """\
#include "ek_linux.h"
#include "net.h"
#include "net_golden.h"

static net_t model;

void _start(void);
void _start(void)
{
    if (net_open(&model, sizeof model, NULL) != EK_OK) ek_exit(2);
    uint8_t *in = net_input(&model, 0, NULL);
    for (uint32_t i = 0; i < sizeof net_golden_input0; i++) in[i] = net_golden_input0[i];
    if (net_run(&model) != EK_OK) ek_exit(3);
    const uint8_t *out = net_output(&model, 0, NULL);
    for (uint32_t i = 0; i < sizeof net_golden_output0; i++) {
        if (out[i] != net_golden_output0[i]) ek_exit(4);
    }
    ek_exit(0);
}
"""


@pytest.mark.apt
@pytest.mark.parametrize("architecture", list(ARM))
def test_the_library_of_the_archive_runs_in_qemu(
    libraries: Libraries, architecture: str, tmp_path: Path
) -> None:
    """Glibc's loader loads it for a program that needs nothing else."""
    abi, gcc, loader, cpu = ARM[architecture]
    emulator = f"qemu-{architecture}"
    need(gcc, emulator)
    root = Path("/usr") / gcc.removesuffix("-gcc")
    package = write_package(tmp_path / "aar", find_form("android"), libraries).path
    golden = find_form("linux").files(libraries)["example/net_golden.h"]
    (tmp_path / "net_golden.h").write_bytes(golden)
    (tmp_path / "main.c").write_text(_PROGRAM)
    include = [tmp_path, package / f"prefab/modules/net/libs/android.{abi}/include",
               firmware_folder() / "linux"]  # fmt: skip
    jni = package / "jni" / abi
    subprocess.run(
        [gcc, "-O0", "-ffreestanding", "-nostdlib", "-fPIE", "-pie", "-fno-stack-protector",
         f"-Wl,-e,_start,-dynamic-linker,/lib/{loader}", *(f"-I{path}" for path in include),
         str(tmp_path / "main.c"), f"-L{jni}", "-lnet", "-o", str(tmp_path / "main")],
        check=True,
    )  # fmt: skip
    command = [emulator, "-cpu", cpu, "-L", str(root), "-E", f"LD_LIBRARY_PATH={jni}"]
    done = subprocess.run([*command, str(tmp_path / "main")], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@HERE
def test_cmake_builds_the_example_of_the_linux_form(libraries: Libraries, tmp_path: Path) -> None:
    need("cmake", "gcc")
    package = write_package(tmp_path / "net", find_form("linux"), libraries).path
    build = tmp_path / "build"
    for command in (
        ["cmake", "-S", package / "example", "-B", build],
        ["cmake", "--build", build],
        ["ctest", "--test-dir", build, "--output-on-failure"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    for version, found in (("0.1", True), ("0.2", False), ("0.1.0", True), ("1.0", False)):
        code = f'find_package(net {version} CONFIG QUIET)\nmessage(STATUS "found=${{net_FOUND}}")'
        (tmp_path / "asks").mkdir(exist_ok=True)
        text = f"cmake_minimum_required(VERSION 3.16)\nproject(asks C)\n{code}\n"
        (tmp_path / "asks" / "CMakeLists.txt").write_text(text)
        done = subprocess.run(
            ["cmake", "-S", tmp_path / "asks", "-B", tmp_path / f"asks-{version}",
             f"-DCMAKE_PREFIX_PATH={package}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert f"found={int(found)}" in done.stdout, done.stdout


def wheel(libraries: Libraries, architecture: str, folder: Path) -> Path:
    return write_package(folder, find_form("wheel"), alone(libraries, architecture)).path


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps",
               "--no-index", "--quiet", *map(str, arguments)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@HERE
def test_a_wheel_is_installed_and_runs(libraries: Libraries, tmp_path: Path) -> None:
    pip("--target", tmp_path / "site", wheel(libraries, "x86_64", tmp_path / "dist"))
    x, want = sample(net())
    np.save(tmp_path / "x.npy", x)
    code = (
        "import numpy as np, net\n"
        f"assert net.__file__.startswith({str(tmp_path)!r})\n"
        f"x = np.load({str(tmp_path / 'x.npy')!r})\n"
        "for threads in (1, 2):\n"
        "    print(net.Model(threads=threads).run(x, raw=True).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={"PYTHONPATH": str(tmp_path / "site")})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == 2 * [want.tolist()]


@pytest.mark.parametrize(
    ("architecture", "platform"),
    [("aarch64", "manylinux_2_17_aarch64"), ("aarch64", "musllinux_1_1_aarch64"),
     ("arm", "manylinux2014_armv7l")],
)  # fmt: skip
def test_pip_takes_the_wheel_for_a_raspberry_pi(
    libraries: Libraries, architecture: str, platform: str, tmp_path: Path
) -> None:
    made = wheel(libraries, architecture, tmp_path / "dist")
    pip("--platform", platform, "--python-version", "3.11", "--only-binary", ":all:",
        "--target", tmp_path / "site", made)  # fmt: skip
    (built,) = alone(libraries, architecture).built
    installed = tmp_path / "site" / "net" / "libnet.so"
    assert installed.read_bytes() == built.files["libnet.so"]


def test_a_wheel_by_its_specification(libraries: Libraries, tmp_path: Path) -> None:
    path = wheel(libraries, "aarch64", tmp_path / "dist")
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    info = f"net-{libraries.version}.dist-info"
    about = Parser().parsestr(files[f"{info}/WHEEL"].decode())
    _, _, tag = path.stem.partition("py3-none-")
    assert about["Root-Is-Purelib"] == "false"
    assert about.get_all("Tag") == [f"py3-none-{platform}" for platform in tag.split(".")]
    metadata = Parser().parsestr(files[f"{info}/METADATA"].decode())
    assert (metadata["Name"], metadata["Version"]) == ("net", libraries.version)
    assert metadata["Requires-Dist"] == "numpy"
    record = list(csv.reader(io.StringIO(files[f"{info}/RECORD"].decode())))
    assert sorted(row[0] for row in record) == sorted(files)
    for name, digest, size in record:
        if name != f"{info}/RECORD":
            found = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode()
            assert (digest, int(size)) == ("sha256=" + found.rstrip("="), len(files[name]))
    assert f"{info}/{MARKER}" in files
    # Ours is replaced, with the same bytes.
    before = path.read_bytes()
    wheel(libraries, "aarch64", tmp_path / "dist")
    assert path.read_bytes() == before


def test_refusals(
    folders: dict[str, Path], libraries: Libraries, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(EdgekitError, match="a wheel is for one") as two:
        write_package(tmp_path / "dist", find_form("wheel"), libraries)
    assert two.value.code == "E727"
    both = [str(folders[t]) for t in ("cortex-a53", "cortex-a76")]
    for arguments in ([*both, "--as", "cmake"], [*both, "--as", "linux", "--mode", "interpreter"]):
        assert main(["export", *arguments, "-o", str(tmp_path / "refused")]) != 0
        assert "E728" in capsys.readouterr().err
    other = net(seed=1)
    program = build_program(other, find_target("armv7-neon"))
    bundle = bundle_of(program, ())
    about = {"edgekit": __version__, "name": "net", "target": "armv7-neon",
             "hash": bundle.hash.hex(), "options": {}}  # fmt: skip
    out = write_output(tmp_path / "other", model_files(other, program, bundle), about).path
    with pytest.raises(EdgekitError, match="other numbers") as differ:
        libraries_of([folders["cortex-a53"], out], About())
    assert differ.value.code == "E371"
