"""Packages of several models that share one arena."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaged import run
from state_graphs import accumulator, compiled_graph
from tools import need

from edgekit.errors import EdgekitError
from edgekit.joining import join
from edgekit.output import Output
from edgekit.packages import FORMS, MARKER, MODES, find_form, read_contents, write_package


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory, digits: Output) -> Path:
    """A running sum, which has a state, and the digits sample in one arena."""
    base = tmp_path_factory.mktemp("joint")
    other = compiled_graph(accumulator([5, -7, 100, 3]), base / "sum").path
    return join([other, digits.path], base / "2 models").path


@pytest.mark.apt
@pytest.mark.parametrize("mode", MODES)
def test_the_example_runs_all_of_them(mode: str, joint: Path, tmp_path: Path) -> None:
    need("make", "gcc")
    package = write_package(tmp_path / "p", find_form("makefile"), read_contents(joint, mode)).path
    said = run("make", "-j2", "OPT=-O0", "run", cwd=package)
    assert "edgekit: 14 of 14 bytes equal" in said  # 4 sums, 10 scores
    about = json.loads((package / MARKER).read_text())
    assert about["name"] == "m_2_models" and set(about["models"]) == {"accumulator", "digits"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", MODES)
def test_every_form_has_every_model(form: str, mode: str, joint: Path) -> None:
    contents = read_contents(joint, mode)
    files = find_form(form).files(contents)
    for model in ("accumulator", "digits"):
        assert (f"src/{model}.c" in files) == (mode == "aot")
        assert (f"src/{model}_bundle.c" in files and f"{model}.ekb" in files) == (mode != "aot")
        assert f"{model}: input" in files["README.md"].decode()
    assert "src/ek_models.c" in files and "src/model_config.h" not in files
    assert "one arena" in files["README.md"].decode()
    assert contents.arena_bytes < sum(m.bundle.arena_bytes for m in contents.models)


def test_one_of_them_alone(joint: Path) -> None:
    contents = read_contents(joint / "digits")
    assert [m.name for m in contents.models] == ["digits"] and not contents.joint


@pytest.mark.parametrize("models", ['["x"]', "[1]", '["../x"]', "[]", "3"])
def test_damage(models: str, tmp_path: Path) -> None:
    (tmp_path / "edgekit.json").write_text(f'{{"models": {models}, "edgekit": "0.1.0"}}')
    with pytest.raises(EdgekitError) as caught:
        read_contents(tmp_path)
    assert caught.value.code in ("E347", "E701")
