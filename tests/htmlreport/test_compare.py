"""Two builds side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from report_facts import made

from edgekit.htmlreport import compare
from edgekit.htmlreport.compare import Change, Comparison
from edgekit.htmlreport.facts import Facts

BEFORE = made(5)


def slower(facts: Facts, layer: int, factor: float) -> Facts:
    """`layer` takes `factor` times the cycles, in the estimates and on the board."""
    layers = list(facts.layers)
    old = layers[layer]
    layers[layer] = replace(old, cycles=round((old.cycles or 0) * factor))
    cycles = (facts.cycles or 0) + (layers[layer].cycles or 0) - (old.cycles or 0)
    profiles = []
    for p in facts.profiles:
        ticks = list(p.layers)
        ticks[layer] = replace(ticks[layer], value=round(ticks[layer].value * factor))
        more = ticks[layer].value - p.layers[layer].value
        profiles.append(replace(p, layers=tuple(ticks), total=p.whole + more))
    return replace(facts, layers=tuple(layers), cycles=cycles, profiles=tuple(profiles))


def by_what(found: Comparison) -> dict[str, Change]:
    return {c.what: c for c in found.totals}


def test_the_same_build_twice() -> None:
    found = compare(BEFORE, BEFORE, "itself")
    assert found.count("worse") == found.count("better") == 0
    assert {c.verdict for c in found.totals} == {"same"}
    assert found.regressions(0) == [] and found.remarks == ()
    assert found.unit == "cycles"  # that of the profile both have


def test_a_slower_layer() -> None:
    found = compare(slower(BEFORE, 2, 1.5), BEFORE, "before")
    worse = [r.name for r in found.layers if any(c.verdict == "worse" for c in r.changes)]
    assert worse == ["layer2"]
    (speed,) = [c for c in found.layers[2].changes if c.what == "speed"]
    assert (speed.before, speed.after, speed.percent) == (9300, 13950, 50)
    board = by_what(found)["board"]
    assert board.verdict == "worse" and board.delta == 4650
    grown = 100 * 4650 / board.before if board.before else 0
    assert board in found.regressions(grown - 0.1)
    assert board not in found.regressions(grown + 0.1)
    back = compare(BEFORE, slower(BEFORE, 2, 1.5), "after")
    assert back.count("worse") == 0 and back.regressions(0) == []
    assert by_what(back)["board"].verdict == "better"


def test_less_sqnr_is_worse() -> None:
    found = compare(replace(BEFORE, logits_sqnr_db=35.0), BEFORE, "before")
    change = by_what(found)["SQNR of the logits"]
    assert (change.verdict, change.percent, change.delta) == ("worse", None, -3.5)
    assert found.regressions(0) == []  # decibels are no percent
    found = compare(replace(BEFORE, logits_sqnr_db=None), BEFORE, "before")
    assert by_what(found)["SQNR of the logits"].verdict == ""


@pytest.mark.parametrize(
    ("before", "after", "verdict", "percent"),
    [(1000, 1004, "same", 0.4), (1000, 1006, "worse", 0.6), (1000, 990, "better", -1.0),
     (0, 0, "same", None), (0, 5, "worse", None), (5, 0, "better", -100.0)],
)  # fmt: skip
def test_verdicts(before: int, after: int, verdict: str, percent: float | None) -> None:
    change = Change("flash", "B", before, after, gates=True)
    assert change.verdict == verdict
    assert change.percent == (None if percent is None else pytest.approx(percent))


def test_something_out_of_nothing_always_exceeds() -> None:
    assert Change("flash", "B", 0, 1).exceeds(1000)
    assert not Change("flash", "B", 0, 0).exceeds(0)
    assert not Change("flash", "B", None, 1).exceeds(0)


def test_layers_that_come_and_go() -> None:
    after = made(6)
    shorter = replace(after, layers=after.layers[1:], profiles=(), energies=(), nodes=(), edges=(),
                      buffers=())  # fmt: skip
    found = compare(shorter, BEFORE, "before")
    assert [(r.name, r.presence) for r in found.layers][-2:] == [
        ("layer5", "new"),
        ("layer0", "gone"),
    ]
    assert (found.layers[-1].before, found.layers[-1].after) == (0, None)
    assert any("Only the other one has a profile" in r for r in found.remarks)
    assert found.unit == "cycles (estimated)"


def test_layers_of_one_name_are_matched_in_order() -> None:
    twice = replace(BEFORE, layers=(BEFORE.layers[0],) * 5, profiles=(), energies=())
    found = compare(twice, replace(twice, layers=twice.layers[:3], nodes=(), edges=(), buffers=()),
                    "before")  # fmt: skip
    assert [(r.before, r.after) for r in found.layers] == [(0, 0), (1, 1), (2, 2), (None, 3),
                                                           (None, 4)]  # fmt: skip


def test_units_in_common() -> None:
    counted = replace(
        BEFORE,
        layers=tuple(replace(x, cycles=None) for x in BEFORE.layers),
        cycles=None,
        profiles=(),
        target="cortex-m55",
    )
    found = compare(counted, BEFORE, "before")
    assert found.unit == "instructions"
    assert any("target: cortex-m4 before, cortex-m55 now" in r for r in found.remarks)
    nothing = replace(
        counted, layers=tuple(replace(x, instructions=None) for x in counted.layers),
        instructions=None,
    )  # fmt: skip
    found = compare(nothing, BEFORE, "before")
    assert found.unit == "" and "no unit of speed in common" in found.remarks[-1]
    other = replace(BEFORE.profiles[0], board="another")
    found = compare(replace(BEFORE, profiles=(other,)), BEFORE, "before")
    assert found.unit == "cycles (estimated)"
    assert any("No two profiles" in r for r in found.remarks)


def test_energy() -> None:
    (used,) = BEFORE.energies
    more = replace(used, whole=replace(used.whole, energy_uj=2750.0))
    layers = list(more.layers)
    layers[2] = replace(layers[2], energy_uj=12.0)
    found = compare(replace(BEFORE, energies=(replace(more, layers=tuple(layers)),)), BEFORE, "x")
    change = by_what(found)["energy"]
    assert (change.verdict, change.percent) == ("worse", 10) and change in found.regressions(9)
    verdicts = [[c.verdict for c in r.changes if c.what == "energy"] for r in found.layers]
    assert verdicts == [[""], ["same"], ["worse"], ["same"], ["same"]]
    elsewhere = replace(BEFORE, energies=(replace(more, board="another"),))
    assert "energy" not in by_what(compare(elsewhere, BEFORE, "x"))
    slow = replace(BEFORE, cycles=None, instructions=None, profiles=())
    assert not compare(slow, slow, "x").judges_speed


def test_plain_values() -> None:
    found = compare(slower(BEFORE, 1, 2), made(4), "before")
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["layers"][1]["changes"][0]["verdict"] == "worse"
    assert plain["layers"][4]["presence"] == "new"
