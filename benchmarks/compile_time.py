"""How long ``edgekit compile`` of KWS takes, with empty caches and with full ones.

    python -m benchmarks.compile_time --shared DIR [--json FILE] [--update FILE]

CPU seconds are user plus system time of the command and of all compilers that it starts, as the
operating system accounts for child processes; they hardly depend on what else the machine does,
which seconds on the clock do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import tables
from benchmarks.models import Model, models

WARM_RUNS = 3


@dataclass(frozen=True)
class Timing:
    """One `edgekit compile`: seconds of CPU time and on the clock."""

    model: str
    cache: str
    cpu: float
    clock: float


def _compile(model: Model, folder: Path, cache: str) -> Timing:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "EDGEKIT_CACHE_DIR": str(folder / "cache")}
    # zig keeps a cache as well; without these it lies in EDGEKIT_CACHE_DIR and is empty at first.
    for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        environment.pop(name, None)
    options = ["--calibration", str(model.calibration)] if model.calibration else []
    command = [sys.executable, "-m", "edgekit", "compile", str(model.path), "--target", "cortex-m4"]
    subprocess.run(
        [*command, *options, "-o", str(folder / "out")],
        env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    clock = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(f"{model.label} .{model.source}", cache, cpu, clock)


def measure(model: Model) -> list[Timing]:
    """A run with empty caches, then the fastest of several with full ones."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as name:
        folder = Path(name)
        cold = _compile(model, folder, "empty")
        warm = [_compile(model, folder, "full") for _ in range(WARM_RUNS)]
    return [cold, min(warm, key=lambda t: t.cpu)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    found = [
        timing
        for source in ("onnx", "tflite")
        for timing in measure(models(options.shared, ["kws"], source)[0])
    ]
    text = tables.table(
        ("model", "caches", "CPU s", "clock s"), [(t.model, t.cache, t.cpu, t.clock) for t in found]
    )
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(t) for t in found], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "compile_time", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
