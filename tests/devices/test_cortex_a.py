"""Cortex-A in qemu-user: instructions per layer, and CPUs that lack what the program needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tools import need

from edgekit.devices import features
from edgekit.devices.clients.ssh import Destination, SshHost
from edgekit.devices.firmware.build import Firmware
from edgekit.devices.routes import local
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board, board, boards, target, targets

Build = Callable[..., Firmware]
DATA = bytes(range(256)) * 2 + bytes(88)
pytestmark = pytest.mark.skipif(os.name != "posix" or not Path("/proc/self/stat").exists(),
                                reason="needs Linux")  # fmt: skip


def emulated(name: str) -> Board:
    found = board(name)
    if found.runner.startswith("qemu-"):
        need(found.runner)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "virtual-cortex-a53", "virtual-armv7",
        *(pytest.param(f"qemu-{n}", marks=pytest.mark.apt) for n in ("cortex-a76", "armv7")),
    ],
)  # fmt: skip
def test_instructions_are_exact_and_the_same_in_every_run(name: str, build: Build) -> None:
    """The stand-in's layer 1 runs FAKE_LOOPS turns of a loop: equal steps, equal differences."""
    on, found = emulated(name), []
    for loops in (200, 300, 400):
        with connect(on, elf=build(on, defines={"FAKE_LOOPS": f"{loops}u"}).elf) as session:
            hello = session.hello()
            profile = session.profile([DATA], repeat=3)
        assert (hello.counter, hello.counter_hz, profile.unit) == ("emulator", 0, "instructions")
        assert profile.steady and profile.hz == 0 and not profile.warnings
        assert 0 <= profile.total - sum(profile.layers) < 100
        found.append(profile.layers)
    steps = [[b - a for a, b in zip(x, y, strict=True)] for x, y in pairwise(found)]
    assert steps[0] == steps[1] and sum(steps[0]) % 100 == 0 and sum(steps[0]) > 0


@pytest.mark.apt
@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a76", "armv7"])
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_both_emulators_count_the_same(core: str, compiler: str, build: Build) -> None:
    """One program, two emulators: GCC's is in Thumb on Armv7, zig's is not."""
    on, other = emulated(f"qemu-{core}"), board(f"virtual-{core}")
    need(on.target.gcc_command)
    elf, found = build(on, compiler=compiler).elf, []
    for place in (on, other):
        with connect(place, elf=elf) as session:
            outputs = session.run([DATA])
            profile = session.profile([DATA], repeat=2)
            found.append((outputs, session.hello().overhead, profile.layers, profile.total))
    assert found[0] == found[1]


@pytest.mark.apt
def test_without_the_plugin_there_is_a_clock(build: Build) -> None:
    """The same program, where nothing is behind the counter's descriptor."""
    on = emulated("qemu-cortex-a53")
    elf = build(on).elf
    plain = replace(on, counters=("clock",))
    with connect(plain, elf=elf) as session:
        assert session.hello().counter == "clock"
        assert session.profile([DATA], repeat=1).unit == "host ns (emulated)"


@pytest.mark.parametrize(
    "name", ["virtual-cortex-a76", pytest.param("qemu-cortex-a76", marks=pytest.mark.apt)]
)
def test_a_cpu_without_dot_product_is_told_so(name: str, build: Build) -> None:
    on = emulated(name)
    elf = build(on).elf
    older = {"local": {**on.settings["local"], "cpu": "cortex-a53"}}
    with (
        pytest.raises(EdgekitError, match="cannot run programs of cortex-a76") as caught,
        connect(replace(on, settings=older), elf=elf) as session,
    ):
        session.hello()
    assert caught.value.code == "E656"
    assert "the CPU lacks asimddp" in str(caught.value)
    assert "--target cortex-a53" in str(caught.value)


@pytest.mark.apt
def test_features_of_the_second_word_are_asked_for_too(build: Build) -> None:
    on = emulated("qemu-cortex-a510")
    older = {"local": {**on.settings["local"], "cpu": "cortex-a76"}}
    with (
        pytest.raises(EdgekitError, match="the CPU lacks i8mm"),
        connect(replace(on, settings=older), elf=build(on).elf) as session,
    ):
        session.hello()


def test_a_qemu_without_plugins_is_told(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than to run uncounted where instructions were asked for."""
    fake = tmp_path / "qemu-aarch64"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo qemu-aarch64 version 9.1.0 && exit\n'
        "echo \"$0: unknown option 'plugin'\" >&2; exit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(local.shutil, "which", lambda command: str(fake))
    on = board("qemu-cortex-a53")
    with (
        pytest.raises(EdgekitError, match="loads no plugins") as caught,
        connect(on, elf=build(on).elf) as session,
    ):
        session.hello()
    assert caught.value.code == "E603" and "unknown option 'plugin'" in str(caught.value)


def test_a_cpu_that_unicorn_is_not(build: Build) -> None:
    on = board("virtual-cortex-a53")
    settings = {"local": {**on.settings["local"], "cpu": "cortex-a99"}}
    with pytest.raises(EdgekitError, match="must be one of: cortex-a53, cortex-a76") as caught:
        connect(replace(on, settings=settings), elf=build(on).elf)
    assert caught.value.code == "E639"


def test_windows_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a code at which `compile` goes on without a run."""
    monkeypatch.setattr(local.sys, "platform", "win32")
    with pytest.raises(EdgekitError, match="which Windows cannot wait for") as caught:
        local.runner(board("virtual-cortex-a53"))
    assert caught.value.code == "E650"


def test_over_ssh_it_is_the_same_error() -> None:
    host = SshHost(board("raspberry-pi-5"), Destination("pi"))
    error = host.failed(local.linux.LACKS_FEATURE, "the CPU lacks asimddp\n")
    assert error.code == "E656" and "pi cannot run programs of cortex-a76" in str(error)


def test_boards_run_programs_of_lesser_cpus() -> None:
    for name, found in targets().items():
        for lesser in map(target, found.runs_too):
            assert lesser.architecture == found.architecture
            assert set(lesser.hwcaps) <= set(found.hwcaps), (name, lesser.name)
    pis = {b.name: b.target.name for b in boards().values() if b.name.startswith("raspberry-pi-")}
    assert pis["raspberry-pi-5"] == "cortex-a76" and pis["raspberry-pi-4"] == "cortex-a53"


@pytest.mark.parametrize(
    ("machine", "name", "hwcap", "code", "says"),
    [
        (
            "x86_64",
            "cortex-a76",
            0,
            "E620",
            "are for aarch64 under Linux, this machine is Linux on",
        ),
        ("armv7l", "cortex-a53", 0, "E620", "--on virtual-cortex-a53"),
        ("aarch64", "cortex-a76", 2, "E656", "lacks asimddp of cortex-a76"),
        ("aarch64", "cortex-a76", 2 | 1 << 20, "", ""),
        ("aarch64", "armv7-neon", 2, "", ""),
    ],
)
def test_kernels_that_this_machine_cannot_call(
    machine: str, name: str, hwcap: int, code: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--on host`: an error, no illegal instruction."""
    monkeypatch.setattr(features.platform, "machine", lambda: machine)
    monkeypatch.setattr(features, "_hwcap", lambda: hwcap)
    features.check_host(target(name), ["c99"])  # is for any machine
    if not code:
        features.check_host(target(name), ["c99", "neon"])
        return
    with pytest.raises(EdgekitError) as caught:
        features.check_host(target(name), ["c99", "neon", "a64"])
    assert caught.value.code == code and says in str(caught.value)
