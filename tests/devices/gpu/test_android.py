"""The GPU program for Android: what bionic's loader asks of it, and runs with glibc behind bionic's
names, on PoCL here, and through adb in qemu-aarch64."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from devices.gpu.bionic import add_opencl, phone, runner_here
from devices.peers.adbd import COMMANDS, AdbServer, start_adb
from elftools.elf.elffile import ELFFile
from gpu_model import samples, small_graph
from pace import thinned
from tools import need

from edgekit import data, pipeline
from edgekit.build import build
from edgekit.cli import main
from edgekit.devices.firmware.model import model_firmware
from edgekit.devices.flash import flash
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, Output, open_output, write_output
from edgekit.validate import validate
from samples import digits
from targets import Board, board, linux, target

pytestmark = pytest.mark.apt
HERE = pytest.mark.skipif(not linux.runs_here("x86_64"), reason="needs Linux on an x86-64 PC")
ON = board("android-gpu-arm64")
INPUTS, OUTPUTS = samples()
_PHONE = """\
name = "my-phone"
description = "The tests' phone"
target = "gpu-aarch64"
libc = "bionic"
routes = ["adb"]
counters = ["clock"]
tested = "By these tests."

[linux]
ram_mib = 64

[settings.adb]
folder = "{folder}"
environment = "EDGEKIT_GPU=gpu EDGEKIT_GPU_FOLDER={folder}/gpu"
"""


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """The small model for GPUs of phones."""
    made = build(
        small_graph(), None, target=ON.target, board=board("orange-pi-5-gpu"), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("arm") / "out"
    return write_output(folder, made.files, made.description("small", "zig"))


def program(model: Output, on: Board, compiler: str = "zig") -> Path:
    bundle = model.path / BUNDLE
    return model_firmware(model.sources, model.name, on, bundle=bundle, compiler=compiler).elf


@pytest.mark.parametrize("compiler", thinned(("zig", "gcc"), lambda name: name == "zig"))
def test_what_the_loader_wants(arm: Output, compiler: str) -> None:
    """Android's rules for executables: position-independent, whole pages of 16 KiB, no code that is
    relocated, libraries by their names there; and nothing is called but three functions."""
    if compiler == "gcc":
        need(str(ON.target.gcc_command))
    with program(arm, ON, compiler).open("rb") as file:
        elf = ELFFile(file)
        assert (elf["e_type"], elf["e_machine"]) == ("ET_DYN", "EM_AARCH64")
        segments = list(elf.iter_segments())
        kinds = [s["p_type"] for s in segments]
        assert "PT_TLS" not in kinds and kinds.count("PT_INTERP") == 1
        (loader,) = (s for s in segments if s["p_type"] == "PT_INTERP")
        assert loader.get_interp_name() == "/system/bin/linker64"
        (stack,) = (s for s in segments if s["p_type"] == "PT_GNU_STACK")
        assert stack["p_flags"] & 1 == 0  # not executable

        pages: dict[int, int] = {}  # of 16 KiB: what may be done there
        for s in (s for s in segments if s["p_type"] == "PT_LOAD"):
            assert s["p_align"] % 16384 == 0
            assert (s["p_vaddr"] - s["p_offset"]) % 16384 == 0
            assert s["p_flags"] & 3 != 3  # never written and executed
            for page in range(s["p_vaddr"] >> 14, (s["p_vaddr"] + s["p_memsz"] - 1 >> 14) + 1):
                assert pages.setdefault(page, s["p_flags"]) == s["p_flags"]

        (dynamic,) = (s for s in segments if s["p_type"] == "PT_DYNAMIC")
        tags = [(t.entry.d_tag, t) for t in dynamic.iter_tags()]
        assert [t.needed for name, t in tags if name == "DT_NEEDED"] == ["libdl.so", "libc.so"]
        names = {name for name, _ in tags}
        assert "DT_GNU_HASH" in names
        assert not names & {"DT_TEXTREL", "DT_RPATH", "DT_RUNPATH", "DT_INIT", "DT_INIT_ARRAY",
                            "DT_FINI_ARRAY", "DT_PREINIT_ARRAY", "DT_RELR"}  # fmt: skip
        flags = {name: t.entry.d_val for name, t in tags if name in ("DT_FLAGS", "DT_FLAGS_1")}
        assert flags.get("DT_FLAGS", 0) & 4 == 0 and flags["DT_FLAGS_1"] & 0x0800_0000

        symbols = [s for s in elf.get_section_by_name(".dynsym").iter_symbols() if s.name]
        asked = {s.name for s in symbols if s["st_info"]["bind"] == "STB_GLOBAL"}
        assert asked == {"dlopen", "dlsym", "__libc_init"}
        assert all(s["st_shndx"] == "SHN_UNDEF" for s in symbols)  # it gives nothing to others
        relocations = {
            r["r_info_type"]
            for section in elf.iter_sections()
            if section["sh_type"] == "SHT_RELA"
            for r in section.iter_relocations()
        }
        assert relocations <= {257, 1025, 1026, 1027}  # ABS64, GLOB_DAT, JUMP_SLOT, RELATIVE


def on_pocl(folder: Path) -> Board:
    """This machine's OpenCL, with a program for Android's C library."""
    words = f"EDGEKIT_GPU='Portable Computing Language' EDGEKIT_GPU_FOLDER={folder}/kept"
    settings = {"local": {"runner": str(runner_here(folder / "bionic")), "environment": words}}
    return replace(board("gpu-pocl"), libc="bionic", settings=settings)


@HERE
def test_on_pocl(small: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenCL driver that needs all of a C library, in a process that this program began."""
    monkeypatch.delenv("EDGEKIT_GPU_FOLDER", raising=False)
    on = on_pocl(tmp_path)
    with connect(on, elf=program(small, on)) as session:
        assert [session.run([x])[0] for x in INPUTS] == OUTPUTS
        gpu = session.gpu()
        assert gpu.device.startswith("pthread") and not gpu.on_cpu and not gpu.said
    assert len(list((tmp_path / "kept").glob("gpu-*"))) == 2  # it made the folder


