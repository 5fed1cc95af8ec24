"""A board's bytes against the reference's: equal, and every way of being different."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from state_graphs import accumulator, compiled_graph, stepwise

from edgekit import data
from edgekit.cli import main
from edgekit.devices.find import find_board
from edgekit.devices.session import Session
from edgekit.output import Output
from edgekit.validate import GOLDEN, validate
from samples.digits import EVALUATION

BOARD = "virtual-cortex-m4"


@pytest.fixture(autouse=True)
def _own_boards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "boards"))


def spoil(monkeypatch: pytest.MonkeyPatch, sample: int, byte: int, bit: int = 1) -> None:
    """Let the board's outputs of one sample be different in one byte."""
    honest, count = Session.run, iter(range(1000))

    def run(self: Session, inputs: Sequence[bytes]) -> list[bytes]:
        first, *others = honest(self, inputs)
        if next(count) == sample:
            first = bytes(b ^ bit if i == byte else b for i, b in enumerate(first))
        return [first, *others]

    monkeypatch.setattr(Session, "run", run)


def test_every_byte_is_equal(
    digits: Output, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "f.json"
    arguments = ["validate", str(digits.path), "--board", BOARD, "--data", str(EVALUATION)]
    assert main([*arguments, "--samples", "20", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "20 samples on virtual-cortex-m4 (interpreter) against the reference: 20 equal" in said
    figures = json.loads(file.read_text())
    assert (figures["samples"], figures["equal"], figures["different"]) == (20, 20, 0)
    assert figures["bytes"] == 200
    assert figures["first"] is None
    with np.load(EVALUATION) as stored:
        labels = stored["label"][:20]
    assert figures["accuracy"][0] == figures["accuracy"][1] > 0.8
    assert len(labels) == 20


def test_golden_vectors_without_data(digits: Output, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["validate", str(digits.path), "--board", BOARD]
    assert main([*arguments, "--aot", "--against", "host"]) == 0
    assert f"2 samples on {BOARD} (aot) against the {GOLDEN}: 2 equal" in capsys.readouterr().out


def test_a_difference_is_named_and_is_status_one(
    digits: Output, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, sample=3, byte=7)
    arguments = ["validate", str(digits.path), "--board", BOARD, "--data", str(EVALUATION)]
    assert main([*arguments, "--samples", "5", "--against", "host"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("error: E660 ")
    assert "in 1 of 5 samples (1 of 50 bytes)" in said.err
    assert "first: sample 3, " in said.err and "[7]: " in said.err
    assert "4 equal, 1 different" in said.out


def test_both_values_and_both_accuracies(digits: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = data.load(EVALUATION, digits.graph)
    inputs = {k: v[:4] for k, v in data.quantize_inputs(digits.graph, samples.arrays).items()}
    board = find_board(BOARD)
    honest = validate(digits, board, inputs)
    assert (honest.first, honest.correct) == (None, None)
    (name,) = digits.graph.outputs
    wanted = int(np.asarray(samples.labels)[0])
    spoil(monkeypatch, sample=0, byte=wanted, bit=255)  # the right class becomes the last choice
    found = validate(digits, board, inputs, np.asarray(samples.labels)[:4])
    assert found.first is not None
    assert (found.first.sample, found.first.output, found.first.index) == (0, name, (wanted,))
    assert found.first.found == ~int(found.first.expected)
    assert found.correct is not None
    assert found.correct[0] - found.correct[1] == 1


def test_states_go_on_from_sample_to_sample(tmp_path: Path) -> None:
    """In order and from the initial contents, on a board that has run other samples before."""
    folder = compiled_graph(accumulator([5, -7, 100, 3]), tmp_path / "out")
    board = find_board(BOARD)
    x = np.random.default_rng(3).integers(-20, 21, (6, 4)).astype(np.int8)
    for _ in range(2):
        found = validate(folder, board, {"x": x})
        assert (found.equal, found.first) == (6, None)
    assert (stepwise(folder.graph, x)[1:] != stepwise(folder.graph, x[1:])).any()
    assert validate(folder, board).equal == len(folder.bundle.golden)
    assert validate(folder, board, {"x": x}, against="host", mode="aot").equal == 6


def test_a_profile_of_states_is_checked_from_their_start(tmp_path: Path) -> None:
    folder = compiled_graph(accumulator([5, -7, 100, 3]), tmp_path / "out")
    assert main(["profile", str(folder.path), "--board", BOARD, "--repeat", "3"]) == 0
