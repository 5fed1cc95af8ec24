"""PyTorch modules and .pt2 files: the same numbers as PyTorch, and no code is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torches import need_torch_export

import edgekit
from edgekit.cli import main
from edgekit.data import prepare, to_declared_layout
from edgekit.errors import EdgekitError
from edgekit.frontends.archive import Archive, pack
from edgekit.frontends.pt2 import cleaned
from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.reference import run

torch = need_torch_export()
nn = torch.nn


class Net(nn.Module):  # type: ignore[misc, name-defined]
    """Two inputs; results by name, one of them like an operator and one nested."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)

    def forward(self, image: Any, more: Any) -> Any:
        h = torch.relu(self.norm(self.conv(image)))
        pooled = nn.functional.avg_pool2d(h, 4).flatten(1)
        scores = self.head(self.drop(pooled)) + more
        return {"relu": scores, "rest": [pooled, more + 1.0]}


EXAMPLE = (torch.zeros(1, 3, 8, 8), torch.zeros(1, 4))


@pytest.fixture(scope="module")
def net() -> Any:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.norm.running_mean.uniform_(-1, 1)
        net.norm.running_var.uniform_(0.5, 2)
    return net


@pytest.fixture(scope="module")
def graph(net: Any) -> Graph:
    return edgekit.from_torch(net, EXAMPLE)


def outputs(graph: Graph, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    got = run(graph, {k: v.astype(np.float32) for k, v in prepare(graph, arrays).items()})
    return {name: to_declared_layout(graph, name, got[name]) for name in graph.outputs}


def check(graph: Graph, net: Any) -> None:
    rng = np.random.default_rng(0)
    image, more = (rng.standard_normal(x.shape).astype(np.float32) for x in EXAMPLE)
    net.eval()
    with torch.no_grad():
        want = net(torch.from_numpy(image), torch.from_numpy(more))
    got = outputs(graph, {"image": image, "more": more})
    expected = {"relu": want["relu"], "rest_0": want["rest"][0], "rest_1": want["rest"][1]}
    assert list(got) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-5, atol=1e-5)


def test_same_numbers_and_names(net: Any, graph: Graph) -> None:
    assert (graph.name, graph.inputs) == ("net", ["image", "more"])
    check(graph, net)


def test_the_module_stays_as_it_was(graph: Graph) -> None:
    net = Net().train()
    net.norm.eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    edgekit.from_torch(net, {"image": EXAMPLE[0], "more": EXAMPLE[1]}, name="My net")
    assert net.training and net.head.training and not net.norm.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_program_and_a_tensor(net: Any) -> None:
    program = torch.export.export(net.eval(), EXAMPLE)
    check(edgekit.from_torch(program), net)
    single = edgekit.from_torch(nn.Sequential(nn.Linear(4, 2), nn.Tanh())[:1], torch.zeros(1, 4))
    assert (single.inputs, single.outputs) == (["input"], ["output"])
    assert single.name == "sequential"


def test_compile_takes_the_graph(graph: Graph, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    samples = {"image": rng.random((8, 3, 8, 8)), "more": rng.random((8, 4))}
    done = edgekit.compile(graph, output=tmp_path / "out", calibration=samples)
    assert done.report.name == "net"
    assert (tmp_path / "out" / "model.ekb").is_file()
    with pytest.raises(EdgekitError, match="'net' is a graph") as refusal:
        edgekit.compile(graph, output=tmp_path / "no", calibration=samples, bind={"n": 1})
    assert refusal.value.code == "E104"


class Branches(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "example", "word"),
    [
        (Net(), None, "needs example inputs"),
        (Net(), EXAMPLE[:1], "torch.export refuses Net"),
        (Branches(), torch.zeros(1, 4), "torch.export refuses Branches"),
        (len, torch.zeros(1), "not a builtin"),
    ],
)
def test_refusals(module: Any, example: Any, word: str) -> None:
    with pytest.raises(EdgekitError, match=word) as refusal:
        edgekit.from_torch(module, example)
    assert refusal.value.code == "E165"


class Counting(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, 4))

    def forward(self, x: Any) -> Any:
        self.seen.copy_(self.seen + x)
        return self.seen * 2.0


def test_state_is_refused_not_dropped() -> None:
    with pytest.raises(EdgekitError, match="changes 'seen' in place") as refusal:
        edgekit.from_torch(Counting(), torch.zeros(1, 4))
    assert refusal.value.code == "E162"


class Determinant(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return torch.linalg.det(x.reshape(1, 2, 2))


def test_unsupported_operators_are_listed_under_the_name_of_the_class() -> None:
    with pytest.raises(EdgekitError, match="Determinant: 1 node") as refusal:
        edgekit.from_torch(Determinant(), torch.zeros(1, 4))
    assert refusal.value.code == "E102"
    assert "(Det)" in refusal.value.details[0]


@pytest.fixture(scope="module")
def saved(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "net.pt2"
    torch.export.save(torch.export.export(net.eval(), EXAMPLE), str(path))
    return path


def test_pt2_files(saved: Path, net: Any) -> None:
    graph = load(saved)
    assert graph.name == "net"
    check(graph, net)


def test_pt2_on_the_command_line(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    data = tmp_path / "data.npz"
    np.savez(data, image=rng.random((8, 3, 8, 8)), more=rng.random((8, 4)))
    out = tmp_path / "out"
    assert main(["compile", str(saved), "--calibration", str(data), "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert "net for cortex-m4" in said.out and "wrote" in said.out
    assert said.err == ""


def test_torch_would_run_what_is_left_behind(saved: Path, tmp_path: Path) -> None:
    """The control: torch.export.load executes the sample inputs of a file."""
    mark = tmp_path / "mark"

    class Touch:
        def __reduce__(self) -> object:
            return (Path.touch, (mark,))

    archive = Archive(saved.read_bytes(), "net.pt2")
    files = {name: archive.read(name) for name in archive.sizes}
    inputs = next(name for name in files if name.endswith("sample_inputs/model.pt"))
    files[inputs] = pickle.dumps(Touch(), 2)
    trojan = tmp_path / "trojan.pt2"
    trojan.write_bytes(pack(files))
    safe = tmp_path / "safe.pt2"
    safe.write_bytes(cleaned(trojan.read_bytes(), "trojan.pt2"))
    torch.export.load(safe)
    assert not mark.exists()
    with pytest.raises(Exception):  # noqa: B017
        torch.export.load(trojan)
    assert mark.exists()


def test_torchscript_and_pickles_of_torch(tmp_path: Path, net: Any) -> None:
    torch.save(net.state_dict(), tmp_path / "state.pt")
    torch.save(net, tmp_path / "module.pth")
    torch.jit.trace(nn.Linear(4, 2), torch.zeros(1, 4)).save(str(tmp_path / "script.pt"))
    for name in ("state.pt", "module.pth", "script.pt"):
        with pytest.raises(EdgekitError) as refusal:
            load(tmp_path / name)
        assert refusal.value.code == "E161", name
