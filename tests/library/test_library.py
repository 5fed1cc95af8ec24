"""Libraries of small models in C programs and in Python: the reference's bytes in any number of
threads, with glibc and with musl, here and in qemu-user."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from libraries import HERE, SYSROOT, cross, driver, folder_of, loaded, net, streaming
from tools import need

from edgekit import data, reference
from edgekit.devices.firmware.build import firmware_folder
from edgekit.graph import Graph
from edgekit.library import Library, build
from edgekit.library.link import MEMORY_FUNCTIONS
from edgekit.toolchain import find_compiler

#: CPUs of QEMU, and whose program is the best for them.
CPUS = (("cortex-a53", "cortex-a53"), ("cortex-a76", "cortex-a76"), ("max", "cortex-a510"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Library:
    base = tmp_path_factory.mktemp("here")
    return build([folder_of(net(), base / "out", "linux-x86_64", threads=4).path], base / "lib")


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Library:
    base = tmp_path_factory.mktemp("arm")
    out = [
        folder_of(net(), base / target, target, threads=3).path
        for target in ("cortex-a53", "cortex-a510", "cortex-a76")
    ]
    return build(out, base / "lib")


def samples(graph: Graph, count: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs, and the reference's outputs."""
    (name,), (out,) = graph.inputs, graph.outputs
    shape = (count, *graph.values[name].sample_shape)
    x = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    return x, reference.run(graph, {name: x})[out]


def program(folder: Path, name: str, command: list[str], link: list[str]) -> Path:
    """The driver built with `command`, a C compiler and its flags."""
    source, made = folder.parent / "main.c", folder.parent / f"main{len(link)}"
    source.write_text(driver(name))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{folder}"]
    files = [str(source), str(folder / "ek_pool.c"), *link, "-pthread", "-o", str(made)]
    done = subprocess.run([*command, *flags, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return made


def check(
    graph: Graph, command: list[str], threads: int, target: str = "-", env: dict | None = None
) -> str:
    """Run the driver and compare its bytes; returns the target that it says."""
    x, want = samples(graph)
    done = subprocess.run(
        [*command, str(threads), target], input=x.tobytes(), capture_output=True, env=env,
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr)
    twice = np.repeat(want, 2, 0)
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8).reshape(twice.shape), twice)
    return done.stderr.decode().strip()


@HERE
def test_c_programs_here(here: Library) -> None:
    need("gcc")
    graph, folder = net(), here.path
    static = program(folder, "net", ["gcc"], [str(folder / "libnet.a")])
    shared = program(folder, "net", ["gcc"], [f"-L{folder}", "-lnet"])
    for threads in (1, 2, 3, 4, 6):
        assert check(graph, [str(static)], threads) == "linux-x86_64"
    assert check(graph, [str(shared)], 2, env={"LD_LIBRARY_PATH": str(folder)}) == "linux-x86_64"
    unknown = subprocess.run([static, "1", "cortex-a53"], input=b"", capture_output=True)
    assert unknown.returncode == 20 + 15  # EK_CPU


@HERE
def test_states_are_the_instances(tmp_path: Path) -> None:
    need("gcc")
    graph = streaming()
    library = build([folder_of(graph, tmp_path / "out", "linux-x86_64", threads=2).path])
    assert library.path == tmp_path / "out" / "library"
    made = program(library.path, "hop", ["gcc"], [str(library.path / "libhop.a")])
    check(graph, [str(made)], 2)
    kept = loaded(library).Model()
    x, want = samples(graph)
    np.testing.assert_array_equal(kept.run(x, raw=True), want)
    kept.reset()
    np.testing.assert_array_equal(kept.run(x, raw=True), want)


@HERE
def test_a_program_with_musl(here: Library) -> None:
    need("musl-gcc")
    made = program(here.path, "net", ["musl-gcc", "-static"], [str(here.path / "libnet.a")])
    for threads in (1, 4):
        assert check(net(), [str(made)], threads) == "linux-x86_64"


def test_programs_on_arm(arm: Library) -> None:
    gcc = cross("aarch64-linux-gnu", "arm64")
    shared = program(arm.path, "net", [gcc], [f"-L{arm.path}", "-lnet"])
    static = program(arm.path, "net", [gcc, "-static"], [str(arm.path / "libnet.a")])
    for cpu, best in CPUS:
        emulated = ["qemu-aarch64", "-cpu", cpu]
        dynamic = ["-L", SYSROOT, "-E", f"LD_LIBRARY_PATH={arm.path}", str(shared)]
        assert check(net(), [*emulated, *dynamic], 3) == best
        assert check(net(), [*emulated, str(static)], 2) == best
    assert check(net(), [*emulated, str(static)], 1, "cortex-a53") == "cortex-a53"


