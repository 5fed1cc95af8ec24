"""The .pdsc file by the rules of its published schema, and the pack that holds it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest

from edgekit.errors import EdgekitError
from edgekit.output import Output
from edgekit.packages import About, find_form, read_contents, write_package
from targets import target, targets

Packer = Callable[..., Path]
#: Children by element: those that must be there, and those that may.
CHILDREN = {
    "package": (
        {"vendor", "name", "description", "url", "releases"},
        {"license", "keywords", "requirements", "conditions", "components"},
    ),
    "releases": ({"release"}, set()),
    "keywords": ({"keyword"}, set()),
    "requirements": ({"languages"}, set()),
    "languages": ({"language"}, set()),
    "conditions": ({"condition"}, set()),
    "condition": (set(), {"description", "accept", "require", "deny"}),
    "components": ({"component"}, set()),
    "component": ({"description", "files"}, {"RTE_Components_h"}),
    "files": ({"file"}, set()),
}
#: Attributes by element: those that must be there, and those that may, with the texts they take.
PART = r"[A-Za-z0-9][A-Za-z0-9_+()'/\-\s.]{1,31}"
VERSION = r"\d+\.\d+\.\d+"
CORES = "Cortex-M0|Cortex-M0\\+|Cortex-M3|Cortex-M4|Cortex-M7|Cortex-M33|Cortex-M55"
ATTRIBUTES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "package": ({"schemaVersion": VERSION}, {}),
    "release": ({"version": VERSION}, {"date": r"\d{4}-\d\d-\d\d"}),
    "language": ({"name": "C", "version": "99"}, {}),
    "condition": ({"id": ".+"}, {}),
    "accept": ({}, {"Tcompiler": "GCC|CLANG|ARMCC", "Toptions": "AC6"}),
    "require": ({}, {"Dcore": CORES, "condition": ".+"}),
    "component": (
        {"Cclass": PART, "Cgroup": PART, "Cversion": VERSION},
        {"Cvendor": r"[A-Za-z0-9][A-Za-z0-9\-\s]{1,31}", "condition": ".+",
         "Csub": r"[A-Za-z0-9][A-Za-z0-9_+():/\- .]{0,31}"},
    ),
    "file": (
        {"category": "doc|header|include|source", "name": "[^/].*"},
        {"language": "c|asm", "attr": "template", "select": ".+"},
    ),
}  # fmt: skip


def described(package: Path) -> xml.Element:
    return xml.parse(next(package.glob("*.pdsc"))).getroot()


@pytest.mark.parametrize("mode", ["aot", "interpreter"])
def test_the_description(mode: str, pack: Packer) -> None:
    package = pack("cmsis-pack", mode)
    root = described(package)
    assert root.tag == "package"
    for element in root.iter():
        must, may = CHILDREN.get(element.tag, (set(), set()))
        assert must <= {c.tag for c in element} <= must | may, element.tag
        needed, optional = ATTRIBUTES.get(element.tag, ({}, {}))
        found = {k: v for k, v in element.attrib.items() if not k.startswith("{")}
        assert set(needed) <= set(found) <= {*needed, *optional}, element.tag
        for key, value in found.items():
            assert re.fullmatch({**needed, **optional}[key], value), (element.tag, key, value)
    for tag in ("vendor", "name"):
        assert re.fullmatch(r"[\w-]+", root.findtext(tag) or "")
    assert [p.name for p in package.glob("*.pdsc")] == [
        f"{root.findtext('vendor')}.{root.findtext('name')}.pdsc"
    ]
    assert (package / (root.findtext("license") or "none")).is_file()


@pytest.mark.parametrize("mode", ["aot", "interpreter"])
def test_files_and_conditions(mode: str, pack: Packer) -> None:
    package = pack("cmsis-pack", mode)
    root = described(package)
    files = {f.attrib["name"]: f.attrib for f in root.iter("file")}
    for name, attributes in files.items():
        path = package / name
        assert path.is_dir() if attributes["category"] == "include" else path.is_file()
        assert ("attr" in attributes) == name.startswith("template/")
    sources = {n for n, a in files.items() if a["category"] == "source" and "attr" not in a}
    assert sources == {
        p.relative_to(package).as_posix()
        for p in (package / "src").rglob("*")
        if p.suffix in (".c", ".S")
    }
    known = {c.attrib["id"] for c in root.iter("condition")}
    used = {e.attrib["condition"] for e in root.iter() if "condition" in e.attrib}
    assert used == known
    release, component = next(root.iter("release")), next(root.iter("component"))
    assert release.attrib["version"] == component.attrib["Cversion"]


def test_the_archive(digits: Output, tmp_path: Path) -> None:
    form, contents = (
        find_form("cmsis-pack"),
        read_contents(digits.path, about=About(version="2.0.1")),
    )
    with pytest.raises(EdgekitError, match=r"called 'digits\.pack'") as caught:
        write_package(tmp_path / "digits.pack", form, contents)
    assert caught.value.code == "E721" and "edgekit.digits.2.0.1.pack" in caught.value.help
    path = tmp_path / "edgekit.digits.2.0.1.pack"
    for _ in range(2):
        write_package(path, form, contents)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        text = archive.read("edgekit.digits.pdsc")
    assert [n for n in names if n.endswith(".pdsc")] == ["edgekit.digits.pdsc"]
    assert xml.fromstring(text).find("releases/release").attrib["version"] == "2.0.1"  # type: ignore[union-attr]


def test_every_target_is_taken_or_refused(digits: Output) -> None:
    form, contents = find_form("cmsis-pack"), read_contents(digits.path)
    for name in targets():
        there = replace(contents, target=target(name))
        if name.startswith("cortex-m"):
            assert form.files(there)
            continue
        with pytest.raises(EdgekitError, match=name) as caught:
            form.files(there)
        assert caught.value.code == "E726"


def test_texts_that_xml_must_escape(digits: Output) -> None:
    contents = read_contents(digits.path)
    contents = replace(contents, models=(replace(contents.models[0], file="a<b>&'c'.onnx"),))
    files = find_form("cmsis-pack").files(contents)
    root = xml.fromstring(files["edgekit.digits.pdsc"])
    assert "a<b>&'c'.onnx" in (root.findtext("description") or "")
