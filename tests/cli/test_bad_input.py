"""What bad input gets: one error line with a code, exit status 1, nothing half-written."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import DIGITS, compiled
from onnx import TensorProto, helper

import edgekit.execute
import targets
from edgekit.cli import main
from edgekit.devices.find import check_board, find_board


@pytest.fixture(autouse=True)
def _own_boards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "boards"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A private copy of the compiled digits model."""
    copy = tmp_path / "digits"
    shutil.copytree(compiled(DIGITS).path, copy)
    return copy


def refused(capsys: pytest.CaptureFixture[str], code: str, *arguments: object) -> str:
    """Run a command that must fail with `code`; returns what it said."""
    status = main([str(a) for a in arguments])
    said = capsys.readouterr().err
    assert status == 1, said
    assert said.startswith(f"error: {code} "), said
    assert "Traceback" not in said
    return said


def compile_to(out: Path, model: object, *more: object) -> list[object]:
    return ["compile", model, "-o", out, *more]


def calibrated(out: Path, arrays: Path) -> list[object]:
    return compile_to(out, DIGITS.path, "--calibration", arrays)


def test_not_a_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = tmp_path / "notes.onnx"
    text.write_text("this is not a model")
    whole = DIGITS.path.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    for model in (text, cut, tmp_path / "missing.onnx", tmp_path):
        refused(capsys, "E101", *compile_to(out, model))
    assert not out.exists()


