"""The digits sample from an ONNX file to a profile: ``python -m samples.digits.demo``.

Every step is a command that you could type; the demo prints it and calls the same entry point.
Files go to ``out/`` of the current folder. The exit status is 1 where a command fails or any byte
of the virtual board differs from the numpy reference.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from edgekit import data, importers, reference
from edgekit.cli import main as edgekit
from samples.digits import CALIBRATION, EVALUATION, MODEL

BOARD = "virtual-cortex-m4"
OUT = Path("out")


class Failed(Exception):
    """A command returned an exit status other than 0."""


def command(*arguments: object) -> None:
    """Print an edgekit command and run it in this process."""
    words = [_short(a) for a in arguments]
    print(f"\n$ edgekit {shlex.join(words)}", flush=True)
    if status := edgekit(words):
        raise Failed(f"edgekit {words[0]} ended with exit status {status}")


def _short(argument: object) -> str:
    """Paths below the current folder without it, as one would type them."""
    if not isinstance(argument, Path):
        return str(argument)
    path = os.path.relpath(argument)
    return str(argument) if path.startswith("..") else path


def float_accuracy() -> float:
    """Share of the held-out images that the float network gets right."""
    graph = importers.load(MODEL)
    samples = data.load(EVALUATION, graph)
    assert samples.labels is not None
    feeds = {name: array.astype(np.float32) for name, array in samples.arrays.items()}
    scores = reference.run(graph, feeds)[graph.outputs[0]]
    return float((scores.reshape(samples.count, -1).argmax(1) == samples.labels).mean())


def evaluate(folder: Path, where: str) -> tuple[float, dict[str, np.ndarray]]:
    """Run the held-out images on `where`; returns the accuracy and the raw int8 outputs."""
    outputs, figures = OUT / f"digits-{where}.npz", OUT / f"digits-{where}.json"
    command("run", folder, "--input", EVALUATION, "--on", where, "--raw", "--output", outputs,
            "--json", figures)  # fmt: skip
    with np.load(outputs) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return float(json.loads(figures.read_text())["accuracy"]), found


def demo() -> bool:
    """All steps; True where board and reference agree in every byte."""
    started = time.monotonic()
    folder = OUT / "digits"
    command("compile", MODEL, "--target", "cortex-m4", "--calibration", CALIBRATION, "-o", folder)
    command("flash", folder, "--board", BOARD)
    on_reference, want = evaluate(folder, "reference")
    on_board, found = evaluate(folder, BOARD)
    command("profile", folder, "--board", BOARD, "--trace", OUT / "digits-trace.json")

    total = sum(array.size for array in want.values())
    differ = sum(int((found[name] != want[name]).sum()) for name in want)
    count = len(next(iter(want.values())))
    rows = (("float32 network", float_accuracy()), ("int8 reference (numpy)", on_reference),
            (f"int8 on {BOARD}", on_board))  # fmt: skip
    print(f"\nAccuracy on {count} held-out images")
    for name, share in rows:
        print(f"  {name:30} {100 * share:6.2f} %")
    print(f"Output bytes that differ between board and reference: {differ} of {total}")
    if shutil.which("qemu-system-arm"):
        print("QEMU is installed; for exact instruction counts:")
    else:
        print("For exact instruction counts install QEMU (Debian: apt install qemu-system-arm):")
    print(f"  edgekit profile {_short(folder)} --board qemu-mps2-an386")
    print("The timeline in out/digits-trace.json opens in https://ui.perfetto.dev")
    ok = differ == 0 and on_board == on_reference
    print(f"demo {'passed' if ok else 'FAILED'} in {time.monotonic() - started:.1f} s")
    return ok


def main() -> int:
    try:
        return 0 if demo() else 1
    except Failed as failure:
        print(f"demo FAILED: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
