"""Libraries of models that run on a GPU: the reference's bytes from C and from Python, with PoCL,
without OpenCL, and where a device is lost."""

from __future__ import annotations

import re
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from devices.gpu.bionic import add_opencl
from gpu_device import device
from gpu_model import samples, small_graph
from libraries import (
    HERE,
    SYSROOT,
    cross,
    folder_of,
    gpu_driver,
    gpu_folder_of,
    gpu_program,
    loaded,
    net,
    streaming,
)
from tools import need, need_modules

from edgekit import reference
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import support_files
from edgekit.errors import EdgekitError
from edgekit.joining import join
from edgekit.library import Library, build, link
from edgekit.library.gpu import opencl_bytes, runtime_bytes, vulkan_bytes
from edgekit.library.link import MEMORY_FUNCTIONS
from edgekit.library.sources import sources_of
from edgekit.output import BUNDLE, Output
from edgekit.toolchain import host_library

pytestmark = [pytest.mark.apt, HERE]
INPUTS, OUTPUTS = samples()
ON_DEVICE = "first device OpenCL|"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Output:
    return gpu_folder_of(small_graph(), tmp_path_factory.mktemp("out"), "gpu-x86_64", threads=2)


@pytest.fixture(scope="module")
def here(out: Output, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return build([out.path], tmp_path_factory.mktemp("gpu") / "lib")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def shim() -> Path:
    folder = Path(__file__).parents[1] / "devices" / "gpu"
    return host_library([folder / "bad_opencl.c"], include=[firmware_folder() / "gpu"])


@pytest.fixture(scope="module")
def program(here: Library) -> Path:
    return gpu_program(
        here, ["gcc"], [f"-L{here.path}", f"-Wl,-rpath,{here.path}", "-lsmall", "-ldl"]
    )


def check(command: list[str], library: str = "", folder: str = "", when: str = "-") -> list[str]:
    """Run the driver and compare its bytes; returns the lines that it says."""
    done = subprocess.run(
        [*command, library, folder, when], input=b"".join(INPUTS), capture_output=True, timeout=120
    )
    said = done.stderr.decode()
    assert done.returncode == 0, (done.returncode, said)
    twice = b"".join(y for y in OUTPUTS for _ in range(2))
    assert done.stdout == twice, said
    return said.splitlines()


def test_c_programs_on_pocl(here: Library, program: Path, kept: Path) -> None:
    device()
    static = gpu_program(here, ["gcc"], [str(here.path / "libsmall.a"), "-ldl"])
    for made in (program, static):
        said = check([str(made)], folder=str(kept))
        assert said[:2] == ["first open 0", "second open 0"]
        assert any(line.startswith(ON_DEVICE) and line.endswith("|3 of 3|") for line in said)
        assert any(re.match(r"second layer conv\|conv2d\|1\|\w+", line) for line in said)
        assert "first target gpu-x86_64" in said
        assert "second twice 11" in said and "first again 0" in said  # EK_STATE
        assert [line for line in said if " run " in line] == ["first run 0", "second run 0"] * 3
    assert {p.name.rpartition("-")[0] for p in kept.iterdir()} == {"gpu-program", "gpu-test"}


def test_without_opencl(program: Path) -> None:
    said = check([str(program)], library="libEdgekitHasNoSuchLibrary.so")
    assert said[:2] == ["first open 16", "second open 16"]  # EK_GPU_NONE
    why = "there is no OpenCL library: libEdgekitHasNoSuchLibrary.so"
    assert f"first device ||0 of 3|{why}" in said
    assert "first layer conv|conv2d|0|CPU: no device" in said
    assert "first run 0" in said and "first run 14" not in said
    assert "second twice 16" in said and "first again 16" in said


@pytest.mark.parametrize("bad", ["lost", "hang", "event"])
def test_a_device_that_is_lost(
    program: Path, shim: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    device()
    when = tmp_path / "when"
    monkeypatch.setenv("EK_BAD", bad)
    monkeypatch.setenv("EK_BAD_WHEN", str(when))
    said = check([str(program)], str(shim), str(kept), str(when))
    for which in ("first", "second"):
        runs = [line for line in said if line.startswith(f"{which} run")]
        assert runs == [f"{which} run 0", f"{which} run 14", f"{which} run 0"]  # EK_GPU_LOST once
        assert f"{which} said the device is lost: the CPU computes from now on" in said
    assert said[-1] == "first again 16"  # it dies in the tests
    last = next(line for line in reversed(said) if line.startswith("first device"))
    assert last.startswith(ON_DEVICE)
    assert last.endswith("|0 of 3|the device is lost: the CPU computes from now on")
    assert "first layer conv|conv2d|0|CPU: the device was lost" in said


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("context", "OpenCL makes no context for "),
        ("buffer", "the device refuses the memory that the model needs: the CPU computes"),
        ("start=1", "no layer comes out right on "),
    ],
)
def test_devices_that_are_of_no_use(
    program: Path, shim: Path, monkeypatch: pytest.MonkeyPatch, bad: str, why: str
) -> None:
    device()
    monkeypatch.setenv("EK_BAD", bad)
    said = check([str(program)], str(shim))
    assert "first open 16" in said and "second open 16" in said
    assert any(line.startswith(f"first device ||0 of 3|{why}") for line in said)


