"""What an output folder, profiles and earlier reports say, and what is refused."""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_facts import made

from edgekit.bundle.model import FOOTER_BYTES, FORMAT_OLDEST
from edgekit.errors import EdgekitError
from edgekit.htmlreport import gather, open_other, page
from edgekit.htmlreport.facts import Facts
from edgekit.htmlreport.gather import arena_in_use, read_facts
from edgekit.htmlreport.measurements import with_energies, with_profiles
from edgekit.htmlreport.occupancy import occupancy
from edgekit.output import BUNDLE, MARKER, Output, open_output

NO_PROFILES = (
    "",
    "[]",
    "{",
    '{"unit": "ticks"}',
    '{"unit": 3, "layers": []}',
    "\udc80",
    "1" * 99,
    '{"unit": "t", "layers": [{"name": "a", "value": NaN}]}',
    "[" * 200_000,
)


def refused(code: str, run: Any, *arguments: Any) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        run(*arguments)
    assert caught.value.code == code, caught.value
    return caught.value


def profile(facts: Facts, **more: Any) -> dict[str, Any]:
    ticks = [{"name": x.name, "value": 10, "share": 0.1} for x in facts.layers]
    return {"board": "b", "unit": "ticks", "hz": None, "layers": ticks, **more}


def rewritten(folder: Output, to: Path, **report: Any) -> Output:
    """A copy of an output folder with other entries in its report; None takes one out."""
    shutil.copytree(folder.path, to)
    about = json.loads((to / MARKER).read_text())
    about["report"] = {**about["report"], **report}
    about["report"] = {k: v for k, v in about["report"].items() if v is not None}
    (to / MARKER).write_text(json.dumps(about))
    return open_output(to)


def test_a_folder_tells_everything(digits: Output) -> None:
    facts = gather(digits)
    report = digits.description["report"]
    assert [x.name for x in facts.layers] == [x.name for x in digits.bundle.layers]
    assert facts.flash_bytes == report["flash_bytes"] and facts.ram_bytes == report["ram_bytes"]
    assert facts.cycles == report["cycles"] and facts.gaps == ()
    graph = digits.graph
    for layer in facts.layers:
        assert graph.values[layer.tensor].dtype == layer.dtype
        assert layer.sqnr_db is not None and 20 < layer.sqnr_db < 80
    logits = next(x for x in facts.layers if x.tensor == "logits")
    assert logits.sqnr_db == facts.logits_sqnr_db
    named = {n.layer: n.name for n in facts.nodes if n.layer is not None}
    assert named == {i: x.name for i, x in enumerate(facts.layers)}
    assert len(facts.edges) == len(graph.nodes) + len(graph.outputs)


def test_the_memory_plan_is_that_of_the_bundle(digits: Output) -> None:
    facts, bundle = gather(digits), digits.bundle
    assert facts.buffers is not None
    found = occupancy(facts.buffers, len(facts.layers))
    assert found.highest == bundle.arena_bytes == facts.ram["arena"]
    for i, call in enumerate(bundle.calls):
        alive = [b for b in facts.buffers if b.first <= i <= b.last]
        for a in call.arguments:
            within = a.space != 0 or any(
                b.offset <= a.offset and a.offset + a.nbytes <= b.offset + b.nbytes for b in alive
            )
            assert within, f"call {i} touches bytes of no buffer"
    (peak,) = [b for b in facts.buffers if b.kind == "input"]
    assert (peak.offset, peak.nbytes) == (bundle.inputs[0].offset, bundle.inputs[0].nbytes)
    assert arena_in_use(digits) == found.occupied


def test_an_older_folder_still_opens(digits: Output, tmp_path: Path) -> None:
    old = rewritten(digits, tmp_path / "old", buffers=None, optimize=None, states=None)
    facts = gather(old)
    assert facts.buffers is None and "Compile again" in facts.gaps[0]
    assert arena_in_use(old) == ()
    text = page(facts)
    assert "No memory plan" in text and "is not known" in text
    (old.path / "graph.txt").write_text("nonsense")
    facts = gather(open_output(old.path))
    assert facts.nodes == () and any("No graph" in g for g in facts.gaps)
    assert "There is no graph to draw" in page(facts)


def test_damaged_folders(digits: Output, tmp_path: Path) -> None:
    cases: list[dict[str, Any]] = [
        {"layers": "many"},
        {"cycles": "fast"},
        {"buffers": [{"name": "x", "offset": 0, "nbytes": 1, "first": 0, "last": 99}]},
        {"buffers": [{"name": "x", "offset": 0, "nbytes": 1, "first": 3, "last": 1}]},
        {"sqnr_db": {"a": "loud"}},
    ]
    for i, case in enumerate(cases):
        refused("E741", gather, rewritten(digits, tmp_path / str(i), **case))
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / MARKER).write_text('{"name": "x", "target": "y"}')
    refused("E741", gather, open_output(bare))


