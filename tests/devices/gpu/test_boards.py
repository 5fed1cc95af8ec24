"""GPU boards from compile to profile: PoCL and rusticl here, and PoCL over SSH."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from devices.peers.sshd import sshd_path, start_sshd
from gpu_device import device
from gpu_model import samples
from pace import thinned
from tools import need

import edgekit
from edgekit.cli import cli
from edgekit.devices.firmware.model import model_firmware, runtime_files
from edgekit.devices.flash import flash
from edgekit.devices.gpu import Choice, tuning_file
from edgekit.devices.opencl import Device, devices
from edgekit.devices.routes import Access
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.output import BUNDLE, Output
from edgekit.validate import validate
from targets import board

pytestmark = pytest.mark.apt
INPUTS, OUTPUTS = samples()


def test_the_compilers_report(small: Output) -> None:
    """compile has run the golden samples on PoCL, which is no GPU whose speed is told."""
    report = small.description["report"]
    assert report["not_measured"] == (
        "board 'gpu-pocl' counts no instructions (0 bytes differ there)"
    )
    assert report["cycles"] is None
    assert set(report["ram"]) == {"arena", "runtime"}  # nobody knows a process's stack
    assert report["ram_bytes"] == sum(report["ram"].values())


def test_inspect_says_what_is_for_the_gpu(small: Output) -> None:
    gpu = small.bundle.gpu
    assert gpu is not None
    done = CliRunner().invoke(cli, ["inspect", str(small.path)])
    layers, variants = len(gpu.layers), len(gpu.variants)
    assert (
        f"{layers} of {layers} layers, {variants} variants, arena {gpu.arena_bytes}" in done.output
    )
    done = CliRunner().invoke(cli, ["inspect", str(small.path), "--json", "-"])
    facts = json.loads(done.output)["gpu"]
    assert sum(facts["variants"]) == variants and facts["constant_bytes"] == len(gpu.constants)


def test_validate_and_host(small: Output) -> None:
    found = validate(small, board("gpu-pocl"))
    assert found.different_bytes == 0 and found.samples == found.equal
    graph, golden = small.graph, small.bundle.golden[0]
    x = graph.values["x"]
    feeds = {"x": np.frombuffer(golden.inputs[0], np.int8).reshape(1, *x.sample_shape)}
    notices: list[str] = []
    for where in ("host", "gpu-pocl"):
        y = execute(small, feeds, where, notices=notices)["y"]
        assert y.tobytes() == golden.outputs[0]
    assert not any("lost" in notice for notice in notices)


def test_rusticl(small: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which wants sub-buffers at multiples of 512, and has no times."""
    monkeypatch.setenv("RUSTICL_ENABLE", "llvmpipe")
    found = devices()
    if not any("rusticl" in d.platform for d in found if isinstance(d, Device)):
        if os.environ.get("CI") == "true":
            pytest.fail(f"no rusticl, but CI=true: {found}")
        pytest.skip(f"no rusticl: {found}")
    compared = validate(small, board("gpu-rusticl"))
    assert compared.different_bytes == 0 and compared.samples == compared.equal


