"""Board files of machines with Linux."""

from __future__ import annotations

from pathlib import Path

import pytest

import targets
from targets import linux

FOLDER = Path(targets.__file__).parent / "boards"
PI = (FOLDER / "raspberry-pi-4.toml").read_text()


def load(tmp_path: Path, text: str) -> targets.Board:
    path = tmp_path / "raspberry-pi-4.toml"
    path.write_text(text)
    return targets.load_board(path, targets.targets())


def test_a_board_with_linux_has_a_file_and_ram(tmp_path: Path) -> None:
    board = load(tmp_path, PI)
    assert board.linux and not board.runner and not board.emulated
    assert (board.flash.start, board.ram.size) == (0, 1 << 30)
    assert board.clock_hz == 1_500_000_000
    assert load(tmp_path, PI.replace("clock_hz", "# clock_hz", 1)).clock_hz == 0


def test_emulated_cpus_have_a_runner() -> None:
    runners = {b.name: b.runner for b in targets.boards().values() if b.runner}
    assert runners == {
        "qemu-aarch64-user": "qemu-aarch64", "qemu-armhf-user": "qemu-arm",
        "qemu-cortex-a53": "qemu-aarch64", "qemu-cortex-a76": "qemu-aarch64",
        "qemu-cortex-a510": "qemu-aarch64", "qemu-armv7": "qemu-arm",
        **dict.fromkeys(("virtual-cortex-a53", "virtual-cortex-a76", "virtual-armv7"), "unicorn"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[linux]", "[linus]", "key 'linux' is missing"),
        ("ram_mib = 1024", "ram_mib = 1", "'ram_mib' is 1, must be 16 to"),
        ("ram_mib = 1024", "ram_mib = 1024\nrom = 1", r"\[linux\]: unknown key 'rom'"),
        ("[linux]", '[uart]\nkind = "cmsdk"\n[linux]', "unknown key 'uart'"),
        ("clock_hz = 1_500_000_000", "clock_hz = 0", "'clock_hz' is 0, must be 1 to"),
        ('"cortex-a53"', '"linux-sparc"', "must be one of: .*linux-this-machine"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in PI
    with pytest.raises(targets.TargetFileError, match=says):
        load(tmp_path, PI.replace(old, new, 1))


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PI.replace('"cortex-a53"', '"linux-this-machine"')
    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr(linux.platform, "machine", lambda m=machine: m)
        assert load(tmp_path, text).target.name == f"linux-{machine}"


def test_64_bit_arms_run_32_bit_programs() -> None:
    assert linux.runs_on("arm", "Linux", "aarch64")
    assert not linux.runs_on("aarch64", "Linux", "armv7l")
    assert not linux.runs_on("x86_64", "Darwin", "x86_64")