def test_a_damaged_bundle_has_no_report(digits: Output, tmp_path: Path) -> None:
    """Figures of what no device would run must not look like a build's, in CI least of all."""
    whole = (digits.path / BUNDLE).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    cases = {"E402": whole[:-100], "E404": bytes(flipped), "E401": b"", "E702": None}
    for code, content in cases.items():
        folder = rewritten(digits, tmp_path / code)
        (folder.path / BUNDLE).unlink()
        if content is not None:
            (folder.path / BUNDLE).write_bytes(content)
        refused(code, gather, folder)
        refused(code, open_other, folder.path)
    other = rewritten(digits, tmp_path / "other")
    about = json.loads((other.path / MARKER).read_text())
    (other.path / MARKER).write_text(json.dumps({**about, "hash": "0" * 16}))
    error = refused("E752", gather, open_output(other.path))
    assert digits.bundle.hash.hex() in error.message and "0" * 16 in error.message


def test_the_bundle_of_an_older_edgekit_is_named(digits: Output, tmp_path: Path) -> None:
    folder = rewritten(digits, tmp_path / "old")
    data = bytearray((folder.path / BUNDLE).read_bytes())
    struct.pack_into("<I", data, len(data) - FOOTER_BYTES + 4, FORMAT_OLDEST - 1)
    (folder.path / BUNDLE).write_bytes(data)
    facts = gather(folder)
    assert facts.cycles == gather(digits).cycles
    assert any("not looked at" in gap and "this edgekit reads" in gap for gap in facts.gaps)


def test_profiles(tmp_path: Path) -> None:
    facts = made()
    path = tmp_path / "p.json"
    path.write_text(json.dumps(profile(facts, total=50, anything=[{"new": 1}])))
    found = with_profiles(facts, [path, path]).profiles
    assert [p.file for p in found] == ["p.json"] * 3 and found[1].whole == 50
    path.write_text(json.dumps(profile(facts)))
    assert with_profiles(facts, [path]).profiles[1].whole == 40
    for text in NO_PROFILES:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        refused("E742", with_profiles, facts, [path])
    refused("E742", with_profiles, facts, [tmp_path / "none.json"])
    refused("E742", with_profiles, facts, [tmp_path])
    path.write_text(json.dumps(profile(made(5))))
    error = refused("E743", with_profiles, facts, [path])
    assert "has 5 layers" in error.message and "'made' has 4" in error.message
    assert "layer 4: nothing in the build" in error.details[0]


def test_figures_of_another_build_of_the_same_layers(tmp_path: Path) -> None:
    facts = made()
    path = tmp_path / "p.json"
    path.write_text(json.dumps(profile(facts, hash=facts.hash)))
    assert with_profiles(facts, [path]).profiles[1].hash == facts.hash
    path.write_text(json.dumps(profile(facts, hash="fedcba9876543210")))
    error = refused("E743", with_profiles, facts, [path])
    assert f"model fedcba9876543210, 'made' is {facts.hash}" in error.message


def test_energies(tmp_path: Path) -> None:
    facts = replace(made(), energies=())
    path = tmp_path / "e.json"
    layers = [
        {"name": x.name, "seconds": 0.1, "samples": 4.5, "energy_uj": 3} for x in facts.layers
    ]
    whole = {"name": "whole", "seconds": 0.5, "energy_uj": None, "why": "no run"}
    path.write_text(json.dumps({"board": "b", "runs": 3, "layers": layers, "whole": whole}))
    (found,) = with_energies(facts, [path]).energies
    assert found.layers[1].energy_uj == 3 and found.share(1) == 0 and found.file == "e.json"
    assert "No figure for the whole: no run" in page(with_energies(facts, [path]))
    path.write_text(json.dumps({"board": "b", "layers": layers[1:], "whole": whole}))
    refused("E743", with_energies, facts, [path])
    path.write_text(json.dumps(profile(facts)))
    refused("E742", with_energies, facts, [path])


def test_the_json_of_a_report_comes_back(tmp_path: Path) -> None:
    facts = made()
    path = tmp_path / "r.json"
    path.write_text(json.dumps(facts.as_json(), allow_nan=False))
    assert open_other(path) == facts
    for change in ({"kind": "x"}, {"format": 99}, {"layers": [1]}, {"edges": [{"source": 3}]},
                   {"edges": [{"source": 3, "target": 3}]}, {"name": None}):  # fmt: skip
        path.write_text(json.dumps({**facts.as_json(), **change}))
        refused("E744", open_other, path)
    path.write_text("not json")
    refused("E744", open_other, path)
    refused("E744", open_other, tmp_path / "none.json")
    refused("E701", open_other, tmp_path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_change_of_the_json_is_refused_or_drawn(data: st.DataObject) -> None:
    value = json.loads(json.dumps(made(2).as_json()))
    at: Any = value
    while True:
        key = data.draw(
            st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at))))
        )
        if not isinstance(at[key], (dict, list)) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(_JSON)
    try:
        facts = read_facts(value)
    except ValueError:
        return
    page(facts).encode("utf-8")
    json.dumps(facts.as_json(), allow_nan=False)
