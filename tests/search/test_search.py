"""Searching on the shipped sample: every row is a real build, budgets hold exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import DIGITS, compiled

from edgekit import pipeline
from edgekit.errors import EdgekitError
from edgekit.output import open_output
from edgekit.search import Budget
from edgekit.search.rows import on_front


def compile_digits(out: Path, budget: Budget, **options: object) -> pipeline.Compiled:
    return pipeline.compile(
        DIGITS.path, output=out, calibration=DIGITS.calibration, budget=budget, **options
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Compiled:
    plain = compiled(DIGITS).description["report"]
    saved = compiled(DIGITS).description["report"]["flash"]["bundle"] // 8
    out = tmp_path_factory.mktemp("search") / "out"
    return compile_digits(out, Budget(max_flash=plain["flash_bytes"] - saved))


def test_the_budget_holds_and_costs_without_a_limit_do_not_grow(found: pipeline.Compiled) -> None:
    plain, report = compiled(DIGITS).description["report"], found.report
    search = found.search
    assert search is not None and search.row.choice.narrow
    assert report.flash_bytes <= (search.budget.max_flash or 0) < plain["flash_bytes"]
    if any(row.fits and row.thrifty for row in search.rows):
        assert report.ram_bytes <= 1.1 * plain["ram_bytes"]
        assert (report.latency_ms or 0) <= 1.1 * plain["latency_ms"]
    written = open_output(found.output.path)
    four = {n.name for n in written.graph.nodes if n.attrs.get("weight_bits") == 4}
    assert four == set(search.row.choice.narrow)
    assert written.description["report"]["flash_bytes"] == search.row.flash_bytes


def test_the_table(found: pipeline.Compiled) -> None:
    search = found.search
    assert search is not None
    rows = {row.name: row for row in search.rows}
    assert {"int8", "int4", "16x8", "16x4"} <= set(rows)
    assert rows["int8"].flash_bytes == compiled(DIGITS).description["report"]["flash_bytes"]
    assert rows["int4"].flash_bytes < rows["int8"].flash_bytes
    assert rows["16x8"].sqnr_db > rows["int8"].sqnr_db + 3
    for row in search.rows:  # predictions are no figures of speech
        assert abs(row.predicted_db - row.sqnr_db) < 6, row
    assert on_front(search.row, search.rows)
    assert len({row.choice for row in search.rows}) == len(search.rows)
    # Four-bit kernels are slower, so that no row may be thrifty.
    fitting = [row for row in search.rows if row.fits and row.thrifty]
    fitting = fitting or [row for row in search.rows if row.fits]
    assert search.row.sqnr_db == max(row.sqnr_db for row in fitting)
    plain = search.as_json()
    assert plain["chosen"] == search.row.name and len(plain["rows"]) == len(search.rows)


def test_impossible_budgets_say_which_and_by_how_much(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError) as caught:
        compile_digits(tmp_path / "out", Budget(max_flash=2000, max_ram=600))
    text = "\n".join([str(caught.value), *caught.value.details])
    assert caught.value.code == "E314"
    assert "2000 B" in text and "600 B" in text and "short" in text
    assert not (tmp_path / "out").exists()


def test_widths_that_were_asked_for_are_not_searched(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError) as caught:
        compile_digits(tmp_path / "out", Budget(max_flash=2000), quantization={"weight_bits": 4})
    assert caught.value.code == "E314" and "exceeds the budget" in str(caught.value)


def test_a_budget_that_int8_keeps_needs_no_search(tmp_path: Path) -> None:
    done = compile_digits(
        tmp_path / "out", Budget(max_flash=10**6, min_agreement=50), validation=DIGITS.samples
    )
    assert done.search is None and done.report.agreement is not None
    assert done.report.agreement > 0.9 and done.report.agreement_samples == 500
