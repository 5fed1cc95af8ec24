"""The complete examples of docs/PROCESSING.md, as a user would run them."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import audio
import numpy as np
import pytest
from click.testing import CliRunner
from processed import clips, network

from edgekit.cli import cli
from edgekit.execute import execute
from edgekit.output import open_output
from edgekit.processing import Audio, Classify, Detect, Image

PAGE = (Path(__file__).parents[2] / "docs" / "PROCESSING.md").read_text()


def example(name: str, folder: Path) -> Path:
    found = re.search(rf"```yaml {name}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    path = folder / f"{name}.yaml"
    path.write_text(found[1])
    return path


def raw_of(name: str) -> np.ndarray:
    if name == "audio":
        return clips(8, 16000)
    return np.random.default_rng(0).integers(0, 256, (10, 24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "shape"), [("audio", (1, 49, 10)), ("image", (3, 12, 12))])
def test_examples(
    name: str, shape: tuple[int, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))
    path, out = network(tmp_path, *shape), tmp_path / "out"
    raw = raw_of(name)
    np.savez(tmp_path / "data.npz", **{name: raw})
    arguments = ["compile", str(path), "--calibration", str(tmp_path / "data.npz"),
                 "--processing", str(example(name, tmp_path)), "-o", str(out)]  # fmt: skip
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = open_output(out)
    assert folder.graph.inputs == [name]
    few = raw[:2] if name == "audio" else (raw[:2].astype(np.int16) - 128).astype(np.int8)
    inputs = {name: few}
    want = execute(folder, inputs, "reference")
    assert list(want) == (["class"] if name == "audio" else ["classes", "top_scores"])
    for where in ("host", "virtual-cortex-m4"):
        have = execute(folder, inputs, where)
        for key, y in want.items():
            np.testing.assert_array_equal(have[key], y)


@pytest.mark.parametrize("step", [Audio, Image, Classify, Detect])
def test_every_setting_is_documented(step: type) -> None:
    for f in fields(step):
        assert re.search(rf"`{f.name}`|\b{f.name}:", PAGE), f"{step.__name__}.{f.name}"


def test_the_table_of_other_tools_is_what_is_tested() -> None:
    """The settings for python_speech_features are those of tests/audio.py."""
    documented = Audio(
        window="none", preemphasis=0.97, amplitude="int16", factor=0.001953125, mels=26,
        mel_shape="bins", floor=2.2e-16, floor_kind="max", mfcc=13, lifter=22,
    )  # fmt: skip
    assert documented.settings == audio.settings("speech features")