@HERE
@pytest.mark.slow
def test_a_real_model_on_pocl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKIT_GPU_FOLDER", raising=False)
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))
    calibration = str(digits.CALIBRATION)
    pipeline.compile(
        digits.MODEL, output=tmp_path / "out", target="gpu-x86_64", calibration=calibration
    )
    folder = open_output(tmp_path / "out")
    found = data.load(str(digits.EVALUATION), folder.graph).arrays
    feeds = {k: x[:50] for k, x in data.quantize_inputs(folder.graph, found).items()}
    result = validate(folder, on_pocl(tmp_path), feeds)
    assert (result.equal, result.different_bytes, result.notices) == (50, 0, ())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    need(*COMMANDS)
    with start_adb(tmp_path_factory.mktemp("adb")) as running:
        yield running


@pytest.fixture(scope="module")
def root(arm: Output, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a phone whose vendor brings OpenCL."""
    made = phone(tmp_path_factory.mktemp("phone") / "root")
    add_opencl(made, arm)
    return made


def variables(root: Path) -> dict[str, str]:
    """For qemu-aarch64 behind adb; the preloaded library is this machine's."""
    return {"QEMU_LD_PREFIX": str(root), "QEMU_UNSET_ENV": "LD_PRELOAD"}


def test_through_adb(
    arm: Output, root: Path, server: AdbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """As a user: flash, validate, profile and tune a model on a phone's GPU."""
    folder = tmp_path / "programs"
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", server.command)
    monkeypatch.setenv("EDGEKIT_BOARDS", str(tmp_path))
    (tmp_path / "my-phone.toml").write_text(_PHONE.format(folder=folder))
    out = str(arm.path)
    with server.phone(tmp_path / "phone", arm64=True) as device:
        device.environment |= variables(root)
        way = ["--board", "my-phone", "--port", device.serial]
        assert main(["flash", out, *way]) == 0
        assert "read back and equal; it runs small (gpu" in capsys.readouterr().out
        assert main(["validate", out, *way]) == 0
        assert "0 different" in capsys.readouterr().out
        assert list((folder / "gpu").glob("gpu-test-*"))  # in the board's folder on the phone
        assert main(["profile", out, *way, "--json", "-"]) == 0
        figures = json.loads(capsys.readouterr().out)
        assert figures["unit"] == "ns" and figures["total"] > 0
        assert main(["tune", out, *way, "--repeat", "1"]) == 0, capsys.readouterr()
        assert list((folder / "gpu").glob("gpu-tuning-*"))


def test_a_phone_without_opencl(
    arm: Output, server: AdbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board of its own name; the program can be flashed, and says what is missing."""
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", server.command)
    settings = {"adb": {**ON.settings["adb"], "folder": str(tmp_path / "programs")}}
    on = replace(ON, settings=settings)
    made = phone(tmp_path / "root")
    with server.phone(tmp_path / "phone", arm64=True) as device:
        device.environment |= variables(made)
        flash(on, program(arm, on))
        with connect(on) as session:
            with pytest.raises(EdgekitError, match="there is no OpenCL library") as caught:
                session.run([INPUTS[0]])
            assert caught.value.code == "E670" and "vendor" in str(caught.value)


def test_targets_that_a_libc_has_no_loader_for() -> None:
    """The program of a board is for one C library: others are other programs."""
    assert {on.libc for on in map(board, ("gpu-pocl", "orange-pi-5-gpu"))} == {"glibc"}
    assert board("android-arm64").libc == ""  # without a loader
    assert target("gpu-aarch64").architecture in linux.LIBCS["bionic"].loaders
