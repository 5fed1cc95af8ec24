"""Folders that do not go into one library, and places that a library cannot be written to."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from libraries import folder_of, net, streaming

from edgekit.cli import main
from edgekit.errors import EdgekitError
from edgekit.library import MARKER, build, link
from edgekit.library.members import opened
from edgekit.output import MARKER as FOLDER_MARKER
from edgekit.output import Output


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Output]:
    base = tmp_path_factory.mktemp("folders")
    graphs = {
        "a53": (net(), "cortex-a53"),
        "again": (net(), "cortex-a53"),
        "a76": (net(), "cortex-a76"),
        "plain": (net(), "linux-aarch64"),
        "numbers": (net(seed=1), "cortex-a76"),
        "hop": (streaming(), "cortex-a76"),
        "pc": (net(), "linux-x86_64"),
        "m4": (net(), "cortex-m4"),
        "gpu": (net(), "gpu-aarch64"),
    }
    return {k: folder_of(g, base / k, target) for k, (g, target) in graphs.items()}


@pytest.mark.parametrize(
    ("names", "code", "what"),
    [
        (("a53", "again"), "E372", "both for cortex-a53"),
        (("a53", "a53"), "E372", "both for cortex-a53"),
        (("a53", "numbers"), "E371", "different numbers"),
        (("a53", "hop"), "E371", "is model 'net', .* is model 'hop'"),
        (("a53", "pc"), "E373", "is for aarch64 .* for x86_64"),
        (("m4",), "E373", "cortex-m4, which has no Linux"),
    ],
)
def test_folders_that_do_not_go_together(
    folders: dict[str, Output], names: tuple[str, ...], code: str, what: str
) -> None:
    with pytest.raises(EdgekitError, match=what) as caught:
        opened([folders[name].path for name in names])
    assert caught.value.code == code


def test_the_best_comes_first(folders: dict[str, Output]) -> None:
    found = opened([folders[name].path for name in ("plain", "a76", "gpu", "a53")])
    want = ["cortex-a76", "cortex-a53", "gpu-aarch64", "linux-aarch64"]
    assert [f.target for f in found] == want


def changed(folder: Output, path: Path, **description: object) -> Path:
    shutil.copytree(folder.path, path)
    about = {**folder.description, **description}
    (path / FOLDER_MARKER).write_text(json.dumps(about))
    return path


def test_versions(folders: dict[str, Output], tmp_path: Path) -> None:
    old = changed(folders["a76"], tmp_path / "old", edgekit="0.0.1")
    with pytest.raises(EdgekitError, match=r"edgekit 0\.1\.0, .* by 0\.0\.1") as caught:
        build([folders["a53"].path, old], tmp_path / "lib")
    assert caught.value.code == "E374"


def test_damaged_folders(
    folders: dict[str, Output], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["library", str(tmp_path / "none")]) == 1
    assert "E701" in capsys.readouterr().err
    cases = {"model.ekb": "E40", "graph.txt": "E108", "src/registry.c": "E406"}
    for file, code in cases.items():
        path = changed(folders["a53"], tmp_path / Path(file).name)
        whole = (path / file).read_bytes()
        (path / file).write_bytes(whole[: len(whole) // 2])
        assert main(["library", str(path), "-o", str(tmp_path / "lib")]) == 1
        assert code in capsys.readouterr().err, file
    other = changed(folders["a53"], tmp_path / "other", options={"optimize": 3})
    assert main(["library", str(other), "-o", str(tmp_path / "lib")]) == 1
    assert "E348" in capsys.readouterr().err
    assert not (tmp_path / "lib").exists()


def test_places_that_are_not_ours(folders: dict[str, Output], tmp_path: Path) -> None:
    path = folders["pc"].path
    with pytest.raises(EdgekitError) as caught:
        build([path], path)  # would replace the folder that it reads
    assert caught.value.code == "E703"
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgekitError) as caught:
        build([path], tmp_path / "file")
    assert caught.value.code == "E703"
    if os.getuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(EdgekitError) as caught:
            build([path], tmp_path / "lib")
        tmp_path.chmod(0o700)
        assert caught.value.code == "E704"


def test_nothing_half_written(
    folders: dict[str, Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle leaves the library that was there, and nothing besides."""
    out = tmp_path / "lib"
    build([folders["pc"].path], out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert MARKER in before

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(link, "static_library", interrupted)
    assert main(["library", str(folders["pc"].path), "-o", str(out)]) == 130
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["lib"]


def test_threads_are_for_linux(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["compile", "model.onnx", "-o", str(tmp_path / "out"), "--threads"]
    assert main([*model, "2"]) == 1
    assert "E370 2 threads for target 'cortex-m4', which has 1" in capsys.readouterr().err
    assert main([*model, "17", "--target", "cortex-a53"]) == 1
    said = capsys.readouterr().err
    assert "E370 17 threads for target 'cortex-a53', which may be 1 to 16" in said
    assert "help: --threads 1 to 16" in said
