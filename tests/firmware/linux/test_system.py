"""Files, clock, memory and environment by system calls alone, on each architecture."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pace import thinned
from tools import need

from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import find_compiler
from edgekit.toolchain.link_linux import link_linux
from targets import linux, target

pytestmark = pytest.mark.apt
HERE = Path(__file__).parent
ROOT = firmware_folder()
RUNNERS = {"linux-x86_64": "qemu-x86_64", "linux-aarch64": "qemu-aarch64",
           "armv7-neon": "qemu-arm"}  # fmt: skip
CONTENT = bytes(range(256)) * 4
Ask = Callable[..., list[str]]


@pytest.fixture(params=thinned(RUNNERS, lambda name: name == "linux-x86_64"))
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    """Answers to commands, one line each (run_system.c)."""
    on = target(request.param)
    runner = [] if linux.runs_here(on.architecture) else [RUNNERS[on.name]]
    need(*runner)
    compiler = find_compiler("zig", on)
    sources = [HERE / "run_system.c", ROOT / "linux" / "ek_system.c"]
    elf = link_linux(compiler, compiler.objects(sources, include=[ROOT / "linux"]))

    def ask_(
        *commands: str, environment: dict[str, str] | None = None, most: int = 1 << 20
    ) -> list[str]:
        def limit() -> None:  # an error of write, not a signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        done = subprocess.run(
            [*runner, elf],
            input="".join(f"{c}\n" for c in commands).encode(),
            env={**os.environ, **(environment or {})},
            capture_output=True,
            timeout=60,
            preexec_fn=limit,
            restore_signals=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().splitlines()

    return ask_


def test_everything(ask: Ask, tmp_path: Path) -> None:
    """What is read is what is there; what has no end, no reader or no size is nothing."""
    (tmp_path / "file").write_bytes(CONTENT)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(bytes(4097))
    os.mkfifo(tmp_path / "fifo")
    names = ["file", "empty", "large", "fifo", "nothing", "."]
    paths = [*(str(tmp_path / name) for name in names), "/dev/zero", "/dev/null", "/proc/version"]
    found = ask(*(f"r{path}" for path in paths))
    assert found == [f"{len(CONTENT)} {sum(CONTENT)}", *["0 0"] * 8]
    assert ask(*(f"x{path}" for path in paths)) == list("111101111")

    new, folder = tmp_path / "new" / "a", tmp_path / "new"
    assert ask(f"w{new}", f"d{folder}", f"d{folder}", f"w{new}", f"r{new}") == [
        "0", "1", "1", "1", f"1000 {sum(CONTENT[:1000])}"
    ]  # fmt: skip
    assert new.read_bytes() == CONTENT[:1000] and new.stat().st_mode & 0o777 == 0o644
    long = str(folder / ("n" * 1100))
    busy = folder / "busy"
    (busy / "inside").mkdir(parents=True)
    assert ask(f"w{long[:500]}", f"w{busy}", f"d{new}", f"d{new}/x") == ["0"] * 4
    assert sorted(p.name for p in folder.iterdir()) == ["a", "busy"]  # no part of a file stays
    assert ask("t", "m") == ["1", "1"]

    environment = {"EK_SHORT": "a=b c", "EK_SHORT_TOO": "x", "EK_EMPTY": "", "EK_LONG": "y" * 64,
                   "EK_FITS": "z" * 63, "EK_BEFORE": "q" * 700}  # fmt: skip
    asked = ["EK_SHORT", "EK_SHORT_TOO", "EK_SHOR", "EK_EMPTY", "EK_LONG", "EK_FITS", "EK_BEFORE"]
    assert ask(*(f"e{name}" for name in asked), environment=environment) == [
        "5 a=b c", "1 x", "0 ", "0 ", "64 ", f"63 {'z' * 63}", "700 "
    ]  # fmt: skip


def test_a_disk_without_room(ask: Ask, tmp_path: Path) -> None:
    """What was there stays, and no part of what was not."""
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")
    assert ask(f"w{kept}", most=500) == ["0"] and kept.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert ask(f"w{kept}", most=1000) == ["1"] and kept.read_bytes() == CONTENT[:1000]
