"""One entry under atheris: ``python -m fuzz.worker ENTRY FOUND CORPUS [libFuzzer's options]``.

What goes wrong is written to the folder FOUND, one input for each place in the code, and fuzzing
goes on: one shallow bug must not hide the next. A hang ends the run, libFuzzer writes its input.
"""

from __future__ import annotations

import random
import sys
import tempfile
import traceback
from pathlib import Path

import atheris
import onnx

with atheris.instrument_imports(include=["edgekit"]):
    from fuzz.entries import ENTRIES, Meter

from fuzz.mutate_onnx import mutate


def main() -> None:
    name, found, *options = sys.argv[1:]
    entry = ENTRIES[name]
    folder = Path(tempfile.mkdtemp(prefix="edgekit-fuzz-"))
    places: set[str] = set()

    def one(data: bytes) -> None:
        try:
            with Meter(len(data)):
                entry(data, folder)
        except Exception as bug:
            place = _place(bug)
            if place in places:
                return
            places.add(place)
            Path(found).mkdir(parents=True, exist_ok=True)
            stem = Path(found) / f"{name}-{place}"
            stem.with_suffix(".bin").write_bytes(data)
            stem.with_suffix(".txt").write_text(traceback.format_exc())
            print(f"FOUND {place}", file=sys.stderr, flush=True)

    atheris.Setup([sys.argv[0], *options], one, **_mutator(name))
    atheris.Fuzz()


def _place(bug: Exception) -> str:
    """The kind of an exception and the innermost line of ours on its way."""
    ours = [f for f in traceback.extract_tb(bug.__traceback__) if "edgekit" in f.filename]
    where = f"{Path(ours[-1].filename).stem}_{ours[-1].lineno}" if ours else "besides"
    return f"{type(bug).__name__}-{where}"


def _mutator(name: str) -> dict[str, object]:
    if name != "onnx":
        return {}
    operators = sorted({schema.name for schema in onnx.defs.get_all_schemas()})

    def custom(data: bytes, limit: int, seed: int) -> bytes:
        if random.Random(seed).random() < 0.9:
            edited = mutate(bytes(data), limit, seed, operators)
            if edited is not None:
                return edited
        return bytes(atheris.Mutate(data, limit))

    return {"custom_mutator": custom}


if __name__ == "__main__":
    main()
