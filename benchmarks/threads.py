"""What threads save: one inference of a library for this machine, on one thread and on several.

    python -m benchmarks.threads --shared DIR [--models kws,resnet8] [--threads 2]
        [--target linux-x86_64] [--runs 200] [--json FILE]

Wall time is the median of the runs; it says something on an idle machine only. The CPU's time is
counted by the kernel for each thread, whatever else runs: what one thread takes for an inference,
over what the busiest of several takes, is the speed-up that their shares of the work allow, with
what waiting threads spend looking for work in it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.isolated import isolated
from benchmarks.models import TFLITE, names_of
from edgekit import library, pipeline

TARGET, RUNS, WARM_UP = "linux-x86_64", 200, 20


@dataclass(frozen=True)
class Timed:
    """Microseconds of one inference: median wall time, CPU time of each thread, busiest first."""

    wall: float
    cpu: tuple[float, ...]
    output: bytes


@dataclass(frozen=True)
class Result:
    name: str
    threads: int
    wall_us: tuple[float, float]
    cpu_us: tuple[float, tuple[float, ...]]

    @property
    def speedup(self) -> float:
        """By CPU time."""
        return self.cpu_us[0] / self.cpu_us[1][0]


def thread_times() -> dict[str, int]:
    """Nanoseconds on a CPU of each thread of this process, by its number."""
    tasks = Path("/proc/self/task").iterdir()
    return {t.name: int((t / "schedstat").read_text().split()[0]) for t in tasks}


def timed(module: Any, threads: int, runs: int) -> Timed:
    """`runs` inferences of a fresh instance of the library's model on random input."""
    model = module.Model(threads=threads)
    chance = np.random.default_rng(0)
    feeds = {
        tensor.name: chance.integers(-128, 128, tensor.shape).astype(tensor.dtype)
        for tensor in model.inputs
    }
    for _ in range(WARM_UP):
        output = model.run(feeds, raw=True)
    before, walls = thread_times(), []
    for _ in range(runs):
        started = perf_counter_ns()
        model.run(feeds, raw=True)
        walls.append(perf_counter_ns() - started)
    taken = [ns - before.get(name, 0) for name, ns in thread_times().items()]
    cpu = sorted((ns / runs / 1e3 for ns in taken if ns), reverse=True)[:threads]
    return Timed(median(walls) / 1e3, tuple(cpu), np.asarray(output).tobytes())


def measure(shared: Path, name: str, target: str, threads: int, runs: int) -> Result:
    """Raises RuntimeError where several threads give other bytes than one."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        out, made = Path(scratch) / "out", Path(scratch) / "lib"
        path = shared / "models" / TFLITE[name]
        pipeline.compile(path, output=out, target=target, threads=threads)
        module_name = library.build([out], made).name
        sys.path.insert(0, str(made))
        try:
            module = importlib.import_module(module_name)
        finally:
            sys.path.remove(str(made))
        one, _ = isolated(partial(timed, module, 1, runs))
        many, _ = isolated(partial(timed, module, threads, runs))
    if one.output != many.output:
        raise RuntimeError(f"{name}: {threads} threads give other bytes than one")
    return Result(name, threads, (one.wall, many.wall), (one.cpu[0], many.cpu))


def table(results: list[Result]) -> str:
    columns = (
        *("model", "threads", "wall us, one", "wall us, all", "wall ratio"),
        *("CPU us, one", "CPU us of each of all", "speed-up by CPU time"),
    )
    rows = [
        (
            *(r.name, r.threads, round(r.wall_us[0]), round(r.wall_us[1])),
            f"{r.wall_us[0] / r.wall_us[1]:.2f}",
            round(r.cpu_us[0]),
            " + ".join(f"{us:.0f}" for us in r.cpu_us[1]),
            f"{r.speedup:.2f}",
        )
        for r in results
    ]
    return tables.table(columns, rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models")
    parser.add_argument("--models", help="names, separated by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--target", default=TARGET, help="one whose programs run here")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", type=Path, help="write all figures")
    options = parser.parse_args(argv)
    names = names_of(options.models or ",".join(TFLITE))
    results = [
        measure(options.shared, n, options.target, options.threads, options.runs) for n in names
    ]
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
