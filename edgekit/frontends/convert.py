"""Runs a framework's converter in a process of its own.

The process has limits of processor time and of address space, its messages go to a file, and it
answers with a line of JSON. So a converter that crashes, prints or never ends costs one error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.frontends import keras_file, pt2
from edgekit.frontends.recognise import Kind
from edgekit.frontends.require import TENSORFLOW, TORCH, require

#: Of processor time; the largest models for such devices take one or two minutes.
SECONDS = 900
#: Of address space for each byte of the model, and besides: TensorFlow itself maps 2 GB.
BYTES_PER_BYTE, BYTES_BESIDES = 20, 8 << 30
RESULT = "converted"


def converted(path: Path, kind: Kind) -> bytes:
    """The model of another framework as the bytes of an ONNX or TFLite file.

    Raises:
        EdgekitError: E160 to E164, see `edgekit.frontends`.
    """
    require(TORCH if kind is Kind.PT2 else TENSORFLOW)
    stamp = max((f.stat().st_mtime_ns for f in _files(path)), default=0)
    return _converted(path.resolve(), kind, stamp)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]


@lru_cache(maxsize=1)  # `check` and models quantized in part import the same file twice
def _converted(path: Path, kind: Kind, stamp: int) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        source = Path(folder) / f"model.{kind.value}"
        if kind is Kind.PT2:
            source.write_bytes(pt2.cleaned(path.read_bytes(), path.name))
        elif kind is Kind.KERAS:
            source.write_bytes(keras_file.cleaned(path.read_bytes(), path.name))
        else:  # their readers come with the framework: the process checks them first
            source = path
        size = sum(f.stat().st_size for f in _files(path))
        _run(kind, source, Path(folder) / RESULT, path.name, size)
        return (Path(folder) / RESULT).read_bytes()


def _run(kind: Kind, source: Path, result: Path, name: str, size: int) -> None:
    module = "torch_worker" if kind is Kind.PT2 else "keras_worker"
    space = BYTES_PER_BYTE * size + BYTES_BESIDES
    command = [sys.executable, "-m", f"edgekit.frontends.{module}", kind.value, str(source),
               str(result), str(SECONDS), str(space)]  # fmt: skip
    log = result.with_suffix(".log")
    # A folder of its own: converters write there, and nothing of the user's is imported from it.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONSAFEPATH": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }
    with log.open("wb") as messages:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages,
            cwd=result.parent, env=environment, check=False,
        )  # fmt: skip
    answer = result.with_suffix(".json")
    if answer.is_file():
        said = json.loads(answer.read_text())
        if said:
            raise EdgekitError(said["code"], f"{name}: {said['message']}", help=said["help"])
        if result.is_file():
            return
    if done.returncode == -signal.SIGXCPU or done.returncode == -signal.SIGKILL:
        raise EdgekitError(
            "E163",
            f"{name}: the converter was stopped after {SECONDS} s of processor time, or for want "
            "of memory",
            help="export the model to ONNX yourself, and give that file",
        )
    last = log.read_text("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
    raise EdgekitError(
        "E162",
        f"{name}: the converter ended with status {done.returncode}: {last[0][:300]}",
        help="export the model to ONNX yourself, and give that file",
    )