def test_python(here: Library, kept: Path) -> None:
    device()
    small = loaded(here)
    x = np.frombuffer(b"".join(INPUTS), np.int8).reshape(-1, 6, 6, 3)
    want = np.frombuffer(b"".join(OUTPUTS), np.int8).reshape(len(x), -1)
    with small.Model(gpu=small.Gpu(folder=str(kept))) as model, small.Model() as cpu:
        assert model.gpu.device_layers == model.gpu.layers == 3 and model.gpu.is_cpu
        assert model.gpu.api == "OpenCL" and model.why == "" and model.said == []
        assert [(y.name, y.on_device) for y in model.layers] == [
            ("conv", True), ("dense", True), ("softmax", True),
        ]  # fmt: skip
        for one in (model, cpu):
            np.testing.assert_array_equal(one.run(x, raw=True), want)
        assert cpu.gpu is None and cpu.why == "nobody has asked for a device"
    with pytest.raises(small.ModelError, match="run: 11, the instance is closed"):
        model.run(x)
    nothing = small.Gpu(library="libEdgekitHasNoSuchLibrary.so", folder="")
    with pytest.warns(RuntimeWarning, match="small: the CPU computes: there is no OpenCL library"):
        model = small.Model(threads=2, gpu=nothing)
    np.testing.assert_array_equal(model.run(x, raw=True), want)
    assert model.gpu is None and not any(layer.on_device for layer in model.layers)
    with pytest.warns(RuntimeWarning, match="there is no API of this name: metal"):
        small.Model(gpu=small.Gpu(api="metal", folder=""))


