"""Samples through a compiled model: numpy, this machine and the virtual board agree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from state_graphs import accumulator, compiled_graph

import edgekit.execute as execute_module
from edgekit import data
from edgekit.bundle import write_bundle
from edgekit.devices.emulators import stored
from edgekit.devices.firmware.model import HostModel
from edgekit.errors import EdgekitError
from edgekit.execute import HOST_BATCH, REFERENCE_BATCH, build, execute, session
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
        return any(stage.startswith(f"flashing {virtual.name}") for stage in stages)

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
    assert seen == sorted(seen) and len(seen) == -(-2 * COUNT // HOST_BATCH)
    assert 0 < seen[0] < seen[-1] == 1


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


@pytest.mark.parametrize("code", ["E606", "E607", "E612"])
def test_a_board_of_another_version_is_flashed_again(
    digits: Output, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """As one that is empty or does not answer; other failures are told."""
    honest, tries = execute_module.connect, []

    def refuses_once(*arguments: object, **options: object) -> object:
        tries.append(code)
        if len(tries) == 1:
            raise EdgekitError(code, "not ours")
        return honest(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(execute_module, "connect", refuses_once)
    with session(digits, board("virtual-cortex-m4")) as device:
        assert device.hello().model_hash == digits.bundle.hash
    tries.clear()
    code = "E608"
    with pytest.raises(EdgekitError, match="not ours"), session(digits, board("virtual-cortex-m4")):
        pass


HOLD = """
import sys
from edgekit.devices.emulators.stored import exclusive
from targets import board
with exclusive(board("virtual-cortex-m4"), "virtual"):
    print("have it", flush=True)
    sys.stdin.read()
"""


def test_two_commands_take_turns_on_one_emulated_board(digits: Output) -> None:
    one = board("virtual-cortex-m4")
    said: list[str] = []
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin is not None and other.stdout is not None
    with other:
        assert other.stdout.readline() == b"have it\n"

        def tell(stage: str, share: float) -> None:
            said.append(stage)
            if "waiting" in stage:
                assert not said[:-1] or "flashing" not in said[-2]
                other.stdin.close()  # type: ignore[union-attr]

        with session(digits, one, progress=tell) as device:
            assert device.hello().model_hash == digits.bundle.hash
            with stored.exclusive(one, "virtual"):  # its own thread may, again
                pass
    assert said.count("waiting for virtual-cortex-m4: another edgekit has it") == 1


def test_no_turns_where_nothing_can_be_flashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "file"))
    with stored.exclusive(board("virtual-cortex-m4"), "virtual"):
        pass


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
def test_instances_on_this_machine_share_no_memory(tmp_path: Path, mode: str) -> None:
    folder = compiled_graph(accumulator([5, -7, 100, 3]), tmp_path / "out")
    bundle = (folder.path / BUNDLE).read_bytes()
    first = HostModel(folder.sources, folder.name, bundle, mode)
    second = first.another()
    x = np.arange(4, dtype=np.int8).tobytes()
    for model in (first, second):
        model.reset()
    once = [second.run([x]) for _ in range(3)]
    for _ in range(5):
        first.run([x])
    second.reset()
    assert [second.run([x]) for _ in range(3)] == once
    assert first.run([x]) != once[0]


def test_samples_of_a_model_without_states_are_shared_out(
    digits: Output, samples: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of cores: every sample once, in order."""
    wanted = execute(digits, samples, "reference")
    made: list[HostModel] = []
    another = HostModel.another

    def counted(model: HostModel) -> HostModel:
        made.append(another(model))
        return made[-1]

    monkeypatch.setattr(HostModel, "another", counted)
    for cores in (1, 3, 64):
        monkeypatch.setattr(execute_module.os, "cpu_count", lambda cores=cores: cores)
        found = execute(digits, samples, "host")
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)
    most = -(-2 * COUNT // HOST_BATCH)
    assert len(made) == 0 + 2 + most - 1