@pytest.mark.slow
def test_a_program_with_musl_on_arm(arm: Library) -> None:
    need("qemu-aarch64")
    # zig would compile its sanitizer's library first.
    flags = ["-fno-sanitize=undefined", "-target", "aarch64-linux-musl", "-static"]
    zig = [*find_compiler("zig").command, *flags]
    made = program(arm.path, "net", zig, [str(arm.path / "libnet.a")])
    for cpu, best in CPUS:
        assert check(net(), ["qemu-aarch64", "-cpu", cpu, str(made)], 3) == best


@pytest.mark.slow
def test_32_bits(tmp_path: Path) -> None:
    gcc = cross("arm-linux-gnueabihf", "armhf")
    library = build([folder_of(net(), tmp_path / "out", "armv7-neon", 4).path], tmp_path / "lib")
    static = program(library.path, "net", [gcc, "-static"], [str(library.path / "libnet.a")])
    shared = program(library.path, "net", [gcc], [f"-L{library.path}", "-lnet"])
    emulated = ["qemu-arm", "-cpu", "cortex-a7"]
    dynamic = ["-L", "/usr/arm-linux-gnueabihf", "-E", f"LD_LIBRARY_PATH={library.path}"]
    for threads in (1, 4):
        assert check(net(), [*emulated, str(static)], threads) == "armv7-neon"
    assert check(net(), [*emulated, *dynamic, str(shared)], 3) == "armv7-neon"


def test_only_the_api_is_seen(arm: Library) -> None:
    from elftools.elf.elffile import ELFFile

    header = (arm.path / "net.h").read_text()
    api = set(re.findall(r"\b(net_[a-z_]+)\(", header)) - {"net_t"}
    with (arm.path / "libnet.so").open("rb") as file:
        elf = ELFFile(file)
        seen = {s.name for s in elf.get_section_by_name(".dynsym").iter_symbols() if s.name}
        tags = {t.entry.d_tag: t for t in elf.get_section_by_name(".dynamic").iter_tags()}
        assert elf.get_section_by_name(".symtab") is None
    assert seen == api
    assert "DT_NEEDED" not in tags and tags["DT_SONAME"].soname == "libnet.so"
    archive = (arm.path / "libnet.a").read_bytes()
    made = arm.path.parent / "net.o"
    made.write_bytes(archive[archive.index(b"\x7fELF") :])
    with made.open("rb") as file:
        symbols = list(ELFFile(file).get_section_by_name(".symtab").iter_symbols())
    outside = [s for s in symbols if s["st_info"]["bind"] != "STB_LOCAL"]
    assert {s.name for s in outside if s["st_shndx"] != "SHN_UNDEF"} == api
    assert {s.name for s in outside if s["st_shndx"] == "SHN_UNDEF"} <= MEMORY_FUNCTIONS


def test_sizes(arm: Library) -> None:
    assert arm.shared == (arm.path / "libnet.so").stat().st_size <= 150_000
    assert arm.constants <= sum(p.constants for p in arm.programs)
    assert 0 < arm.shared_code < arm.shared


@HERE
def test_two_libraries_in_one_program(here: Library, tmp_path: Path) -> None:
    need("gcc")
    other = streaming()
    library = build([folder_of(other, tmp_path / "out", "linux-x86_64").path], tmp_path / "lib")
    source = tmp_path / "two.c"
    source.write_text(
        '#include "net.h"\n#include "hop.h"\n'
        "static net_t a;\nstatic hop_t b;\n"
        "int main(void)\n{\n    return net_open(&a, sizeof a, 0) != EK_OK || "
        "hop_open(&b, sizeof b, 0) != EK_OK || net_run((net_t *)(void *)&b) != EK_STATE || "
        "net_run(&a) != EK_OK || hop_run(&b) != EK_OK;\n}\n"
    )
    made = tmp_path / "two"
    archives = [str(here.path / "libnet.a"), str(library.path / "libhop.a")]
    include = [f"-I{here.path}", f"-I{library.path}"]
    subprocess.run(["gcc", *include, str(source), *archives, "-o", str(made)], check=True)
    assert subprocess.run([made]).returncode == 0


