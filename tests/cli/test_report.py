"""``edgekit report`` on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.output import MARKER, Output


def report(*arguments: object) -> int:
    return main(["report", *(str(a) for a in arguments)])


def slower(folder: Output, to: Path, factor: float) -> Path:
    """A copy of an output folder that says its second layer takes `factor` times as long."""
    shutil.copytree(folder.path, to, ignore=shutil.ignore_patterns("firmware"))
    about = json.loads((to / MARKER).read_text())
    facts = about["report"]
    before = facts["layers"][1]["cycles"]
    facts["layers"][1]["cycles"] = round(before * factor)
    facts["cycles"] += facts["layers"][1]["cycles"] - before
    (to / MARKER).write_text(json.dumps(about))
    return to


def test_page_and_json(digits: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile, html, figures = (tmp_path / n for n in ("p.json", "r.html", "r.json"))
    assert main(["profile", str(digits.path), "--board", "virtual-cortex-m4", "--repeat", "2",
                 "--json", str(profile), "--trace", str(tmp_path / "t.json")]) == 0  # fmt: skip
    capsys.readouterr()
    assert report(digits.path, "--profile", profile, "-o", html, "--json", figures) == 0
    assert capsys.readouterr().out == f"wrote    {html}\n"
    text = html.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and "layer2" in text
    assert len(text.encode()) < 200_000
    facts = json.loads(figures.read_text())
    assert facts["flash_bytes"] == digits.description["report"]["flash_bytes"]
    measured = json.loads(profile.read_text())
    assert [t["value"] for t in facts["profiles"][0]["layers"]] == [
        t["value"] for t in measured["layers"]
    ]
    trace = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    arena = [e["args"]["bytes in use"] for e in trace if e["ph"] == "C"]
    assert max(arena) == digits.bundle.arena_bytes and len(arena) == len(facts["layers"]) + 1
    # The JSON of one report is the other build of the next.
    assert report(digits.path, "--against", figures, "--json", "-") == 0
    plain = json.loads(capsys.readouterr().out)
    assert {c["verdict"] for c in plain["comparison"]["totals"]} == {"same"}


def test_a_regression_fails_when_asked(
    digits: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow, html = slower(digits, tmp_path / "slow", 1.5), tmp_path / "r.html"
    grown = 100 * (json.loads((slow / MARKER).read_text())["report"]["cycles"]
                   / digits.description["report"]["cycles"] - 1)  # fmt: skip
    against = (slow, "--against", digits.path, "-o", html)
    assert report(*against) == 0
    said = capsys.readouterr().out
    assert "worse    latency" in said and "worse    'layer2' (conv2d): speed" in said
    assert "(+50.0 %)" in said
    assert report(*against, "--fail-on-regression", grown + 0.1) == 0
    html.unlink()
    capsys.readouterr()
    assert report(*against, "--fail-on-regression", grown - 0.1) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: E745 1 figure grew by more than") and "latency" in error
    assert html.exists()
    other_way = (digits.path, "--against", slow, "-o", html, "--fail-on-regression", 0)
    assert report(*other_way) == 0
    assert "better   latency" in capsys.readouterr().out


def test_nothing_to_judge(
    digits: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = slower(digits, tmp_path / "bare", 1)
    about = json.loads((bare / MARKER).read_text())
    for x in (about["report"], *about["report"]["layers"]):
        x["cycles"] = x["instructions"] = None
    (bare / MARKER).write_text(json.dumps(about))
    arguments = (digits.path, "--against", bare, "-o", tmp_path / "r.html")
    assert report(*arguments) == 0
    assert "? latency: unknown to" in " ".join(capsys.readouterr().out.split())
    assert report(*arguments, "--fail-on-regression", 1000) == 1
    assert capsys.readouterr().err.startswith("error: E746 ")


def test_refusals(digits: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html = tmp_path / "r.html"
    cases = [
        ("E701", (tmp_path / "none", "-o", html)),
        ("E742", (digits.path, "-o", html, "--profile", tmp_path / "none.json")),
        ("E742", (digits.path, "-o", html, "--profile", digits.path / "model.ekb")),
        ("E744", (digits.path, "-o", html, "--against", digits.path / "edgekit.json")),
        ("E701", (digits.path, "-o", html, "--against", tmp_path)),
        ("E704", (digits.path, "-o", tmp_path)),
    ]
    for code, arguments in cases:
        assert report(*arguments) == 1
        assert capsys.readouterr().err.startswith(f"error: {code} "), arguments
        assert not html.exists()
    assert report(digits.path) == 2
    assert "give -o FILE.html" in capsys.readouterr().err
    assert report(digits.path, "-o", html, "--fail-on-regression", 5) == 2
    assert report(digits.path, "-o", html, "--against", digits.path,
                  "--fail-on-regression", "-1") == 2  # fmt: skip
    assert not html.exists()
    capsys.readouterr()
