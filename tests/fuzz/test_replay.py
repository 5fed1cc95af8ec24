"""The corpus and old crashes again, without atheris: EdgekitError or nothing, in little memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fuzz.corpus import crashes, read_corpus
from fuzz.entries import ENTRIES, Meter

#: Far above what any of them takes: one that ran away would take minutes.
SLOW = 20.0  # CPU seconds


@pytest.mark.parametrize("name", ENTRIES)
def test_replay(name: str, tmp_path: Path) -> None:
    inputs = {**read_corpus(name), **crashes(name)}
    assert inputs, "there is no corpus"
    for stem, data in inputs.items():
        start = time.process_time()
        try:
            with Meter(len(data)):
                ENTRIES[name](data, tmp_path)
        except Exception as bug:
            raise AssertionError(f"{stem}: {type(bug).__name__}: {bug}") from bug
        assert time.process_time() - start < SLOW, stem