@HERE
@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_the_header_is_cpp_too(here: Library, tmp_path: Path, standard: str) -> None:
    need("g++")
    source, made = tmp_path / "main.cpp", tmp_path / "main"
    source.write_text(
        '#include "net.h"\n#include "ek_pool.h"\nstatic net_t model;\n'
        "int main() { return net_open(&model, sizeof model, nullptr) != EK_OK || "
        "net_input_info(0)->dims != 4 || net_input_info(1) != nullptr || "
        "alignof(net_t) != NET_CONTEXT_ALIGN; }\n"
    )
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-std={standard}"]
    command = ["g++", *strict, f"-I{here.path}", str(source), str(here.path / "libnet.a")]
    subprocess.run([*command, "-o", str(made)], check=True)
    assert subprocess.run([made]).returncode == 0


@HERE
def test_python_takes_reals_and_integers(here: Library) -> None:
    kws, graph = loaded(here), net()
    x, want = samples(graph, 5)
    (name,), (out,) = graph.inputs, graph.outputs
    for threads in (1, 2, 9):
        with kws.Model(threads=threads) as model:
            np.testing.assert_array_equal(model.run(x, raw=True), want)
            np.testing.assert_array_equal(model.run({name: x}, raw=True), want)
            np.testing.assert_array_equal(model.run(x[2], raw=True), want[2])
    model = kws.Model()
    real = np.random.default_rng(2).normal(0, 3, x.shape)
    quantized = data.quantize_inputs(graph, {name: real})
    expected = data.dequantize_output(graph, out, reference.run(graph, quantized)[out])
    found = model.run(real)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    value = graph.values[name]
    assert (model.inputs[0].shape, model.inputs[0].dtype) == (value.shape, value.dtype)
    assert model.inputs[0].scale == float(value.quant.scale[0])
    assert (model.target, model.most_threads, kws.Model.targets()) == (
        "linux-x86_64", 4, ["linux-x86_64"],
    )  # fmt: skip


@HERE
def test_python_says_what_is_wrong(here: Library) -> None:
    kws = loaded(here)
    model = kws.Model(threads=2)
    x = np.zeros((1, *model.inputs[0].sample_shape), np.int8)
    for bad, kind in (
        (x[:, :3], ValueError),
        (x + np.nan, ValueError),
        (x.astype("S1"), TypeError),
    ):
        with pytest.raises(kind, match="input 'x'"):
            model.run(bad)
    with pytest.raises(TypeError, match="2 inputs given, the model has 1"):
        model.run(x, x)
    with pytest.raises(TypeError, match=r"inputs \['y'\] given"):
        model.run({"y": x})
    with pytest.raises(kws.ModelError, match="open: 15, the library has no program for this CPU"):
        kws.Model(target="cortex-a53")
    with pytest.raises(ValueError, match="0 threads"):
        kws.Model(threads=0)
    model.close()
    model.close()
    with pytest.raises(kws.ModelError, match="run: 11, the instance is closed"):
        model.run(x)


@HERE
def test_python_threads_have_instances_of_their_own(here: Library) -> None:
    kws = loaded(here)
    x, want = samples(net(), 24)
    wrong: list[int] = []
    together = kws.Model(threads=2)

    def use(model: object, part: slice) -> None:
        for _ in range(6):
            if not np.array_equal(model.run(x[part], raw=True), want[part]):  # type: ignore[attr-defined]
                wrong.append(part.start)

    models = [kws.Model(threads=2), kws.Model(), together, together]
    threads = [
        threading.Thread(target=use, args=(m, slice(6 * i, 6 * i + 6)))
        for i, m in enumerate(models)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_modules_numbers_are_the_runtimes() -> None:
    from codegen.library.members import GPU_STATE_BYTES
    from codegen.library.module import _GPU_LOST, _GPU_NONE, _MEANINGS
    from edgekit.devices.status import STATUS

    text = (firmware_folder() / "include" / "ek_status.h").read_text()
    numbers = {int(n): name for name, n in re.findall(r"EK_(\w+) = (\d+)", text)}
    assert {n: numbers[n] for n in _MEANINGS} == {
        7: "ALIGNMENT", 9: "ARENA_TOO_SMALL", 11: "STATE", 15: "CPU",
    }  # fmt: skip
    assert STATUS[15][0] == "CPU"
    assert (numbers[_GPU_NONE], numbers[_GPU_LOST]) == ("GPU_NONE", "GPU_LOST")
    text = (firmware_folder() / "library" / "ek_library_gpu.h").read_text()
    assert f"EK_GPU_STATE_BYTES = {GPU_STATE_BYTES} " in text