def test_python_keeps_what_was_built_in_the_users_cache(
    here: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device()
    small = loaded(here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with small.Model(gpu="portable") as model:  # part of PoCL's platform, "Portable Computing ..."
        assert model.gpu is not None and model.said == []
    assert any(p.name.startswith("gpu-test-") for p in (tmp_path / "edgekit").iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with small.Model(gpu=True) as model:
        assert model.gpu is not None
        assert model.said[0].startswith("nothing is kept for the next start: ")


def test_python_threads_have_devices_of_their_own(here: Library, kept: Path) -> None:
    device()
    small = loaded(here)
    x = np.frombuffer(b"".join(INPUTS), np.int8).reshape(-1, 6, 6, 3)
    right: list[bool] = []

    def use() -> None:
        with small.Model(gpu=small.Gpu(folder=str(kept))) as model:
            found = [model.run(x, raw=True).tobytes() for _ in range(20)]
            right.append(found == 20 * [b"".join(OUTPUTS)] and model.gpu is not None)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == 3 * [True]


def test_choices_of_a_tuner_are_taken_from_the_folder(
    here: Library, out: Output, kept: Path
) -> None:
    device()
    small = loaded(here)
    gpu = out.bundle.gpu
    assert gpu is not None
    variant = gpu.variants[gpu.layers[0].first_variant + gpu.layers[0].variant_count - 1]
    launches = gpu.launches[variant.first_launch :][: variant.launch_count]
    sizes = " ".join(",".join(map(str, gpu.sizes[launch.first_size])) for launch in launches)
    name = gpu.string(variant.name, variant.name_bytes)
    with small.Model(gpu=small.Gpu(folder=str(kept))) as model:
        about = model.gpu
        assert not model.layers[0].by.startswith(name)
    bundle = out.bundle.hash.hex()
    text = f"edgekit-tuning 1\ndevice {about.name}\ndriver {about.driver}\nbundle {bundle}\n"
    text += f"layer 0 {len(launches)} {sizes} {name}\n"
    text += f"end {zlib.crc32(text.encode()):08x}\n"
    which = zlib.crc32(f"{about.name}\n{about.driver}".encode())
    path = kept / f"gpu-tuning-{bundle}-{which:08x}"
    path.write_text(text)
    with small.Model(gpu=small.Gpu(folder=str(kept))) as model:
        assert model.layers[0].by.startswith(name) and model.said == []
    path.unlink()


@pytest.mark.slow
def test_vulkan(tmp_path: Path) -> None:
    """Mesa's lavapipe, which is asked where it is named, or where OpenCL has no such device."""
    need("vulkaninfo")
    need_modules("pyclspv")
    out = gpu_folder_of(small_graph(), tmp_path / "out", "gpu-x86_64", spirv=True)
    small = loaded(build([out.path], tmp_path / "lib"))
    x = np.frombuffer(b"".join(INPUTS), np.int8).reshape(-1, 6, 6, 3)
    for wanted in (small.Gpu(api="vulkan", folder=""), small.Gpu(device="Vulkan", folder="")):
        with small.Model(gpu=wanted) as model:
            assert model.gpu.api == "Vulkan" and model.gpu.device_layers == 3
            assert model.run(x, raw=True).tobytes() == b"".join(OUTPUTS)


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_the_header_is_cpp_too(here: Library, tmp_path: Path, standard: str) -> None:
    need("g++")
    source = tmp_path / "main.cpp"
    source.write_text(
        '#include "small.h"\nstatic small_t model;\n'
        "int main() { return small_open(&model, sizeof model, nullptr) != EK_OK || "
        "small_gpu_open(&model, nullptr) == EK_STATE || SMALL_GPU != 1; }\n"
    )
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-std={standard}"]
    command = ["g++", *strict, f"-I{here.path}", "-c", str(source), "-o", str(tmp_path / "main.o")]
    subprocess.run(command, check=True)


def test_python_says_once_that_a_device_is_lost(
    here: Library, shim: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device()
    small = loaded(here)
    monkeypatch.setenv("EK_BAD", "lost")
    monkeypatch.setenv("EK_BAD_WHEN", str(tmp_path / "when"))
    x = np.frombuffer(INPUTS[0], np.int8).reshape(6, 6, 3)
    model = small.Model(gpu=small.Gpu(library=str(shim), folder=str(kept)))
    assert model.run(x, raw=True).tobytes() == OUTPUTS[0] and model.gpu is not None
    (tmp_path / "when").touch()
    with pytest.warns(RuntimeWarning, match="small: the GPU is lost"):
        assert model.run(x, raw=True).tobytes() == OUTPUTS[0]
    assert model.run(x, raw=True).tobytes() == OUTPUTS[0] and model.gpu is None
    assert model.why == model.said[-1] == "the device is lost: the CPU computes from now on"


def test_only_the_api_is_seen(here: Library) -> None:
    check_symbols(here)


def check_symbols(library: Library) -> None:
    """The libraries export what the header declares, and ask for no other library."""
    from elftools.elf.elffile import ELFFile

    name = library.name
    header = (library.path / f"{name}.h").read_text()
    declared = set(re.findall(rf"^\w[\w \*]*\b({name}_\w+)\(", header, re.MULTILINE))
    api = declared - {f"{name}_gpu_open"}  # it is in line
    assert f"{name}_gpu_open_with" in api
    with (library.path / f"lib{name}.so").open("rb") as file:
        elf = ELFFile(file)
        assert {s.name for s in elf.get_section_by_name(".dynsym").iter_symbols() if s.name} == api
        tags = {t.entry.d_tag for t in elf.get_section_by_name(".dynamic").iter_tags()}
        # Only what the loader makes read-only again is written to.
        names = {s.name for s in elf.iter_sections() if s["sh_flags"] & 1 and s["sh_size"]}
        assert names <= {".data.rel.ro", ".dynamic", ".got", ".got.plt", ".relro_padding"}
    assert "DT_NEEDED" not in tags
    archive = (library.path / f"lib{name}.a").read_bytes()
    made = library.path.parent / f"{name}.o"
    made.write_bytes(archive[archive.index(b"\x7fELF") :])
    with made.open("rb") as file:
        symbols = list(ELFFile(file).get_section_by_name(".symtab").iter_symbols())
    outside = [s for s in symbols if s["st_info"]["bind"] != "STB_LOCAL"]
    assert {s.name for s in outside if s["st_shndx"] != "SHN_UNDEF"} == api
    assert {s.name for s in outside if s["st_shndx"] == "SHN_UNDEF"} <= MEMORY_FUNCTIONS


_SIZES = """\
#include "ek_bundle.h"
#include "ek_gpu_opencl.h"
#include "ek_gpu_vulkan.h"

#include <string.h>

void sizes(const uint8_t *bundle, size_t nbytes, uint8_t *arena, uint64_t found[3]);
void sizes(const uint8_t *bundle, size_t nbytes, uint8_t *arena, uint64_t found[3])
{
    ek_model_t model;
    memset(&model, 0, sizeof model);
    found[0] = ek_verify(&model, bundle, nbytes);
    model.arena = arena;
    if (found[0] == 0u) {
        found[0] = ek_gpu_bytes(&model);
        found[1] = ek_gpu_opencl_bytes(&model, 0u);
        found[2] = ek_gpu_vulkan_bytes(&model, 0u);
    }
}
"""


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    import ctypes

    root = firmware_folder()
    source = tmp_path_factory.mktemp("sizes") / "sizes.c"
    source.write_text(_SIZES)
    files = [source, *sorted((root / "gpu").glob("*.c")), root / "linux" / "ek_system.c"]
    files += [root / "src" / name for name in ("ek_verify.c", "ek_runtime.c")]
    include = [root / name for name in ("gpu", "include", "src", "linux")]
    yield ctypes.CDLL(str(host_library(files, include=include)))


def check_sizes(sizes: object, out: Output) -> None:
    """What the host says of an instance's memory is what the runtime asks for."""
    import ctypes

    data = (out.path / BUNDLE).read_bytes()
    gpu = out.bundle.gpu
    assert gpu is not None
    memory = ctypes.create_string_buffer(len(data) + 16)
    start = -(-ctypes.addressof(memory) // 16) * 16
    ctypes.memmove(start, data, len(data))
    found = (ctypes.c_uint64 * 3)()
    arena = ctypes.create_string_buffer(16)
    sizes.sizes(ctypes.c_void_p(start), ctypes.c_size_t(len(data)), arena, found)  # type: ignore[attr-defined]
    assert list(found) == [runtime_bytes(gpu), opencl_bytes(gpu), vulkan_bytes(gpu)]


def test_an_instances_memory(out: Output, sizes: object) -> None:
    check_sizes(sizes, out)


def test_a_cpus_program_beside_the_gpus(out: Output, tmp_path: Path, kept: Path) -> None:
    """Without a device the instance runs the CPU's program, with one the GPU's."""
    device()
    cpu = folder_of(small_graph(), tmp_path / "cpu", "linux-x86_64", threads=2)
    library = build([out.path, cpu.path], tmp_path / "lib")
    assert [p.target for p in library.programs] == ["linux-x86_64", "gpu-x86_64"]
    alone = sum(p.constants for p in library.programs)
    assert library.constants < library.bundle + alone - 1000  # equal weights once
    small = loaded(library)
    x = np.frombuffer(b"".join(INPUTS), np.int8).reshape(-1, 6, 6, 3)
    with small.Model() as one, small.Model(gpu=small.Gpu(folder=str(kept))) as two:
        assert (one.target, two.target) == ("linux-x86_64", "gpu-x86_64")
        for model in (one, two):
            assert model.run(x, raw=True).tobytes() == b"".join(OUTPUTS)


def test_a_model_with_states_is_the_cpus(tmp_path: Path) -> None:
    graph = streaming()
    library = build([gpu_folder_of(graph, tmp_path / "out", "gpu-x86_64").path], tmp_path / "lib")
    hop = loaded(library)
    with pytest.warns(RuntimeWarning, match="a model with states is the CPU's as a whole"):
        model = hop.Model(gpu=hop.Gpu(folder=""))
    (name,), (out,) = graph.inputs, graph.outputs
    shape = (5, *graph.values[name].sample_shape)
    x = np.random.default_rng(3).integers(-128, 128, shape).astype(np.int8)
    for _ in range(2):
        np.testing.assert_array_equal(model.run(x, raw=True), reference.run(graph, {name: x})[out])
        model.reset()


def test_refusals(out: Output, tmp_path: Path) -> None:
    other = folder_of(net(), tmp_path / "net", "gpu-x86_64")
    with pytest.raises(
        EdgekitError, match="models for gpu-x86_64 have a GPU's memory each"
    ) as caught:
        join([out.path, other.path], tmp_path / "joint")
    assert caught.value.code == "E346"
    cpu = loaded(build([folder_of(net(), tmp_path / "cpu", "linux-x86_64").path]))
    with pytest.raises(ValueError, match="net: the library is for CPUs"):
        cpu.Model(gpu=True)
    assert cpu.Model().gpu is None and cpu.Model().layers == ()
    assert cpu.Model().why == "the library has nothing for a GPU"


@pytest.mark.slow
def test_on_arm_without_opencl(tmp_path: Path) -> None:
    """In QEMU, which has no GPU: the best program of the CPU computes."""
    gcc = cross("aarch64-linux-gnu", "arm64")
    out = [gpu_folder_of(small_graph(), tmp_path / "gpu", "gpu-aarch64").path]
    out += [folder_of(small_graph(), tmp_path / t, t).path for t in ("cortex-a53", "cortex-a76")]
    library = build(out, tmp_path / "lib")
    assert [p.target for p in library.programs] == ["cortex-a76", "cortex-a53", "gpu-aarch64"]
    check_symbols(library)
    made = gpu_program(library, [gcc], [f"-L{library.path}", "-lsmall", "-ldl"])
    for cpu, best in (("cortex-a53", "cortex-a53"), ("cortex-a76", "cortex-a76")):
        emulated = ["qemu-aarch64", "-cpu", cpu, "-L", SYSROOT]
        said = check([*emulated, "-E", f"LD_LIBRARY_PATH={library.path}", str(made)])
        assert "first open 16" in said and f"first target {best}" in said
        assert any("there is no OpenCL library" in line and "no SPIR-V" in line for line in said)


@pytest.mark.slow
def test_on_arm_with_opencl(tmp_path: Path) -> None:
    """In QEMU, with a library that has the model's functions compiled for the emulated CPU."""
    gcc = cross("aarch64-linux-gnu", "arm64")
    out = gpu_folder_of(small_graph(), tmp_path / "gpu", "gpu-aarch64")
    opencl = add_opencl(tmp_path / "phone", out)
    library = build([out.path], tmp_path / "lib")
    made = gpu_program(library, [gcc], [f"-L{library.path}", "-lsmall", "-ldl"])
    command = ["qemu-aarch64", "-L", SYSROOT, "-E", f"LD_LIBRARY_PATH={library.path}", str(made)]
    kept = tmp_path / "kept"
    kept.mkdir()
    for _ in range(2):
        said = check(command, str(opencl), str(kept))
        assert {"first open 0", "second open 0", "second run 0"} <= set(said)
        (line,) = {line for line in said if line.startswith("first device")}
        assert re.fullmatch(r"first device OpenCL\|.+\|[23] of 3\|", line)
    assert any(p.name.startswith("gpu-test-") for p in kept.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["", "lost", "hang"])
def test_under_sanitizers(
    out: Output, shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    """The driver and all of the library's sources; leaks are the drivers'."""
    device()
    need("gcc")
    sources = sources_of([out], lambda stage, share: None)
    (tmp_path / "main.c").write_text(gpu_driver("small"))
    names = [tmp_path / name for name in sources.write(tmp_path)]
    pool = firmware_folder() / "library" / "ek_pool.c"
    src = [firmware_folder() / "src" / n for n in support_files() if n.endswith(".c")]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-O1", f"-Wa,-I{tmp_path}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{tmp_path}"]
    flags += [f"-I{folder}" for folder in link.included(gpu=True)]
    main, made = tmp_path / "main.c", tmp_path / "main"
    files = [main, pool, *names, *link.LIBRARY, *link.gpu_sources(), *src]
    command = ["gcc", *flags, *map(str, files), "-pthread", "-ldl", "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    monkeypatch.setenv("EK_BAD", bad)
    monkeypatch.setenv("EK_BAD_WHEN", str(tmp_path / "when"))
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")
    kept = tmp_path / "kept"
    kept.mkdir()
    said = check([str(made)], str(shim), str(kept), str(tmp_path / "when"))
    assert ("first run 14" in said) == (bad != "")
