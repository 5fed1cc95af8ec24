"""`accelerator --save` makes target and boards of one's own sizes, and all else reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.devices.find import find_board, find_target
from edgekit.errors import EdgekitError
from samples.digits import CALIBRATION, EVALUATION, MODEL
from targets.npu.config import Accelerator

NAME = "my-npu32"
CONFIG = Accelerator(NAME, 4, 2, 1 << 10, 1 << 8, 1 << 7, tables=False, lut_multipliers=True)
SIZES = ("--out-lanes", 4, "--requant-lanes", 2, "--a-words", 1024, "--w-words", 256,
         "--p-channels", 128, "--no-tables", "--lut-multipliers")  # fmt: skip


def run(*words: object) -> int:
    return main([str(w) for w in words])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own targets, as `--save` writes it."""
    found = tmp_path / "hardware"
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("EDGEKIT_TARGETS", str(found))
    assert run("accelerator", "npu64", *SIZES, "--save", found / f"{NAME}.toml") == 0
    return found


def test_from_sizes_to_exact_results(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_target(NAME).accelerator == CONFIG
    out = tmp_path / "out"
    words = ("--calibration", CALIBRATION, "--target", NAME, "-o", out)
    assert run("compile", MODEL, *words) == 0
    assert run("flash", out, "--board", f"virtual-{NAME}") == 0
    data = ("--data", EVALUATION, "--samples", 5)
    assert run("validate", out, "--board", f"virtual-{NAME}", *data) == 0
    assert run("accelerator", out) == 0
    capsys.readouterr()
    assert run("accelerator", NAME) == 0
    assert NAME in capsys.readouterr().out
    assert run("targets") == 0 and NAME in capsys.readouterr().out
    board = find_board(f"sim-{NAME}-soc")
    assert board.routes == ("verilator",) and board.target.accelerator == CONFIG
    # A bundle for other sizes is not for this board.
    assert run("flash", out, "--board", "virtual-npu64") == 1


@pytest.mark.slow
def test_on_its_hardware(folder: Path, tmp_path: Path) -> None:
    """The system-on-chip around these sizes, in Verilator."""
    out = tmp_path / "out"
    words = ("--calibration", CALIBRATION, "--target", NAME, "-o", out)
    assert run("compile", MODEL, *words) == 0
    board = ("--board", f"sim-{NAME}-soc")
    assert run("flash", out, *board) == 0
    assert run("validate", out, *board, "--data", EVALUATION, "--samples", 5) == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("out_lanes = 4", "out_lanes = 3", "out_lanes is 3, a power of two 1 to 32"),
        ("out_lanes = 4", "out_lanes = 64", "out_lanes is 64"),
        ("a_words = 1024\n", "", "'a_words'"),
        ("tables = false", "tables = 1", "'tables' must be true or false"),
        ("tables = false", "table = false", "unknown key 'table'"),
        ('"vexriscv"', '"vexrisc"', "'cycle_model' is 'vexrisc'"),
        ('"c99"', '"c98"', "'families[0]' is 'c98'"),
        ('unicorn_cpu = "riscv32"', 'unicorn_cpu = "riscv"', "'unicorn_cpu' is 'riscv'"),
        ("[accelerator]", "[accelerator", "my-npu32.toml"),
    ],
)
def test_a_file_that_is_wrong_is_named(folder: Path, old: str, new: str, said: str) -> None:
    path = folder / f"{NAME}.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(EdgekitError) as refused:
        find_target(NAME)
    assert refused.value.code == "E408" and said in refused.value.message
    assert str(folder) in refused.value.message


def test_names_and_folders(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("npu64.toml", "npu256.toml", "x.txt", "Foo.toml", "a b.toml"):
        assert run("accelerator", "npu16", "--save", folder / name) == 1
        assert "E410" in capsys.readouterr().err
    assert run("accelerator", "--save", folder / "x.toml") == 2
    assert run("accelerator", "npu16", "--save", folder / f"{NAME}.toml") == 0  # again
    assert f"EDGEKIT_TARGETS={folder}" in capsys.readouterr().out.replace("\n", "")
    assert sorted(p.name for p in folder.rglob("*.toml")) == [
        f"{NAME}.toml", f"sim-{NAME}-soc.toml", f"virtual-{NAME}.toml",
    ]  # fmt: skip
    (folder / "npu64.toml").write_text("")
    with pytest.raises(EdgekitError, match="name of a target of edgekit, 'npu64'") as refused:
        find_target(NAME)
    assert refused.value.code == "E409"
    monkeypatch.setenv("EDGEKIT_TARGETS", str(folder / "none"))
    with pytest.raises(EdgekitError, match="no such folder") as refused:
        find_board("virtual-npu64")
    assert refused.value.code == "E409"
