"""The figures on top of the page."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.htmlreport.compare import Change, Comparison
from edgekit.htmlreport.facts import Facts
from edgekit.htmlreport.speed import Source
from edgekit.pages import grouped, microjoules, nbytes


@dataclass(frozen=True)
class Card:
    """One figure: what it is, its value, where it comes from, how it changed."""

    what: str
    value: str
    note: str
    change: Change | None = None
    parts: tuple[tuple[str, int], ...] = ()


def cards(facts: Facts, comparison: Comparison | None, found: list[Source]) -> list[Card]:
    """Latency, flash, RAM, work and quality, as far as they are known."""
    changed = {c.what: c for c in comparison.totals} if comparison else {}
    shown = []
    if found:
        first = found[0]
        time = first.time(first.whole)
        value = time or grouped(first.whole)
        note = f"{grouped(first.whole)} {first.unit}" if time else first.unit
        where = f" on {first.board}" if first.board else ""
        if first.hz and not first.unit.startswith("ns"):  # a clock of time is no CPU's
            where += f" at {first.hz / 1e6:g} MHz"
        alike = (c for c in changed.values() if (c.unit, c.after) == (first.unit, first.whole))
        change = next(alike, None)
        shown.append(Card("latency" if time else "speed", value, f"{note}{where}", change))
    shown.append(
        Card("flash", nbytes(facts.flash_bytes), _list(facts.flash), changed.get("flash"),
             tuple(facts.flash.items()))
    )  # fmt: skip
    shown.append(
        Card("RAM", nbytes(facts.ram_bytes), _list(facts.ram), changed.get("RAM"),
             tuple(facts.ram.items()))
    )  # fmt: skip
    shown.append(_work(facts, changed))
    for e in facts.energies[:1]:
        if e.whole.energy_uj is not None:
            shown.append(
                Card("energy", microjoules(e.whole.energy_uj), f"per inference on {e.board}",
                     changed.get("energy"))
            )  # fmt: skip
    if facts.logits_sqnr_db is not None:
        note = f"SQNR of the logits against float, {facts.calibration_samples} samples"
        value = f"{facts.logits_sqnr_db:.1f} dB"
        shown.append(Card("accuracy", value, note, changed.get("SQNR of the logits")))
    if facts.agreement is not None:
        note = f"of {facts.agreement_samples} samples get the float network's class"
        shown.append(Card("agreement", f"{100 * facts.agreement:.2f} %", note))
    return shown


def _list(by_name: dict[str, int]) -> str:
    return ", ".join(f"{name} {grouped(n)}" for name, n in by_name.items())


def _work(facts: Facts, changed: dict[str, Change]) -> Card:
    macs = f"{grouped(facts.macs)} multiply-accumulates"
    if facts.model_macs and facts.macs < facts.model_macs:
        macs += f" of {grouped(facts.model_macs)}: constant channels are left out"
    if facts.instructions is None:
        return Card("multiply-accumulates", grouped(facts.macs), "", changed.get("MACs"))
    return Card("instructions", grouped(facts.instructions), f"exact; {macs}",
                changed.get("instructions"))  # fmt: skip
