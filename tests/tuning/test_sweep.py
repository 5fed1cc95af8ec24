"""Sweeps: one after the other, and on a cluster of dask.distributed with a worker killed midway."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from sweep_job import figures

from edgekit.errors import EdgekitError
from edgekit.output import Output
from edgekit.tuning import sweep as sweeping
from edgekit.tuning.sweep import Job, sweep

JOBS = [Job(f"model{i}", "gpu-pocl", seconds=float(i)) for i in range(6)]


def test_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_TEST", str(tmp_path))
    (tmp_path / "go").touch()
    found = list(sweep(JOBS, run=figures))
    assert [o.job for o in found] == JOBS
    assert [bool(o.error) for o in found] == [False] * 5 + [True]


def test_a_worker_is_killed_midway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("SWEEP_TEST", str(tmp_path))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]
        outcomes, killed = [], False
        for outcome in sweep(JOBS, scheduler=cluster.scheduler_address, run=figures):
            outcomes.append(outcome)
            if not killed:
                killed = True
                while not set(tmp_path.glob(f"*-{pids[0]}")) - set(tmp_path.glob("model0-*")):
                    time.sleep(0.05)
                os.kill(pids[0], signal.SIGKILL)
                (tmp_path / "go").touch()
    started = [path.name for path in tmp_path.glob("model*")]
    assert len(started) > len(JOBS), "no job was begun twice"
    assert {o.job.folder: o for o in outcomes} == {
        o.job.folder: o for o in sweep(JOBS, run=figures)
    }


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(sweeping, "CONNECT_WITHIN", "1s")
    with pytest.raises(EdgekitError, match="no scheduler") as caught:
        list(sweep(JOBS, scheduler="tcp://127.0.0.1:1"))
    assert caught.value.code == "E385"


@pytest.mark.apt
def test_a_real_job_and_one_that_fails(folder: Output) -> None:
    from edgekit.tuning.sweep import run_job

    good = run_job(Job(str(folder.path), "gpu-pocl", repeat=1, allow_cpu=True))
    assert good.figures is not None and good.figures["left"] == 0
    assert run_job(Job("nowhere", "gpu-pocl")).error.startswith("E701")
