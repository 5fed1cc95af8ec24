"""The report in a real browser: from disk, by mouse, by keyboard alone, at phone width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browsers import CONTRAST, chromium, open_page, press, requests
from report_facts import HOSTILE, hostile, made

from edgekit.cli import main
from edgekit.htmlreport import compare, page
from edgekit.htmlreport.facts import Facts
from edgekit.output import Output
from samples.digits import EVALUATION, MODEL

pytestmark = pytest.mark.apt
LAYERS = 12
TABS = ("graph", "latency", "memory", "flash", "accuracy", "energy", "compare")
TAB, ENTER, SPACE = "\ue004", "\ue007", "\ue00d"
DOWN, RIGHT, HOME, END = "\ue015", "\ue014", "\ue011", "\ue010"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def builds() -> tuple[Facts, Facts]:
    """A build and the one before it; layer 3 has become slower, layer 5 faster."""
    before = made(LAYERS)
    layers = list(before.layers)
    for i, factor in ((3, 2), (5, 0.5)):
        layers[i] = replace(layers[i], cycles=int((layers[i].cycles or 0) * factor))
    return replace(before, layers=tuple(layers), profiles=()), replace(before, profiles=())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    after, before = builds()
    path = tmp_path_factory.mktemp("report") / "report.html"
    measured = replace(after, profiles=made(LAYERS).profiles)
    path.write_text(page(measured, compare(after, before, "before")), encoding="utf-8")
    return path


def find(driver: Any, css: str) -> list[Any]:
    found: list[Any] = driver.find_elements("css selector", css)
    return found


def visible_panels(driver: Any) -> list[str]:
    return [p.get_attribute("id") for p in find(driver, "[role=tabpanel]") if p.is_displayed()]


def focused(driver: Any) -> str:
    """The id of what has the focus, or else its class, or its text."""
    script = "const e = document.activeElement; return e.id || e.getAttribute('class') || e.tagName"
    return str(driver.execute_script(script))


def quiet(driver: Any, path: Path) -> None:
    """Nothing was asked for but the file, and nothing was complained about."""
    assert [u.split("#")[0] for u in requests(driver)] == [path.as_uri()]
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert driver.get_log("browser") == []


def test_clicking_through(browser: Any, report: Path) -> None:
    open_page(browser, report)
    assert visible_panels(browser) == ["view-graph"]
    for name in TABS[1:] + TABS[:1]:
        (tab,) = find(browser, f"#tab-{name}")
        tab.click()
        assert visible_panels(browser) == [f"view-{name}"]
        assert tab.get_attribute("aria-selected") == "true"
        assert len(find(browser, "[role=tab][aria-selected=true]")) == 1
    find(browser, ".node.layer")[4].click()
    assert find(browser, "#detail h2")[0].text == "layer4"
    assert "15\u202f500 cycles" in find(browser, "#detail")[0].text
    find(browser, "#tab-memory")[0].click()
    find(browser, ".item")[2].click()
    assert find(browser, "#buffer")[0].text.startswith("tensor0: tensor, 256 B at 256 to 512")
    find(browser, "#tab-latency")[0].click()
    shown = [s.is_displayed() for s in find(browser, ".source")]
    assert shown == [True, False, False]
    find(browser, "[name=source]")[2].click()
    assert [s.is_displayed() for s in find(browser, ".source")] == [False, False, True]
    quiet(browser, report)


def test_by_keyboard_alone(browser: Any, report: Path) -> None:
    open_page(browser, report)
    press(browser, TAB)
    assert focused(browser) == "tab-graph"
    press(browser, RIGHT, RIGHT)
    assert visible_panels(browser) == ["view-memory"]
    press(browser, HOME)
    assert visible_panels(browser) == ["view-graph"]
    press(browser, TAB)
    if focused(browser) == "graph-scroll":  # a box that scrolls may take the focus itself
        press(browser, TAB)
    assert focused(browser) == "n1"  # the first layer; the input is in front of it
    press(browser, DOWN, DOWN)
    (chosen,) = find(browser, ".node[aria-selected=true]")
    assert focused(browser) == chosen.get_attribute("id") == "n3"
    assert find(browser, "#detail h2")[0].text == "layer2"
    ring = "return document.activeElement.matches(':focus-visible') && parseFloat("
    ring += "getComputedStyle(document.activeElement.querySelector('.box')).strokeWidth)"
    assert browser.execute_script(ring) >= 3
    press(browser, END)
    assert find(browser, "#detail h2")[0].text == "output"
    # The graph is one stop of the Tab key, however many layers it has.
    press(browser, TAB)
    assert not focused(browser).startswith("n")
    quiet(browser, report)


def test_sorting_by_keyboard(browser: Any, report: Path) -> None:
    open_page(browser, report, tab="latency")
    for _ in range(20):
        press(browser, TAB)
        if browser.execute_script("return document.activeElement.textContent") == "MACs":
            break
    else:
        pytest.fail("the button that sorts by MACs is not reached")

    def order() -> list[int]:
        rows = find(browser, ".source tbody")[0].find_elements("css selector", "td:first-child")
        return [int(r.text) for r in rows]

    def sorts() -> list[str]:
        heads = find(browser, ".source thead")[0].find_elements("css selector", "th")
        return [h.get_attribute("aria-sort") for h in heads]

    assert order() == list(range(LAYERS)) and set(sorts()) == {"none"}
    press(browser, ENTER)
    assert order() == list(reversed(range(LAYERS)))
    assert [s for s in sorts() if s != "none"] == ["descending"] and sorts()[4] == "descending"
    press(browser, SPACE)
    assert order() == list(range(LAYERS)) and sorts()[4] == "ascending"
    heads = find(browser, ".source thead th button")
    heads[1].click()  # names, with numbers in them in the order of numbers
    assert order() == list(range(LAYERS))


LONG = "StatefulPartitionedCall/model_{}/a_name_without_any_place_to_break_it/BiasAdd"


def test_phone(browser: Any, tmp_path: Path) -> None:
    facts, path = made(LAYERS, LONG), tmp_path / "long.html"
    other = replace(made(LAYERS, LONG), target="another")
    named = replace(facts, name=LONG, model=LONG, gaps=(LONG,))
    path.write_text(page(named, compare(named, other, LONG)), encoding="utf-8")
    for name in TABS:
        open_page(browser, path, 360, 740, tab=name)
        assert visible_panels(browser) == [f"view-{name}"]
        wide = (
            "return [document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]"
        )
        assert max(browser.execute_script(wide)) == 360, name
        small = """return Array.from(document.querySelectorAll('body *')).filter((e) =>
            e.checkVisibility() && Array.from(e.childNodes).some((n) => n.nodeType === 3 &&
            n.textContent.trim()) && parseFloat(getComputedStyle(e).fontSize) < 11).length"""
        assert browser.execute_script(small) == 0, name


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(browser: Any, report: Path, dark: bool) -> None:
    for name in TABS:
        open_page(browser, report, tab=name, dark=dark)
        ratio, where = browser.execute_script(CONTRAST)
        assert ratio >= 4.5, f"{name}: {ratio:.2f} at {where}"
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == dark


def test_regressions_are_marked(browser: Any, report: Path) -> None:
    open_page(browser, report)
    marked = [n.find_element("css selector", ".name").text
              for n in find(browser, ".node") if "worse" in n.text]  # fmt: skip
    assert marked == ["layer3"]
    find(browser, "#tab-compare")[0].click()
    rows = [r for r in find(browser, "#view-compare .sortable tbody tr") if "worse" in r.text]
    assert [r.find_element("css selector", "th").text for r in rows] == ["layer3"]
    assert "✗" in rows[0].text and "+100.0" in rows[0].text
    chip = rows[0].find_element("css selector", ".chip.worse")
    red, green, blue = (
        int(x) for x in chip.value_of_css_property("color").split("(")[1].split(",")[:3]
    )
    assert red > green + 60 and red > blue + 60
    better = [r for r in find(browser, "#view-compare .sortable tbody tr") if "better" in r.text]
    assert [r.find_element("css selector", "th").text for r in better] == ["layer5"]
    assert "✓" in better[0].text


def test_names_from_a_model_file_run_nothing(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    facts = hostile(made(3))
    path.write_text(page(facts, compare(facts, hostile(made(4)), HOSTILE)), encoding="utf-8")
    open_page(browser, path)
    assert browser.title != "owned" and "edgekit report" in browser.title
    assert find(browser, "img") == []
    nodes = find(browser, ".node.layer, .node")
    nodes[1].click()
    shown = browser.execute_script("return document.querySelector('#detail h2').textContent")
    assert shown == HOSTILE
    quiet(browser, path)


def test_without_scripts_all_of_it_is_there(browser: Any, report: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(browser, report)
        tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    said = {n["name"]["value"] for n in tree if n.get("role", {}).get("value") == "heading"}
    for heading in ("Graph", "Latency by layer", "RAM over time", "Constants by layer",
                    "Quantization error by layer", "Energy by layer",
                    "Against before"):  # fmt: skip
        assert heading in said


def test_the_page_of_diff(browser: Any, digits: Output, tmp_path: Path) -> None:
    path = tmp_path / "diff.html"
    arguments = [MODEL, digits.path, "--data", EVALUATION, "--samples", 16, "--no-lift"]
    assert main(["diff", *map(str, arguments), "--html", str(path)]) == 0
    for width in (360, 1200):
        open_page(browser, path, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
        ratio, where = browser.execute_script(CONTRAST)
        assert ratio >= 4.5, where
        quiet(browser, path)
