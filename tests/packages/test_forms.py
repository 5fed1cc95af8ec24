"""What is true of a package of every form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from edgekit.output import Output
from edgekit.packages import FORMS, MARKER, MODES, find_form, read_contents
from edgekit.packages.labels import LABELS, PLACES, PREBUILT, label_of
from edgekit.packages.writing import write_package

ROOT = Path(__file__).parents[2]
Packer = Callable[..., Path]
every = pytest.mark.parametrize("form", FORMS)
modes = pytest.mark.parametrize("mode", MODES)
INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def packed(form: str, output: Output, mode: str = "aot") -> dict[str, bytes]:
    return find_form(form).files(read_contents(output.path, mode))


def test_every_form_has_a_label_and_every_label_a_form() -> None:
    assert sorted(LABELS) == list(FORMS)
    for label in LABELS.values():
        assert {*label.run, *label.compiled} <= set(PLACES)
        assert label.run or label.compiled or label.specification
        assert label.text


@every
@modes
def test_names_of_files(form: str, mode: str, digits: Output) -> None:
    files = packed(form, digits, mode)
    for name in files:
        path = PurePosixPath(name)
        assert not path.is_absolute() and ".." not in path.parts, name
        assert re.fullmatch(r"[A-Za-z0-9_.+/-]+", name), name
    folded = [n.lower() for n in files]
    assert len(set(folded)) == len(folded), "two names differ in case only"
    assert MARKER not in files


@every
@modes
def test_papers(form: str, mode: str, digits: Output) -> None:
    files = packed(form, digits, mode)
    assert files["LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"digits.onnx" in files["NOTICE"]
    readme = files["README.md"].decode()
    assert LABELS[form].text in readme
    assert "10 of 10 bytes equal" in readme
    assert ("digits_invoke(in, out)" in readme) == (mode == "aot")
    assert ("ek_open(" in readme) == (mode == "interpreter")
    for name, data in files.items():
        if not name.endswith(".ekb"):
            text = data.decode()
            assert not re.search(r"@[A-Z_]+@", text), name
            assert str(ROOT) not in text and str(digits.path) not in text, name


@every
@modes
def test_includes_are_found_with_src_alone(form: str, mode: str, digits: Output) -> None:
    """As Arduino searches: the file's own folder, and one folder of sources."""
    files = packed(form, digits, mode)
    sources = {n for n in files if n.startswith("src/") and n.endswith((".c", ".h", ".S", ".hpp"))}
    assert any(n.endswith("kernels.c") for n in sources)
    for name in sources:
        for wanted in INCLUDE.findall(files[name]):
            near = str(PurePosixPath(name).parent / wanted.decode())
            assert near in files or f"src/{wanted.decode()}" in files, f"{name}: {wanted.decode()}"


@every
def test_what_each_mode_leaves_out(form: str, digits: Output) -> None:
    aot, interpreter = (set(packed(form, digits, mode)) for mode in MODES)
    if MODES[0] != "aot":
        aot, interpreter = interpreter, aot
    ends = {PurePosixPath(n).name for n in aot}, {PurePosixPath(n).name for n in interpreter}
    assert {"digits.c", "digits.h"} <= ends[0] and not {"ek_verify.c", "registry.c"} & ends[0]
    assert {"ek_verify.c", "ek_runtime.c", "registry.c", "digits_bundle.c"} <= ends[1]
    assert not {"digits.c", "digits.h"} & ends[1]
    assert "digits.ekb" in ends[1] and "digits.ekb" not in ends[0]


@every
def test_the_bundle_as_c_is_the_bundle(form: str, digits: Output) -> None:
    files = packed(form, digits, "interpreter")
    source = next(v for k, v in files.items() if k.endswith("digits_bundle.c")).decode()
    values = bytes(int(x, 16) for x in re.findall(r"0x([0-9a-f]{2})\b", source))
    assert values == (digits.path / "model.ekb").read_bytes() == files["digits.ekb"]


@every
def test_the_same_every_time(form: str, digits: Output, tmp_path: Path) -> None:
    chosen, contents = find_form(form), read_contents(digits.path)
    name = chosen.archive_name(contents) if chosen.archive_name else "digits.zip"
    first, second = (write_package(tmp_path / i / name, chosen, contents).path for i in "ab")
    assert first.read_bytes() == second.read_bytes()


@every
def test_the_marker(form: str, pack: Packer) -> None:
    about = json.loads((pack(form) / MARKER).read_text())
    assert (about["form"], about["name"], about["mode"]) == (form, "digits", "aot")
    assert about["checked"] == LABELS[form].text


def test_the_page_says_what_the_labels_say() -> None:
    page = (ROOT / "docs" / "PACKAGES.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9][a-z0-9-]*)` \| .* \| ([^|]+) \|$", page, re.MULTILINE)
    assert dict(rows) == {name: label_of(name) for name in (*FORMS, *PREBUILT)}
