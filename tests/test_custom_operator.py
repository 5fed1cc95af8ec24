"""docs/ADDING_AN_OPERATOR.md: the package on that page, used as its reader would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "ADDING_AN_OPERATOR.md"
FILE = re.compile(r"^#### (\S+)\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on Python's path with the package as pip would leave it."""
    folder = tmp_path_factory.mktemp("site")
    files = dict(FILE.findall(PAGE.read_text()))
    assert set(files) == {
        "pyproject.toml", "bump_ops/operator.py", "bump_ops/kernel.py", "bump_ops/importer.py",
    }  # fmt: skip
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "bump_ops" / "__init__.py").touch()
    # What installing makes of pyproject.toml, without the network that pip would ask.
    info = folder / "bump_ops-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bump-ops\nVersion: 1.0\n")
    section = files["pyproject.toml"].split("[project.entry-points.", 1)[1]
    group, lines = section.split("]\n", 1)
    entries = lines.replace('"', "")
    (info / "entry_points.txt").write_text(f"[{group.strip(chr(34))}]\n{entries}")
    return folder


def edgekit(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "edgekit", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    r = np.random.default_rng(0)
    w = onnx.numpy_helper.from_array(r.normal(0, 0.5, (6, 8)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["t"], transB=1, name="dense"),
        helper.make_node("Bump", ["t"], ["y"], domain="com.example", name="bump"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])
    graph = helper.make_graph(nodes, "bumps", [x], [y], [w])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    path = tmp_path_factory.mktemp("model") / "bumps.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def test_it_is_listed(site: Path) -> None:
    ours = json.loads(edgekit(site, "ops", "--json", "-").stdout)
    assert {"operator": "bump", "kernels": "c99"}.items() <= next(
        o for o in ours if o["operator"] == "bump"
    ).items()
    theirs = json.loads(edgekit(site, "ops", "--of", "onnx", "--json", "-").stdout)
    assert {"operator": "com.example::Bump", "accepted": "Real operands of any shape"} in theirs


def test_without_the_package_the_node_is_named(model: Path, tmp_path: Path) -> None:
    found = edgekit(tmp_path, "check", model)
    assert found.returncode == 1 and "com.example" in found.stdout


def test_it_runs_on_the_virtual_board(site: Path, model: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (32, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    out = tmp_path / "out"
    made = edgekit(site, "compile", model, "--calibration", tmp_path / "x.npz", "-o", out,
                   "--activation-bits", "16")  # fmt: skip
    assert made.returncode == 0, made.stderr
    results = []
    for where in ("reference", "host", "virtual-cortex-m4"):
        np.savez(tmp_path / "few.npz", x=x[:4])
        ran = edgekit(site, "run", out, "--input", tmp_path / "few.npz", "--on", where,
                      "--raw", "--output", tmp_path / f"{where}.npz")  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        results.append(np.load(tmp_path / f"{where}.npz")["y"])
    assert results[0].dtype == "int16" and len(np.unique(results[0])) > 4
    for found in results[1:]:
        np.testing.assert_array_equal(found, results[0])


def test_a_package_that_breaks_is_named(site: Path, tmp_path: Path) -> None:
    (tmp_path / "broken_ops").mkdir()
    (tmp_path / "broken_ops" / "__init__.py").touch()
    (tmp_path / "broken_ops" / "operator.py").write_text("raise RuntimeError('no such thing')\n")
    info = tmp_path / "broken_ops-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-ops\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgekit.operators]\nbroken = broken_ops\n")
    found = edgekit(tmp_path, "ops")
    assert found.returncode == 1 and "E192" in found.stderr and "broken" in found.stderr