def _model(nodes: list[onnx.NodeProto], shape: list[object]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_broken_graphs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cyclic = _model(
        [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
         helper.make_node("Relu", ["a"], ["y"])], [1, 4],
    )  # fmt: skip
    dynamic = _model([helper.make_node("Relu", ["x"], ["y"])], [1, "length"])
    unknown = _model(
        [helper.make_node("RandomNormalLike", ["x"], ["a"], name="first"),
         helper.make_node("Bernoulli", ["a"], ["y"], name="second")], [1, 4],
    )  # fmt: skip
    for name, model, code in (
        ("cyclic", cyclic, "E103"),
        ("dynamic", dynamic, "E104"),
        ("unknown", unknown, "E102"),
    ):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(model.SerializeToString())
        said = refused(capsys, code, *compile_to(tmp_path / "out", path))
        if name == "unknown":
            assert "first" in said and "second" in said, "all nodes at once"
        if name == "dynamic":
            assert "--bind length=" in said
    assert main(["check", str(tmp_path / "unknown.onnx")]) == 1
    assert not (tmp_path / "out").exists()


def test_calibration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with np.load(DIGITS.calibration or "") as file:
        good = {k: file[k] for k in file.files}
    (name,) = good
    x = good[name].astype(np.float32)
    nan = x.copy()
    nan[3, 0] = np.nan
    out = tmp_path / "out"
    for code, arrays in (
        ("E202", {name: x.reshape(len(x), -1)[:, :5]}),
        ("E203", {name: x.astype(str)}),
        ("E204", {name: nan}),
        ("E201", {"pictures": x}),
        ("E205", {name: x[:0]}),
    ):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        refused(capsys, code, *calibrated(out, path))
    refused(capsys, "E200", *calibrated(out, tmp_path / "missing.npz"))
    refused(capsys, "E207", *compile_to(out, DIGITS.path))
    assert not out.exists()


def test_output_is_not_ours(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    refused(capsys, "E703", *calibrated(tmp_path, DIGITS.calibration or Path()))
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    refused(capsys, "E701", "run", tmp_path, "--input", DIGITS.samples)


def test_unknown_names(capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path) -> None:
    said = refused(
        capsys, "E301", *compile_to(tmp_path / "out", DIGITS.path, "--target", "cortex-n4")
    )
    assert "did you mean 'cortex-m4'?" in said
    said = refused(capsys, "E601", "flash", folder, "--board", "virtual-cortexm4")
    assert "did you mean 'virtual-cortex-m4'?" in said
    refused(capsys, "E601", "run", folder, "--input", DIGITS.samples, "--on", "hots")


def test_budgets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    # With widths and objective given there is nothing left to try.
    given = ("--max-ram", 100, "--weight-bits", 8, "--optimize", "balanced")
    said = refused(capsys, "E314", *calibrated(out, DIGITS.calibration or Path()), *given)
    assert "the budget is 100 B" in said and "too much" in said
    assert not out.exists()


def test_board_too_small(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    big = find_board("virtual-cortex-m4")
    small = replace(
        big, regions=tuple(replace(r, size=4096) if r.kind == "ram" else r for r in big.regions)
    )
    monkeypatch.setattr("edgekit.devices.find.find_board", lambda name: small)
    said = refused(capsys, "E504", "flash", folder, "--board", "virtual-cortex-m4")
    assert "RAM" in said and "short" in said


@pytest.mark.parametrize("place", ["--on=host", "--on=virtual-cortex-m4", "inspect"])
def test_damaged_bundle(capsys: pytest.CaptureFixture[str], folder: Path, place: str) -> None:
    bundle = folder / "model.ekb"
    whole = bundle.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    use = ["inspect", folder] if place == "inspect" else [
        "run", folder, "--input", DIGITS.samples, place]  # fmt: skip
    for code, data in (
        ("E401", whole[:5]),
        ("E402", whole[:-1]),
        ("E402", whole[: len(whole) // 3]),
        ("E404", bytes(flipped)),
    ):
        bundle.write_bytes(data)
        refused(capsys, code, *use)


def test_bundle_for_other_kernels(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    registry = folder / "src" / "registry.c"
    text = registry.read_text()
    first = text.index("UINT64_C(0x") + len("UINT64_C(0x")
    registry.write_text(text[:first] + "0123456789abcdef" + text[first + 16 :])
    said = refused(capsys, "E406", "run", folder, "--input", DIGITS.samples)
    assert "needed:" in said and "0123456789abcdef" in said


def test_wrong_samples(capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, image=np.zeros((2, 9, 9, 1), np.float32))
    refused(capsys, "E202", "run", folder, "--input", path)
    refused(capsys, "E704", "run", folder, "--input", DIGITS.samples, "--output", path / "y.npz")


def test_usage_errors_are_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["compile"], ["compile", "x.onnx"], ["comple"], ["flash", "x"], ["run"]):
        assert main(arguments) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert main(["compile", "x.onnx", "-o", "y", "--bind", "N"]) == 2


def test_interrupt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                   folder: Path) -> None:  # fmt: skip
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edgekit.execute, "execute", stop)
    assert main(["run", str(folder), "--input", str(DIGITS.samples)]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_interrupt_before_anything_is_loaded() -> None:
    """A user's first second: no traceback of Python's own imports."""
    code = (
        "import sys\n"
        "from edgekit.__main__ import script\n"
        "class Stop:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Stop())\n"
        "script()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "interrupted")


def test_our_bugs_are_status_seventy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(edgekit.execute, "execute", broken)
    assert main(["run", str(folder), "--input", str(DIGITS.samples)]) == 70
    assert "internal error: ZeroDivisionError: oh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "help_"),
    [
        (".cache/build/ab", "EDGEKIT_CACHE_DIR names another folder"),
        ("elsewhere", "check rights and space"),
    ],
)
def test_a_disk_that_takes_nothing_is_no_bug(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    tmp_path: Path,
    path: str,
    help_: str,
) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / ".cache"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / path))

    monkeypatch.setattr(edgekit.execute, "execute", full)
    said = refused(capsys, "E704", "run", folder, "--input", DIGITS.samples)
    assert f"'{tmp_path / path}': No space left on device" in said and help_ in said


def test_a_board_file_that_is_no_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'name = "\xff"')
    said = refused(capsys, "E510", "boards", path)
    assert f"board file {path}: byte 8 is not UTF-8" in said


def test_doctor_names_what_every_route_needs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json", "-"])
    named = {row["what"] for row in json.loads(capsys.readouterr().out)}
    assert {"pyocd", "esptool", "smpclient", "imgtool", "dfu-util", "ssh", "verilator"} <= named
    assert {b.runner for b in targets.boards().values() if b.runner} <= named
    assert {b.qemu.command for b in targets.boards().values() if b.qemu} <= named


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ('["pyocd", "gdb"', '["pyocd", "gbd"', "E601", "unknown route 'gbd'"),
        ('kind = "stm32v1"', 'kind = "stm32v9"', "E507", "no driver uart_stm32v9.c"),
        ('target = "stm32f401retx"', 'taget = "stm32f401retx"', "E639", "unknown key 'taget'"),
        ("[settings.pyocd]", "[settings.pyoocd]", "E510", "not one of its routes, pyocd, gdb"),
    ],
)
def test_a_board_is_checked_before_it_is_used(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, code: str, said: str
) -> None:
    """Where its file is shown, not only when it is flashed."""
    whole = (Path(targets.__file__).parent / "boards" / "nucleo-f401re.toml").read_text()
    whole = whole[: whole.index("[settings.gdb]")] if code == "E601" else whole
    assert old in whole
    path = tmp_path / "nucleo-f401re.toml"
    path.write_text(whole.replace(old, new))
    assert said in refused(capsys, code, "boards", path)


def test_every_board_of_edgekit_passes() -> None:
    for board in targets.boards().values():
        check_board(board)
