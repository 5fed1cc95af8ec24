"""``make fuzz``: every entry for a while, from the corpus of the repository.

    python -m fuzz.run [--seconds N] [--keep FOLDER] [--shrink] [ENTRY ...]

With --keep the grown corpora stay in FOLDER for the next run; --shrink then writes the smallest
part of them that covers as much back to the repository. Needs ``edgekit[fuzz]`` (atheris).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.corpus import CRASHES, read_corpus, write_corpus
from fuzz.entries import ENTRIES

#: A hang, in seconds for one input: none of them is larger than LONGEST bytes.
HANG, LONGEST = 20, 8192


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help=", ".join(ENTRIES))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    unknown = set(options.entries) - ENTRIES.keys()
    if unknown:
        parser.error(f"no entry {', '.join(sorted(unknown))}; there are {', '.join(ENTRIES)}")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="edgekit-fuzz-") as scratch:
        for name in options.entries or ENTRIES:
            work = (options.keep or Path(scratch)) / name
            corpus = work / "corpus"
            corpus.mkdir(parents=True, exist_ok=True)
            for stem, data in read_corpus(name).items():
                (corpus / stem).write_bytes(data)
            status = _worker(name, work, [str(corpus), f"-max_total_time={options.seconds}"])
            found = sorted((work / "found").glob("*.bin")) + sorted(work.glob("timeout-*"))
            print(f"{name}: {len(list(corpus.iterdir()))} inputs, {len(found)} found", flush=True)
            for file in found:
                bad += 1
                target = CRASHES / f"{name}-{file.stem.removeprefix(f'{name}-')}.bin"
                target.write_bytes(file.read_bytes())
                print(f"  {target}")
            if status and not found:
                print(f"  the worker ended with status {status}: {work / 'log'}")
                bad += 1
            if options.shrink:
                small = work / "small"
                small.mkdir(exist_ok=True)
                _worker(name, work, [str(small), str(corpus), "-merge=1"])
                write_corpus(name, small)
    return 1 if bad else 0


def _worker(name: str, work: Path, arguments: list[str]) -> int:
    command = [
        *(sys.executable, "-m", "fuzz.worker", name, str(work / "found"), *arguments),
        *(f"-timeout={HANG}", f"-max_len={LONGEST}", "-rss_limit_mb=4000"),
        f"-artifact_prefix={work}/",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                   "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
    with (work / "log").open("wb") as log:
        return subprocess.run(command, env=environment, stdout=log, stderr=log).returncode


if __name__ == "__main__":
    sys.exit(main())