def test_profile_never_tells_a_gpus_speed_of_a_cpu(small: Output, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    arguments = ["profile", str(small.path), "--board", "gpu-pocl", "--repeat", "2"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "ms; the device is a CPU: not a GPU's speed" in done.output
    assert "ns (a CPU)" in done.output
    done = CliRunner().invoke(cli, [*arguments, "--json", str(path)])
    figures = json.loads(path.read_text())
    assert figures["unit"] == "ns (a CPU)"
    assert any("not a GPU's speed" in warning for warning in figures["warnings"])


def test_ahead_of_time(small: Output) -> None:
    with pytest.raises(EdgekitError, match="has nothing for the GPU of 'gpu-pocl'") as caught:
        execute(small, {"x": np.zeros((1, 6, 6, 3), np.int8)}, "gpu-pocl", mode="aot")
    assert caught.value.code == "E671"


def test_over_ssh(small: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("ssh", "ssh-keygen")
    if sshd_path() is None:
        need("sshd")
    words = f"EDGEKIT_GPU='Portable Computing' EDGEKIT_GPU_FOLDER={tmp_path}"
    settings = {"ssh": {"folder": str(tmp_path / "programs"), "environment": words}}
    on = replace(board("gpu-pocl"), routes=("ssh",), settings=settings)
    firmware = model_firmware(small.sources, small.name, on, bundle=small.path / BUNDLE)
    with start_sshd(tmp_path / "sshd") as server:
        monkeypatch.setenv("EDGEKIT_SSH_COMMAND", server.command)
        way = Access(route="ssh", port=server.destination)
        flash(on, firmware.elf, access=way)
        with connect(on, access=way) as session:
            assert [session.run([x])[0] for x in INPUTS] == OUTPUTS
            assert session.gpu().device.startswith("pthread")
    assert list(tmp_path.glob("gpu-test-*"))


@pytest.mark.parametrize("compiler", thinned(("gcc", "zig"), lambda name: name == "gcc"))
def test_an_aarch64_program_without_a_driver(small: Output, compiler: str) -> None:
    """It starts in qemu-user with Debian's libraries, and says that there is no OpenCL.

    zig would first build glibc's start files for this CPU.
    """
    need("qemu-aarch64", "aarch64-linux-gnu-gcc")
    libraries = Path("/usr/aarch64-linux-gnu")
    if not (libraries / "lib" / "ld-linux-aarch64.so.1").exists():
        need("libc6-dev-arm64-cross")  # no command, but that is what is missing
    words = f"QEMU_LD_PREFIX={libraries}"
    on = replace(
        board("orange-pi-5-gpu"),
        routes=("local",),
        settings={"local": {"runner": "qemu-aarch64", "environment": words}},
    )
    made = model_firmware(
        small.sources, small.name, on, bundle=small.path / BUNDLE, compiler=compiler
    )
    with connect(on, elf=made.elf) as session:
        assert session.hello().layers == len(small.bundle.layers)
        with pytest.raises(EdgekitError, match="there is no OpenCL library") as caught:
            session.opened()
    assert caught.value.code == "E670"


def test_a_tuning_file_from_times(
    small: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variants and local sizes of the first layer are timed; the last right one is chosen."""
    gpu, on = small.bundle.gpu, board("gpu-pocl")
    assert gpu is not None
    monkeypatch.setenv("EDGEKIT_GPU_FOLDER", str(tmp_path))
    layer = gpu.layers[0]
    right = []
    elf = model_firmware(small.sources, small.name, on, bundle=small.path / BUNDLE).elf
    with connect(on, elf=elf) as session:
        for index in range(layer.variant_count):
            variant = gpu.variants[layer.first_variant + index]
            launches = gpu.launches[variant.first_launch :][: variant.launch_count]
            for choice in range(min(launch.size_count for launch in launches)):
                found = session.time_variant(0, index, [choice] * len(launches), 2)
                assert found.right == (not variant.needs and found.ns > 0), found
                if found.right:
                    sizes = tuple(tuple(gpu.sizes[x.first_size + choice]) for x in launches)
                    name = gpu.string(variant.name, variant.name_bytes)
                    right.append(Choice(0, name, sizes))  # type: ignore[arg-type]
        assert len(right) >= 2
        assert not session.time_variant(99, 0, [0]).right
        assert [session.run([x])[0] for x in INPUTS] == OUTPUTS
        text = tuning_file(session.gpu(), small.bundle.hash, right[-1:])
        session.keep_tuning(text)
    (path,) = tmp_path.glob(f"gpu-tuning-{small.bundle.hash.hex()}-*")
    assert path.read_bytes() == text
    with connect(on, elf=elf) as session:
        assert session.gpu().layers[0].partition(";")[0] == right[-1].variant
        assert not session.gpu().said
        assert [session.run([x])[0] for x in INPUTS] == OUTPUTS
    path.write_bytes(text[:-2])
    with connect(on, elf=elf) as session:
        assert session.gpu().said == (f"tuning file '{path}' is ignored: it is cut off",)
        assert [session.run([x])[0] for x in INPUTS] == OUTPUTS


def test_another_runtime_tests_again(
    small: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of the self-test are those of one runtime: edgekit's next may have a fault less."""
    monkeypatch.setenv("EDGEKIT_GPU_FOLDER", str(tmp_path / "kept"))
    newer = Output(shutil.copytree(small.path, tmp_path / "newer"))
    header = newer.sources / "edgekit" / "ek_gpu_runtime.h"
    text = header.read_text()
    hashed = re.search(r"UINT64_C\(0x([0-9a-f]{16})\)", text)
    assert hashed is not None and text.encode() == runtime_files(gpu=True)[header.name]
    header.write_text(text.replace(hashed[1], f"{int(hashed[1], 16) ^ 1:016x}"))
    for folder, kept in ((small, 1), (small, 1), (newer, 2), (newer, 2)):
        assert validate(folder, board("gpu-pocl")).different_bytes == 0
        assert len(list((tmp_path / "kept").glob("gpu-test-*"))) == kept


def test_a_folder_with_an_older_runtime(small: Output, tmp_path: Path) -> None:
    """Its C does not go with the program of this edgekit: not an error in C, but its age."""
    older = Output(shutil.copytree(small.path, tmp_path / "older"))
    header = older.sources / "edgekit" / "ek_gpu.h"
    header.write_text(header.read_text().replace("ek_gpu_layer_text(", "ek_gpu_text_of_layer("))
    with pytest.raises(EdgekitError) as caught:
        validate(older, board("gpu-pocl"))
    assert caught.value.code == "E387" and "compile the model again" in caught.value.help
    assert "1 of its runtime's files differ: ek_gpu.h" in caught.value.details
    assert f"another build of edgekit {edgekit.__version__}" in caught.value.message
    (older.sources / "kernels.c").write_text("int")  # what is broken is not the runtime
    header.write_bytes(runtime_files(gpu=True)[header.name])
    with pytest.raises(EdgekitError) as caught:
        validate(older, board("gpu-pocl"))
    assert caught.value.code == "E502"


def test_devices_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    device()
    found = devices()
    assert isinstance(found, list)
    assert any(d.platform.startswith("Portable") and d.kind == "CPU" for d in found)
    monkeypatch.setenv("EDGEKIT_OPENCL_LIBRARY", "libEdgekitHasNoSuchLibrary.so")
    assert devices() == []
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert devices() == "a driver fails when it is asked"


def test_a_driver_that_hangs_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("python", 30)

    monkeypatch.setattr(subprocess, "run", late)
    assert devices() == "a driver says nothing for 30 s"
