"""The page as text: escaped, self-contained, small."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

from report_facts import HOSTILE, hostile, made

from edgekit.htmlreport import compare, page
from edgekit.htmlreport.measured import Profile, Ticks

#: What a page may weigh: the bar of the project.
MOST_BYTES = 1_000_000


class Elements(HTMLParser):
    """Names, attributes and script texts of a page, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
        if tag == "style":
            self.styles.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem == "style":
            self.styles[-1] += data
        else:
            self.words.append(data)


def both(count: int, name: str = "layer{}") -> str:
    before = made(count, name)
    ram = {**before.ram, "arena": 9000}
    return page(replace(before, ram=ram), compare(replace(before, ram=ram), before, "before"))


def test_names_of_a_model_stay_text() -> None:
    facts = hostile(made(3))
    text = page(facts, compare(facts, hostile(made(4)), HOSTILE))
    found = Elements(text)
    assert not [t for t, _ in found.tags if t == "img"]
    assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on")]
    # Nothing more than what the same build with honest names has.
    honest = made(3)
    plain = Elements(page(honest, compare(honest, made(4), "x")))
    count = [
        sum(t == tag for t, _ in e.tags) for e in (found, plain) for tag in ("script", "style")
    ]
    assert count == [2, 1, 2, 1]
    details = json.loads(found.scripts[0])
    assert details[1]["title"] == HOSTILE
    assert "49" not in details[1]["title"] and "{{7*7}}" in text
    assert "<" not in found.scripts[0] and "\u2028" not in found.scripts[1]
    assert any(HOSTILE.split(";")[0][-20:] in w for w in found.words)


def test_nothing_is_loaded_and_only_our_script_runs() -> None:
    text = both(5)
    found = Elements(text)
    for tag, attrs in found.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "audio", "video", "img")
        for name in ("src", "href", "srcset", "action", "style"):
            assert attrs.get(name) in (None, "data:,"), (tag, name)
    assert "@import" not in text and "url(" not in text
    assert not re.search(r"https?://", text)
    policy = next(a["content"] for t, a in found.tags
                  if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
    assert policy is not None and policy.startswith("default-src 'none'")
    for part, body in (("script-src", found.scripts[-1]), ("style-src", found.styles[0])):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{part} 'sha256-{digest}'" in policy


def test_sixty_layers_are_well_below_a_megabyte() -> None:
    long = "model/stage_{}/a_rather_long_scope/of_the_kind/that_exporters_write/conv2d/BiasAdd"
    size = len(both(60, long).encode())
    assert 100_000 < size < MOST_BYTES / 2, size


def test_every_reference_has_its_element() -> None:
    found = Elements(both(4))
    ids = [a["id"] for _, a in found.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attrs in found.tags:
        for name in ("aria-controls", "aria-labelledby"):
            assert attrs.get(name) is None or attrs[name] in ids
    roles = [a.get("role") for _, a in found.tags]
    assert roles.count("tab") == roles.count("tabpanel") == 7
    assert roles.count("tablist") == 1 and "listbox" in roles


def test_a_build_that_nobody_measured() -> None:
    facts = made(3)
    layers = tuple(replace(x, cycles=None, instructions=None, sqnr_db=None) for x in facts.layers)
    bare = replace(
        facts, layers=layers, cycles=None, instructions=None, profiles=(), energies=(),
        logits_sqnr_db=None,
        gaps=("Nothing was measured when this was compiled: no QEMU",), flash={}, ram={},
    )  # fmt: skip
    text = page(bare)
    assert "Nobody measured this build" in text and "no QEMU" in text
    assert "no float network" in text
    assert "Energy" not in text
    page(replace(bare, layers=(), nodes=(), edges=(), buffers=()))


def test_a_clock_of_nanoseconds_is_no_cpus() -> None:
    def text(unit: str) -> str:
        facts = made(1)
        ticks = (Ticks(facts.layers[0].name, 4000),)
        profile = Profile(unit, ticks, board="gpu-pocl", total=5000, hz=1e9)
        return " ".join(Elements(page(replace(facts, profiles=(profile,)))).words)

    assert "on gpu-pocl at 1000 MHz" in text("cycles")
    assert "5 000 ns (a CPU) on gpu-pocl" in text("ns (a CPU)").replace("\u202f", " ")
    assert "1000 MHz" not in text("ns (a CPU)")
