"""Packages are whole or not there, and never in the place of somebody's work."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.errors import EdgekitError
from edgekit.output import Output
from edgekit.packages import MARKER, About, Contents, find_form, read_contents, write_package

Packer = Callable[..., Path]


@pytest.fixture(scope="module")
def contents(digits: Output) -> Contents:
    return read_contents(digits.path)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def refused(code: str, path: Path, contents: Contents, form: str = "makefile") -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        write_package(path, find_form(form), contents)
    assert caught.value.code == code
    return caught.value


def test_what_was_added_stays(contents: Contents, tmp_path: Path) -> None:
    package = tmp_path / "p"
    write_package(package, find_form("makefile"), contents)
    (package / ".git").mkdir()
    (package / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (package / "build").mkdir()
    (package / "build" / "x.o").write_bytes(b"\x7fELF")
    (package / "src" / "mine.c").write_text("int mine;\n")
    (package / "loop").symlink_to("loop")
    (package / "example" / "main.c").unlink()  # ours, deleted: comes back
    again = write_package(package, find_form("cmake"), contents)
    assert again.kept == (".git/HEAD", "build/x.o", "loop", "src/mine.c")
    assert (package / "build" / "x.o").read_bytes() == b"\x7fELF"
    assert (package / "loop").is_symlink()
    assert (package / "example" / "main.c").is_file() and not (package / "Makefile").exists()
    assert os.listdir(tmp_path) == ["p"]


def test_what_was_edited_is_not_overwritten(contents: Contents, tmp_path: Path) -> None:
    package = tmp_path / "p"
    write_package(package, find_form("makefile"), contents)
    (package / "CMakeLists.txt").write_text("# mine\n")
    (package / "Makefile").write_text("# mine\n")
    before = tree(package)
    error = refused("E720", package, contents, "cmake")
    assert set(error.details) == {"CMakeLists.txt", "Makefile"}
    assert tree(package) == before and os.listdir(tmp_path) == ["p"]


@pytest.mark.parametrize("marker", [None, b"", b"[]", b"{}", b"\xff", b'{"files": 3, "form": "x"}'])
def test_folders_of_others(contents: Contents, tmp_path: Path, marker: bytes | None) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "thesis.tex").write_text("dear")
    if marker is not None:
        (folder / MARKER).write_bytes(marker)
    before = tree(folder)
    refused("E703", folder, contents)
    assert tree(folder) == before


def test_archives(contents: Contents, tmp_path: Path) -> None:
    path = tmp_path / "digits.zip"
    for _ in range(2):  # an archive of ours may be replaced
        write_package(path, find_form("cmake"), contents)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {n.split("/")[0] for n in archive.namelist()} == {"digits"}
    for data in (b"dear", b"PK\x05\x06" + bytes(18), b""):
        path.write_bytes(data)
        refused("E703", path, contents)
        assert path.read_bytes() == data
    refused("E721", tmp_path / "digits.tar", contents)
    refused("E721", tmp_path / "digits.pack", contents, "cmake")
    (tmp_path / "folder.zip").mkdir()
    refused("E703", tmp_path / "folder.zip", contents)
    assert sorted(os.listdir(tmp_path)) == ["digits.zip", "folder.zip"]


def test_a_name_that_a_form_does_not_take(contents: Contents, tmp_path: Path) -> None:
    long = replace(contents, name="m" * 64)
    assert "64 characters" in refused("E723", tmp_path / "p", long).message
    assert not list(tmp_path.iterdir())


def test_sources_that_are_missing(digits: Output, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(digits.path, folder)
    (folder / "src" / "digits.c").unlink()
    with pytest.raises(EdgekitError, match=r"not digits\.c") as caught:
        read_contents(folder)
    assert caught.value.code == "E722"


def test_the_command(digits: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "p"
    arguments = ["export", str(digits.path), "--as", "cmake", "-o", str(package)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert (
        "CMake package of digits 0.1.0 (aot, cortex-m4)" in said
        and "built with CMake and run for the machine" in said
    )
    (package / "mine.txt").write_text("hello")
    assert main(arguments) == 0
    assert "kept 1 files" in capsys.readouterr().out
    assert main([*arguments, "--json", "-"]) == 0
    assert '"kept": [\n  "mine.txt"\n ]' in capsys.readouterr().out


def test_the_command_refuses(
    digits: Output, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(status: int, *arguments: object) -> str:
        assert main(["export", *map(str, arguments)]) == status
        return capsys.readouterr().err

    package = tmp_path / "p"
    assert "E701" in said(1, tmp_path, "--as", "cmake", "-o", package)
    assert "'cmake'" in said(2, digits.path, "--as", "cmak", "-o", package)
    assert "E703" in said(1, digits.path, "--as", "cmake", "-o", digits.path)
    assert "E724" in said(1, digits.path, "--as", "cmake", "-o", digits.path / "package")
    assert "E704" in said(1, digits.path, "--as", "cmake", "-o", "/proc/none/package")
    assert not package.exists()


@pytest.mark.parametrize(
    "about",
    [
        {"author": ""},
        {"author": "a\nb"},
        {"author": 'a "b"'},
        {"url": "ftp://x"},
        {"url": "https://a b"},
        {"url": "https://a/<b>"},
        {"version": "1.2"},
        {"version": "v1.2.3"},
        {"author": "x" * 201},
    ],
)
def test_texts_that_no_registry_takes(about: dict[str, str]) -> None:
    with pytest.raises(EdgekitError) as caught:
        About(**about)
    assert caught.value.code == "E725"


def test_who_publishes_it(digits: Output) -> None:
    about = About("Ada <ada@example.com>", "https://example.com/digits", "3.2.1")
    contents = read_contents(digits.path, about=about)
    assert (contents.version, contents.edgekit) == ("3.2.1", "0.1.0")
    for form, manifest in (
        ("arduino", "library.properties"),
        ("platformio", "library.json"),
        ("esp-idf", "idf_component.yml"),
    ):
        text = find_form(form).files(contents)[manifest].decode()
        assert "Ada <ada@example.com>" in text and "https://example.com/digits" in text
        assert "3.2.1" in text
    assert "VERSION 3.2.1" in find_form("cmake").files(contents)["CMakeLists.txt"].decode()


@pytest.mark.parametrize("name", ["", "_x", "m" * 64, "signal"])
def test_names_are_checked_before_anything_is_written(
    name: str, contents: Contents, tmp_path: Path
) -> None:
    models = (replace(contents.models[0], name=name),)
    refused("E723", tmp_path / "p", replace(contents, name=name, models=models))
    assert not list(tmp_path.iterdir())


def test_the_folder_that_one_is_in_stays(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused("E724", Path(), contents)
    assert not list(tmp_path.iterdir())
