"""The tuner on PoCL: measured, kept, taken, gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from click.testing import CliRunner

from edgekit.cli import cli
from edgekit.devices.gpu import Timing
from edgekit.devices.session import Session
from edgekit.errors import EdgekitError
from edgekit.execute import session
from edgekit.output import Output
from edgekit.tuning.candidates import candidates
from edgekit.tuning.tune import tune
from targets import board

pytestmark = pytest.mark.apt
ON = board("gpu-pocl")


def test_a_cpu_is_refused(folder: Output) -> None:
    with pytest.raises(EdgekitError, match="times say nothing") as caught:
        tune(folder, ON, seconds=1)
    assert caught.value.code == "E380"
    assert not (folder.path / "tuning").exists()


def second_variants(folder: Output) -> Iterator[tuple[int, str]]:
    """Layers with a second variant, and its name."""
    gpu = folder.bundle.gpu
    assert gpu is not None
    for i, layer in enumerate(gpu.layers):
        if layer.variant_count > 1:
            variant = gpu.variants[layer.first_variant + 1]
            yield i, gpu.string(variant.name, variant.name_bytes)


def test_a_choice_is_kept_and_taken(folder: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are made up here, so that it is known what must be chosen: the slowest by nature."""
    real = Session.time_variant

    def made_up(
        self: Session, layer: int, variant: int, sizes: Sequence[int], repeat: int = 5
    ) -> Timing:
        found = real(self, layer, variant, sizes, 1)
        fast = variant == 1 and not any(sizes)
        return Timing(found.verdict, found.detail, 10 if fast else 1000)

    monkeypatch.setattr(Session, "time_variant", made_up)
    tuned = tune(folder, ON, allow_cpu=True)
    assert tuned.left == 0 and tuned.measured == len(candidates(folder.bundle.gpu))  # type: ignore[arg-type]
    assert tuned.is_cpu and tuned.choices.read_bytes().startswith(b"edgekit-tuning 1\n")
    seconds = dict(second_variants(folder))
    chosen = {i: name for i, (_, name, *_) in enumerate(tuned.layers) if seconds.get(i) == name}
    assert chosen
    with session(folder, ON) as opened:
        assert not opened.gpu().said
        for i, name in chosen.items():
            assert opened.gpu().layers[i].partition(";")[0] == name
    # Everything is known: nothing is measured again.
    monkeypatch.setattr(Session, "time_variant", lambda *a, **k: pytest.fail("measured again"))
    assert tune(folder, ON, allow_cpu=True).layers == tuned.layers


def test_interrupted_it_goes_on(folder: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the middle, then a device that is lost, then a run to the end."""
    real, calls = Session.time_variant, []

    def interrupted(self: Session, *args: object, **options: object) -> Timing:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "time_variant", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(folder, ON, repeat=1, allow_cpu=True)
    (path,) = (folder.path / "tuning").glob("*.json")
    assert len(json.loads(path.read_text())["measured"]) == 3
    assert not list(path.parent.glob("*.ektune"))

    def lost(self: Session, *args: object, **options: object) -> Timing:
        calls.append(args)
        if len(calls) == 6:
            raise EdgekitError("E607", "no answer")
        return real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "time_variant", lost)
    tuned = tune(folder, ON, repeat=1, allow_cpu=True)
    assert tuned.left == 0
    assert sum(text.endswith("did not end") for text in tuned.wrong) == 1
    # Each candidate once, but for the one that Ctrl-C fell on.
    assert len(calls) == tuned.measured + 1


def test_no_time_keeps_the_compilers_choice(folder: Output) -> None:
    tuned = tune(folder, ON, seconds=0, allow_cpu=True)
    assert tuned.measured == 0 and tuned.left > 0
    assert b"layer" not in tuned.choices.read_bytes()


def test_a_damaged_record_is_not_overwritten(folder: Output) -> None:
    path = tune(folder, ON, seconds=0, allow_cpu=True).record
    path.write_text('{"version": 1')
    with pytest.raises(EdgekitError, match="no record of measurements") as caught:
        tune(folder, ON, seconds=0, allow_cpu=True)
    assert caught.value.code == "E382" and path.read_text() == '{"version": 1'
    assert tune(folder, ON, seconds=0, allow_cpu=True, restart=True).record == path


def test_the_command(folder: Output) -> None:
    run = CliRunner().invoke(
        cli,
        ["tune", str(folder.path), "--board", "gpu-pocl", "--allow-cpu", "--repeat", "1",
         "--json", "-"],
    )  # fmt: skip
    assert run.exit_code == 0, run.output
    assert "not a GPU's speed" in run.stderr
    assert json.loads(run.stdout)["left"] == 0
    assert CliRunner().invoke(cli, ["tune", str(folder.path)]).exit_code == 2
