"""YAML files and settings that make no sense: refused by name, with what would be right."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.processing import Audio, Classify, Detect, Image, Processing, load


def written(folder: Path, text: str) -> Path:
    path = folder / "processing.yaml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path: Path) -> None:
    found = load(written(tmp_path, """
audio:
  sample_rate: 8000
  window_ms: 32
  hop_ms: 16.5
  mels: 20
  mfcc: 8
input: mfcc
calibrate: features
classify: {threshold: 0.5, scores: true}
"""))  # fmt: skip
    assert found == Processing(
        Audio(sample_rate=8000, window_ms=32, hop_ms=16.5, mels=20, mfcc=8),
        Classify(threshold=0.5, scores=True),
        at="mfcc",
        calibrate="features",
    )
    assert load(written(tmp_path, "image:\nclassify:\n")) == Processing(Image(), Classify())
    text = "image: {mean: [1, 2, 3], crop: [0, 0, 8, 8]}\ndetect: {boxes: b, scores: s}"
    exponents = load(written(tmp_path, "audio: {floor: 1e-9, std: 2E1, mean: -3e+0}"))
    assert exponents == Processing(Audio(floor=1e-9, std=20.0, mean=-3.0))
    image = Image(mean=(1, 2, 3), crop=(0, 0, 8, 8))
    assert load(written(tmp_path, text)) == Processing(image, Detect("b", "s"))


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "E184", ["nothing", "PROCESSING.md"]),
        ("- 1", "E184", ["a list"]),
        ("audio: {mels: 4", "E184", ["line 1"]),
        ("audio: !!python/object/apply:os.system ['true']", "E184", ["python"]),
        ("a: " + "x" * 70_000, "E184", ["65536"]),
        ("audi: {}", "E185", ["'audi'", "did you mean 'audio'"]),
        ("audio: {mells: 40}", "E185", ["'mells'", "did you mean 'mels'"]),
        ("audio: 3", "E185", ["3", "indented"]),
        ("audio: {}\nimage: {}", "E185", ["both"]),
        ("detect: {boxes: b}", "E185", ["'scores'"]),
        ("input: x", "E180", ["without steps"]),
        ("audio: {}\ninput: [x]", "E181", ["input"]),
        ("audio: {}\ncalibrate: raww", "E181", ["raww", "features"]),
        ("audio: {sample_rate: 0}", "E181", ["sample_rate is 0", "192000"]),
        ("audio: {sample_rate: fast}", "E181", ["'fast'"]),
        ("audio: {sample_rate: 1.5}", "E181", ["whole"]),
        ("audio: {periodic: 2}", "E181", ["periodic is 2", "true or false"]),
        ("classify: {output: 3}", "E181", ["output is 3"]),
        ("audio: {mels: true}", "E181", ["True"]),
        ("audio: {window_ms: -3}", "E181", ["window_ms is -3"]),
        ("audio: {window: ham}", "E181", ["'ham'", "did you mean 'hamming'"]),
        ("audio: {mels: 200}", "E181", ["200", "128"]),
        ("audio: {floor: .nan}", "E181", ["floor"]),
        ("audio: {hop_ms: 0.001}", "E182", ["hop is 0"]),
        ("audio: {window_ms: 40, clip_ms: 30}", "E182", ["640", "480", "longer"]),
        ("audio: {every_ms: 30}", "E182", ["480", "320", "multiple"]),
        ("audio: {fft: 300}", "E182", ["300"]),
        ("audio: {fft: 256}", "E182", ["256", "480"]),
        ("audio: {window_ms: 9999}", "E182", ["4096"]),
        ("audio: {high_hz: 9000}", "E182", ["9000", "8000"]),
        ("audio: {mels: 100, window_ms: 10}", "E182", ["no FFT bin", "62.5"]),
        ("audio: {floor: 1.0e+9}", "E182", ["floor"]),
        ("audio: {mfcc: 41}", "E182", ["41", "40"]),
        ("image: {crop: [1, 2, 3]}", "E181", ["crop"]),
        ("image: {crop: [1, 2, 3, 0]}", "E181", ["crop's width is 0"]),
        ("image: {std: 0}", "E181", ["std is 0"]),
        ("image: {mean: []}", "E181", ["empty"]),
        ("image: {source: yuv}", "E181", ["yuv"]),
        ("image: {height: 0}", "E181", ["height is 0"]),
        ("classify: {top: 0}", "E181", ["top is 0"]),
        ("classify: {top: 2, threshold: 1}", "E182", ["threshold"]),
        ("detect: {boxes: b, scores: s, iou: 1.5}", "E181", ["iou is 1.5"]),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, code: str, words: list[str]) -> None:
    with pytest.raises(EdgekitError) as caught:
        load(written(tmp_path, text))
    assert caught.value.code == code, caught.value
    for word in words:
        assert word in str(caught.value), caught.value


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(EdgekitError, match="cannot read"):
            load(path)


def test_aliases_are_refused(tmp_path: Path) -> None:
    """A few lines of them would be gigabytes, in lists as in merged mappings."""
    names = "abcdefghijkl"
    lists = [f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in pairwise(names)]
    merged = "audio: &a {mels: 4}\nimage: {<<: [*a, *a]}"
    for text in ("\n".join(["a: &a [x, x]", *lists]), merged):
        with pytest.raises(EdgekitError, match="aliases"):
            load(written(tmp_path, text))


ODD = [None, True, -1, 0, 3, 10**30, 1.5, -0.0, float("nan"), float("inf"), "", "x", [], [1], {}]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_value_of_any_setting_is_taken_or_refused(data: st.DataObject) -> None:
    """No other exception than ours, whatever is written behind a setting."""
    step = data.draw(st.sampled_from([Audio, Image, Classify, Detect]))
    names = [f.name for f in fields(step)]
    odd = st.sampled_from(ODD) | st.text(max_size=3) | st.floats() | st.integers()
    chosen = data.draw(st.dictionaries(st.sampled_from(names), odd, max_size=3))
    if step is Detect:
        chosen = {"boxes": "b", "scores": "s"} | chosen
    with contextlib.suppress(EdgekitError):
        step(**chosen)


@settings(max_examples=25, deadline=None)
@given(text=st.text(st.characters(max_codepoint=127)) | st.text())
def test_any_text_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("yaml")
    with contextlib.suppress(EdgekitError):
        (folder / "p.yaml").write_bytes(text.encode(errors="surrogatepass"))
        load(folder / "p.yaml")
