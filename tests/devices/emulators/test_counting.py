"""The plugin that counts in qemu-user, against programs whose instructions are counted by hand."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from arm_programs import PROGRAMS, assembled
from tools import need

from edgekit.devices.emulators import counting
from edgekit.devices.emulators.counting import count_plugin
from edgekit.errors import EdgekitError

pytestmark = [
    pytest.mark.apt,
    pytest.mark.skipif(os.name != "posix" or not Path("/proc/self/stat").exists(),
                       reason="needs Linux"),
]  # fmt: skip


@pytest.mark.parametrize("loops", [1, 1000, 100_000])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_instruction_is_counted_once(name: str, loops: int, tmp_path: Path) -> None:
    counted = PROGRAMS[name]
    command = counted.emulator
    need(command)
    program = assembled(name, counted.text(loops), tmp_path)
    done = subprocess.run(
        [command, "-plugin", str(count_plugin(command)), str(program)],
        capture_output=True, timeout=20, check=True,
    )  # fmt: skip
    first, second = (int.from_bytes(done.stdout[i : i + 8], "little") for i in (0, 8))
    assert (first, second - first) == (counted.before, counted.between + 2 * loops)


def test_other_cpus_are_refused() -> None:
    """A program must not run uncounted where it was to be counted."""
    need("qemu-i386")
    done = subprocess.run(
        ["qemu-i386", "-plugin", str(count_plugin("qemu-i386")), "/bin/true"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "no counter of instructions for i386" in done.stderr


def test_what_is_no_qemu_is_told(tmp_path: Path) -> None:
    fake = tmp_path / "qemu-aarch64"
    fake.write_text("#!/bin/sh\necho nothing here\n")
    fake.chmod(0o755)
    with pytest.raises(EdgekitError, match="names no version") as caught:
        count_plugin(str(fake))
    assert caught.value.code == "E603" and "nothing here" in str(caught.value)


def test_the_api_is_that_of_the_installed_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU refuses a plugin that was made for another version of its API."""
    made: list[str] = []
    monkeypatch.setattr(
        counting,
        "host_library",
        lambda sources, **how: made.append(how["defines"]["EK_PLUGIN_API"]),
    )
    for version, api in (((7, 2), "1"), ((8, 2), "1"), ((9, 0), "2"), ((10, 1), "2")):
        monkeypatch.setattr(counting, "_version", lambda qemu, v=version: v)
        count_plugin("qemu-arm")
        assert made.pop() == api
