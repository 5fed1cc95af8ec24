"""What is read from output folders, and which machine an example is given."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.output import Output
from edgekit.packages import FORMS, find_form, read_contents, write_package
from edgekit.packages.ctext import byte_array, fill, one_line
from targets import board, boards, target, targets


def test_the_machine_is_one_of_the_target(digits: Output) -> None:
    contents = read_contents(digits.path)
    emulated = {board.target.name for board in boards().values() if board.qemu}
    assert len(emulated) >= 8
    for name in targets():
        there = replace(contents, target=target(name))
        if name in emulated:
            assert there.machine is not None and there.machine.target.name == name
        elif there.machine is not None:  # another one that runs its code
            assert there.machine.target.port == target(name).port
        assert there.hosted == board(target(name).default_board).linux
        assert not (there.hosted and there.machine)


def test_targets_under_linux(digits: Output, tmp_path: Path) -> None:
    contents = replace(read_contents(digits.path), target=target("linux-aarch64"))
    for form in FORMS:
        if form in ("cmake", "makefile"):
            package = write_package(tmp_path / form, find_form(form), contents).path
            assert not (package / "machine").exists()
            build = "cmake/linux-aarch64.cmake" if form == "cmake" else "Makefile"
            assert "qemu-aarch64" in (package / build).read_text()
            continue
        with pytest.raises(EdgekitError, match="linux-aarch64") as caught:
            write_package(tmp_path / form, find_form(form), contents)
        assert caught.value.code == "E726"


def test_a_machine_that_is_too_small_is_not_taken(digits: Output) -> None:
    contents = replace(read_contents(digits.path), target=target("cortex-m0"))
    assert contents.machine is not None
    large = replace(contents, arena_bytes=contents.machine.ram.size - 4096)
    assert large.machine is None


def test_flags_are_parted(digits: Output) -> None:
    contents = read_contents(digits.path)
    assert "-mcpu=cortex-m4" in contents.cpu_flags
    assert set(contents.cpu_flags) | set(contents.kernel_flags) == set(contents.target.gcc_flags)
    assert all(flag.startswith("-f") for flag in contents.kernel_flags)


@given(st.text(max_size=40))
def test_names_from_model_files_stay_within_a_comment(name: str) -> None:
    text = one_line(name)
    assert len(text) <= len(name)
    assert not re.search(r"[\x00-\x1f\x7f\"\\]", text)
    assert "*/" not in f"/* {text} */"[:-2]
    assert "/*" not in f"/* {text} */"[2:]


@given(st.binary(max_size=60), st.sampled_from([8, 16]))
def test_bytes_as_c(data: bytes, align: int) -> None:
    text = byte_array("name", data, align)
    assert bytes(int(x, 16) for x in re.findall(r"0x([0-9a-f]{2})", text)) == data
    assert f"name[{len(data)}]" in text and f"aligned({align})" in text


def test_a_template_needs_all_its_values() -> None:
    with pytest.raises(KeyError):
        fill("check.h", name="x")
    assert "@" not in fill("check.h", name="@NAME@", upper="X").replace("@NAME@", "")


@pytest.mark.parametrize("report", ["[]", '{"ram": 3}', '{"ram": {"stack": "x"}}', "null"])
def test_a_report_that_was_edited(report: str, digits: Output, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(digits.path, folder)
    about = {**digits.description, "report": json.loads(report)}
    (folder / "edgekit.json").write_text(json.dumps(about))
    contents = read_contents(folder)
    assert contents.stack_bytes == 0
    assert b"stack" not in find_form("makefile").files(contents)["README.md"]
