"""The output folder: whole or not there, ours or not touched."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, GRAPH, MARKER, Output, check_writable, open_output, write_output

ABOUT = {"name": "m", "target": "cortex-m4"}
FILES: dict[str, bytes | str] = {
    BUNDLE: b"\0\1",
    GRAPH: "text é\n",
    "src/deep/kernels.c": "int x;\n",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def code(path: Path, files: dict[str, bytes | str] = FILES) -> str:
    with pytest.raises(EdgekitError) as caught:
        write_output(path, files, ABOUT)
    return caught.value.code


def test_written_and_opened(tmp_path: Path) -> None:
    written = write_output(tmp_path / "a" / "b" / "out", FILES, ABOUT)
    assert (written.name, written.target) == ("m", "cortex-m4")
    found = contents(written.path)
    found.pop(MARKER)
    assert found == {k: v.encode() if isinstance(v, str) else v for k, v in FILES.items()}
    assert open_output(written.path).description == ABOUT
    assert os.listdir(tmp_path / "a" / "b") == ["out"]


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_output(Path("out"), FILES, ABOUT).path == tmp_path / "out"


def test_an_older_output_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_output(out, {**FILES, "src/gone.c": "old"}, ABOUT)
    (out / "firmware").mkdir()
    (out / "firmware" / "board.elf").write_bytes(b"built from the old one")
    write_output(out, FILES, ABOUT)
    assert set(contents(out)) == {*FILES, MARKER}
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_output(tmp_path / "out", FILES, ABOUT)
    assert set(contents(tmp_path / "out")) == {*FILES, MARKER}


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "home"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("dear")
    hidden = tmp_path / "repo"
    (hidden / ".git").mkdir(parents=True)
    file = tmp_path / "file"
    file.write_text("dear")
    ours = write_output(tmp_path / "ours", FILES, ABOUT).path
    link = tmp_path / "link"
    link.symlink_to(ours, target_is_directory=True)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)
    for path in (foreign, hidden, file, link, dangling):
        with pytest.raises(EdgekitError) as caught:
            check_writable(path)
        assert caught.value.code == code(path) == "E703"
    assert contents(tmp_path) == before
    assert link.is_symlink() and dangling.is_symlink()


def test_a_file_where_a_parent_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    assert code(tmp_path / "file" / "out") in {"E703", "E704"}
    assert contents(tmp_path) == {"file": b"dear"}


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert code(tmp_path / ("x" * 300)) == "E704"
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may do anything")
def test_folders_without_rights(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    assert code(closed / "out") == "E704"
    closed.chmod(0)
    with pytest.raises(EdgekitError) as caught:
        check_writable(closed)
    assert caught.value.code == "E704"
    closed.chmod(0o700)


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("stage", ["a file", "the rename"])
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool, stage: str
) -> None:
    """Disk full in the middle, and a rename that fails after the older folder went aside."""
    out = tmp_path / "out"
    if older:
        write_output(out, {BUNDLE: b"old"}, ABOUT)
    before = contents(tmp_path)
    real_write, real_replace = Path.write_bytes, os.replace

    def write(self: Path, data: bytes) -> int:
        if self.name == "kernels.c":
            raise OSError(28, "No space left on device")
        return real_write(self, data)

    def replace(source: Path, to: Path) -> None:
        if Path(to) == out and "part-" in Path(source).name and ".old" not in Path(source).name:
            raise OSError(39, "Directory not empty")
        real_replace(source, to)

    if stage == "a file":
        monkeypatch.setattr(Path, "write_bytes", write)
    else:
        monkeypatch.setattr(os, "replace", replace)
    assert code(out) == "E704"
    assert contents(tmp_path) == before


def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Path, data: bytes) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_output(tmp_path / "out", FILES, ABOUT)
    assert os.listdir(tmp_path) == []


def test_nobody_sees_half_an_output(tmp_path: Path) -> None:
    """Whoever looks while it is rewritten finds no folder or a whole one."""
    out = tmp_path / "out"
    many: dict[str, bytes | str] = {f"src/{i}.c": str(i) for i in range(40)}
    looks: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            try:
                before = os.stat(out)
                files = len(os.listdir(out / "src")) + (out / MARKER).is_file()
                after = os.stat(out)
            except FileNotFoundError:
                continue
            # Otherwise the folder was exchanged while it was looked at.
            if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
                looks.append(files)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(40):
        write_output(out, many, ABOUT)
    done.set()
    watcher.join()
    assert set(looks) == {len(many) + 1}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    "marker", [None, b"", b"[]", b"{}", b'{"name": "m"}', b"\xff\xfe", b'{"target": 1}']
)
def test_folders_that_are_not_ours_do_not_open(tmp_path: Path, marker: bytes | None) -> None:
    if marker is not None:
        (tmp_path / MARKER).write_bytes(marker)
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(EdgekitError) as caught:
            open_output(path)
        assert caught.value.code == "E701"
        damaged = path == tmp_path and marker is not None
        assert ("damaged" in caught.value.message) == damaged


def test_damage_is_an_error_with_a_code(digits: Output, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(digits.path, folder)
    for name, read, damages in (
        (BUNDLE, "bundle", {None: "E702", b"": "E401", b"garbage that is long": "E401"}),
        (GRAPH, "graph", {None: "E702", b"\xff\xff": "E702", b"": "E108", b"graph": "E108"}),
    ):
        original = (folder / name).read_bytes()
        for data, wanted in damages.items():
            if data is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(data)
            with pytest.raises(EdgekitError) as caught:
                getattr(open_output(folder), read)
            assert caught.value.code == wanted, (name, data)
        (folder / name).write_bytes(original)
    (folder / "src" / "registry.c").write_text("")
    with pytest.raises(EdgekitError, match="7 kernels that") as caught:
        open_output(folder).check_kernels()
    assert caught.value.code == "E406"
