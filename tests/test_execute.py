"""Samples through a compiled model: numpy, this machine and the virtual board agree."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit import data
from edgekit.bundle import write_bundle
from edgekit.errors import EdgekitError
from edgekit.execute import REFERENCE_BATCH, build, execute, session
from edgekit.output import BUNDLE, Output, open_output
from samples.digits import EVALUATION
from targets import board

COUNT = REFERENCE_BATCH + 8  # more than one batch, the last one not full


@pytest.fixture(autouse=True)
def boards_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def samples(digits: Output) -> dict[str, np.ndarray]:
    graph = digits.graph
    arrays = data.load(EVALUATION, graph).arrays
    real = data.quantize_inputs(graph, {k: v[:COUNT] for k, v in arrays.items()})
    chance = np.random.default_rng(1)
    # Real digits and noise over the whole range.
    return {
        k: np.concatenate([v, chance.integers(-128, 128, v.shape).astype(np.int8)])
        for k, v in real.items()
    }


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
def test_host_and_reference_agree(
    digits: Output, samples: dict[str, np.ndarray], mode: str
) -> None:
    wanted = execute(digits, samples, "reference")
    found = execute(digits, samples, "host", mode=mode)
    assert list(found) == list(wanted) == list(digits.graph.outputs)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype == np.int8
        assert len(array) == 2 * COUNT
        np.testing.assert_array_equal(found[name], array)


def test_a_virtual_board_agrees(
    digits: Output, samples: dict[str, np.ndarray], tmp_path: Path
) -> None:
    folder = open_output(Path(shutil.copytree(digits.path, tmp_path / "out")))
    few = {k: v[::16] for k, v in samples.items()}
    wanted = execute(folder, few, "reference")
    for name, array in execute(folder, few, "virtual-cortex-m4").items():
        np.testing.assert_array_equal(array, wanted[name])


def test_a_board_is_flashed_only_where_it_runs_something_else(
    digits: Output, tmp_path: Path
) -> None:
    folder = open_output(Path(shutil.copytree(digits.path, tmp_path / "out")))
    virtual = board("virtual-cortex-m4")

    def flashes(mode: str) -> bool:
        stages: list[str] = []
        with session(
            folder, virtual, mode=mode, progress=lambda stage, share: stages.append(stage)
        ) as device:
            hello = device.hello()
        assert (hello.mode, hello.model_hash) == (mode, folder.bundle.hash)
        return f"flashing {virtual.name}" in stages

    modes = ("interpreter", "interpreter", "aot", "aot", "interpreter")
    assert [flashes(mode) for mode in modes] == [True, False, True, False, True]


def test_a_board_with_another_cpu_is_refused(digits: Output) -> None:
    virtual = board("virtual-cortex-m4")
    other = replace(virtual, target=replace(virtual.target, name="cortex-m99"))
    with pytest.raises(EdgekitError, match="is compiled for cortex-m4") as caught:
        build(digits, other)
    assert caught.value.code == "E620"
    assert caught.value.help == "compile with --target cortex-m99"


def test_golden_samples_are_what_every_place_gives(digits: Output) -> None:
    (tensor,) = digits.bundle.inputs
    for golden in digits.bundle.golden:
        feeds = {tensor.name: np.frombuffer(golden.inputs[0], np.int8).reshape(tensor.shape)}
        for where in ("reference", "host"):
            found = execute(digits, feeds, where)
            assert [a.tobytes() for a in found.values()] == list(golden.outputs)


def test_progress_counts_up(digits: Output, samples: dict[str, np.ndarray]) -> None:
    seen: list[float] = []
    execute(digits, samples, "host", progress=lambda stage, share: seen.append(share))
    assert seen == sorted(seen) and len(seen) == 2 * COUNT and 0 <= seen[0] <= seen[-1] < 1


def test_an_unknown_place(digits: Output, samples: dict[str, np.ndarray]) -> None:
    with pytest.raises(EdgekitError) as caught:
        execute(digits, samples, "virtual-cortex-m44")
    assert "virtual-cortex-m4" in str(caught.value)


def test_a_bundle_is_checked_before_c_sees_it(
    digits: Output, samples: dict[str, np.ndarray], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(digits.path, tmp_path / "out"))
    whole = (folder / BUNDLE).read_bytes()
    (folder / BUNDLE).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(EdgekitError) as caught:
        execute(open_output(folder), samples, "host")
    assert caught.value.code == "E404"
    (folder / BUNDLE).write_bytes(write_bundle(digits.bundle))
    execute(open_output(folder), {k: v[:1] for k, v in samples.items()}, "host")
