"""Many models on many boards: the same job for each pair, here or on a cluster that exists.

Jobs know nothing of each other. On a cluster a job whose worker dies is run again by another one,
and goes on from what the first had measured where both see the same folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError

#: How long a scheduler may take to answer.
CONNECT_WITHIN = "10s"


@dataclass(frozen=True)
class Job:
    """A model's folder, a board by its name, and what `edgekit.tuning.tune` takes besides."""

    folder: str
    board: str
    seconds: float = 300.0
    repeat: int = 10
    restart: bool = False
    allow_cpu: bool = False
    compiler: str = "zig"


@dataclass(frozen=True)
class Outcome:
    """A job with the figures of `Tuned.as_json`, or with what went wrong."""

    job: Job
    figures: dict[str, Any] | None
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"job": asdict(self.job), "figures": self.figures, "error": self.error}


def run_job(job: Job) -> Outcome:
    """Tune one model on one board; an error of the user's is an outcome too."""
    from edgekit.devices.find import find_board
    from edgekit.output import open_output
    from edgekit.tuning.tune import tune

    try:
        tuned = tune(
            open_output(Path(job.folder)),
            find_board(job.board),
            seconds=job.seconds,
            repeat=job.repeat,
            restart=job.restart,
            allow_cpu=job.allow_cpu,
            compiler=job.compiler,
        )
    except EdgekitError as error:
        return Outcome(job, None, f"{error.code} {error.message}")
    return Outcome(job, tuned.as_json())


def sweep(
    jobs: Sequence[Job],
    *,
    scheduler: str = "",
    run: Callable[[Job], Outcome] = run_job,
) -> Iterator[Outcome]:
    """Run all jobs; outcomes as they come.

    Args:
        scheduler: the address of a scheduler of dask.distributed, ``tcp://HOST:8786``; "": one job
            after the other, in this process. Its workers need edgekit, the folders under the same
            paths, and the way to the boards.
        run: what is done with a job.

    Raises:
        EdgekitError: E384 where the extra is not installed, E385 where there is no such scheduler.
    """
    if not scheduler:
        yield from map(run, jobs)
        return
    yield from _on_cluster(jobs, scheduler, run)


def _on_cluster(
    jobs: Sequence[Job], scheduler: str, run: Callable[[Job], Outcome]
) -> Iterator[Outcome]:
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise EdgekitError(
            "E384",
            "sweeps on a cluster need dask.distributed, which is not installed",
            help="pip install 'edgekit[sweep]'",
        ) from None
    try:
        client = Client(scheduler, timeout=CONNECT_WITHIN, set_as_default=False)
    except (OSError, ValueError) as error:
        raise EdgekitError(
            "E385",
            f"no scheduler of dask.distributed answers at '{scheduler}': {error}",
            help="dask scheduler starts one, dask worker ADDRESS its workers",
        ) from None
    with client:
        # Not pure: the same job measures anew. One board takes one job at a time, by its lock.
        futures = {client.submit(run, job, pure=False): job for job in jobs}
        for future in as_completed(list(futures), loop=client.loop):
            try:
                yield future.result()
            except Exception as error:  # a worker's death, or a bug of ours there
                yield Outcome(futures[future], None, f"{type(error).__name__}: {error}")
