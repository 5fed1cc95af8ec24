"""Results of the self-test that the GPU runtime keeps, and tuning files."""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from gpu_core import BUNDLE, GPU, Run

pytestmark = pytest.mark.apt


def test_results_are_kept(run: Run) -> None:
    assert run("wrong=one(w)", kept=True).said
    again = run("", kept=True)
    assert again.said == [] and again.exact
    assert again.layers[0] == "exact; fast: 1 bytes differ"
    assert "builds 1 1" in again.text  # what failed is not built again
    assert again.runs[0][3] == 4  # one whole inference, and the first


@pytest.mark.parametrize("script", ["name=another", "features=2"])
def test_results_are_of_one_device(run: Run, script: str) -> None:
    run("wrong=one(w)", kept=True)
    assert run(script, kept=True).layers[0] == "fast"


def test_results_are_of_one_bundle(run: Run) -> None:
    run("wrong=one(w)", kept=True)
    other = replace(BUNDLE, gpu=replace(GPU, spirv=b"1234"))
    assert run(bundle=other, kept=True).layers[0] == "fast"


def test_damaged_results_are_ignored_and_written_again(run: Run, tmp_path: Path) -> None:
    run("wrong=one(w)", kept=True)
    (path,) = (tmp_path / "kept").iterdir()
    good = path.read_bytes()
    chance = random.Random(5)
    for _ in range(12):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        for bad in (bytes(data), good[: chance.randrange(1, len(good))], good + b"x"):
            path.write_bytes(bad)
            found = run("wrong=one(w)", kept=True)
            assert found.exact
            assert found.said[0].startswith("the kept results of the self-test are damaged")
            assert path.read_bytes() == good
    path.write_bytes(b"")
    assert run("wrong=one(w)", kept=True).exact and path.read_bytes() == good


def test_choices_that_no_test_makes_are_ignored(run: Run, tmp_path: Path) -> None:
    """Results that claim what no test finds, under a right checksum."""
    run(kept=True)
    (path,) = (tmp_path / "kept").iterdir()
    good = path.read_bytes()
    assert zlib.crc32(good[:-4]) == int.from_bytes(good[-4:], "little")
    for at in range(len(good) - 4 - 3 - 8 - 3 * 8, len(good) - 4):
        data = bytearray(good)
        data[at] ^= 0x40
        path.write_bytes(bytes(data[:-4]) + zlib.crc32(data[:-4]).to_bytes(4, "little"))
        assert run(kept=True).exact


def test_a_driver_that_got_worse_is_tested_again(run: Run) -> None:
    run(kept=True)
    found = run("wrong=one(w)", kept=True)
    assert found.exact and found.layers[0] == "exact; fast: 1 bytes differ"
    assert found.said[0].startswith("what was right at an earlier start is not any more")


def test_a_compiler_that_got_worse_is_tested_again(run: Run) -> None:
    run(kept=True)
    found = run("uncompiled=one(w)", kept=True)
    assert found.exact and found.layers[0] == "exact; fast: did not compile"
    assert found.said[0].startswith("a function that was right does not compile any more")


def test_results_that_cannot_be_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file") if not (tmp_path / "kept").exists() else None
    with pytest.raises(FileExistsError):
        run(kept=True)
    (tmp_path / "kept").unlink()
    assert run(kept=True).exact


def tuning(
    *lines: str,
    device: str = "fake device",
    driver: str = "1.0",
    bundle: bytes = BUNDLE.hash,
    first: str = "edgekit-tuning 1",
) -> str:
    head = [first, f"device {device}", f"driver {driver}", f"bundle {bundle.hex()}"]
    text = "".join(f"{line}\n" for line in [*head, *lines])
    return f"{text}end {zlib.crc32(text.encode()):08x}\n"


CHOICE = "layer 0 1 16,1,1 exact"


def test_a_tuning_file_chooses(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tuning"
    path.write_text(tuning(CHOICE))
    found = run(tuning=path)
    assert (found.said, found.layers, found.exact) == ([], ["exact", "exact"], True)
    found = run("refuse=8", tuning=path)  # the size that it names is refused: another one
    assert found.exact and found.layers[0] == "exact"
    found = run("wrong=two(w)", tuning=path)  # the variant that it names is wrong
    assert found.exact and found.layers[0] == "fast; exact: 1 bytes differ"


def test_results_are_of_one_tuning_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tuning"
    path.write_text(tuning(CHOICE))
    assert run(kept=True).layers[0] == "fast"
    assert run(kept=True, tuning=path).layers[0] == "exact"
    assert run(kept=True).layers[0] == "fast"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (tuning(CHOICE, device="other"), "it is for another device"),
        (tuning(CHOICE, driver="1.01"), "it is for another driver"),
        (tuning(CHOICE, bundle=bytes(8)), "it is for another model"),
        (tuning(CHOICE, first="edgekit-tuning 2"), "it is no tuning file of this version"),
        (tuning("layer 2 1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 4,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 16,1,1 other"), "a line names what the model does not have"),
        (tuning("layer 0 2 16,1,1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 16,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 16,1,1 "), "a line names what the model does not have"),
        (tuning("layer -1 1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 99999999999 1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("nonsense"), "a line names what the model does not have"),
        (tuning(CHOICE)[:-3], "it is cut off"),
        (tuning(CHOICE)[:40], "it is cut off"),
        (tuning(CHOICE) + "x", "it is damaged"),
        (re.sub("end ....", "end 0000", tuning(CHOICE)), "it is damaged"),
        ("", "it cannot be read"),
    ],
)
def test_a_tuning_file_that_does_not_fit_is_ignored(
    run: Run, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "tuning"
    path.write_text(text)
    found = run(tuning=path)
    assert found.exact and found.layers == ["fast", "exact"]
    assert found.said == [f"tuning file '{path}' is ignored: {why}"]


def test_any_damage_of_a_tuning_file(run: Run, tmp_path: Path) -> None:
    path, good = tmp_path / "tuning", tuning(CHOICE).encode()
    chance = random.Random(3)
    for _ in range(30):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        found = run(tuning=path)
        assert found.exact and found.layers[0] == "fast" and "is ignored" in found.said[0]
