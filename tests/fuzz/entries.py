"""What is fuzzed: every function that takes bytes which a user may have from somebody else.

An entry takes any bytes and must return. Where it lets something else than EdgekitError out, uses
more memory than `Meter` allows or does not end, that is a bug. The same entries replay the corpus
and old crashes in `make test` (test_replay.py) and are driven by atheris in `make fuzz`.
"""

from __future__ import annotations

import io
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from edgekit import data as samples
from edgekit import text
from edgekit.bundle.reader import read_bundle
from edgekit.errors import EdgekitError
from edgekit.frontends import keras_file, recognise
from edgekit.frontends import pt2 as pt2_file
from edgekit.frontends.archive import pack
from edgekit.graph import Graph, Quant, Value
from edgekit.importers import load, unsupported
from edgekit.processing import attach_input, attach_output
from edgekit.processing import load as load_processing

Entry = Callable[[bytes, Path], None]

#: What an importer may take for each byte of the file, and besides (tables, caches, fragments).
MEMORY_PER_BYTE, MEMORY_BESIDES = 20, 96 << 20


class Meter:
    """Checks the peak of memory over one call; the kernel's high-water mark costs nothing."""

    def __init__(self, size: int) -> None:
        self.allowed = MEMORY_PER_BYTE * size + MEMORY_BESIDES

    def __enter__(self) -> None:
        self.peak = _peak()
        self.before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    def __exit__(self, *failure: object) -> None:
        peak = _peak()
        # An old peak says nothing of this call.
        if peak > self.peak and peak - self.before > self.allowed:
            raise MemoryError(f"{peak - self.before} bytes used, {self.allowed} allowed")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _model(data: bytes, folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(data)
    with suppress(EdgekitError):
        unsupported(path)
    with suppress(EdgekitError):
        load(path, float_behind=True)


def onnx(data: bytes, folder: Path) -> None:
    _model(data, folder, "model.onnx")


def tflite(data: bytes, folder: Path) -> None:
    if len(data) >= 8:  # else no mutation of these four bytes gets any further
        data = data[:4] + b"TFL3" + data[8:]
    _model(data, folder, "model.tflite")


def graph_text(data: bytes, folder: Path) -> None:
    with suppress(EdgekitError):
        text.loads(data.decode("utf-8", "replace"))


def bundle(data: bytes, folder: Path) -> None:
    """The reader, with a footer that fits: what comes behind the checksum is the point."""
    with suppress(EdgekitError):
        read_bundle(data)
    body = data[:-16].ljust(8, b"\0")
    body = body[:4] + b"EKB1" + body[8:] if body[4:8] != b"EKB1" else body
    footer = struct.unpack("<4I", data[-16:].rjust(16, b"\0"))
    whole = body + struct.pack("<3I", footer[0], footer[1], len(body))
    with suppress(EdgekitError):
        read_bundle(whole + struct.pack("<I", zlib.crc32(whole)))


def _graph() -> Graph:
    graph = Graph("data")
    for name in ("a", "b"):
        graph.add_value(Value(name, (1, 2, 3)))
        graph.inputs.append(name)
    return graph


def npz(data: bytes, folder: Path) -> None:
    path = folder / "data.npz"
    path.write_bytes(data)
    with suppress(EdgekitError):
        samples.load(path, _graph())


def npy(data: bytes, folder: Path) -> None:
    """One array as a file of its own, and inside an archive whose checksums are right."""
    path = folder / "data.npy"
    path.write_bytes(data)
    one = _graph()
    one.inputs.remove("b")
    with suppress(EdgekitError):
        samples.load(path, one)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.npy", data)
        rest = io.BytesIO()
        np.save(rest, np.zeros((1, 2, 3), np.float32))
        archive.writestr("b.npy", rest.getvalue())
    npz(packed.getvalue(), folder)


def pt2(data: bytes, folder: Path) -> None:
    """A whole archive, and the description of a network inside one that is whole."""
    with suppress(EdgekitError):
        recognise(folder / "model.pt2", data)
    table = "m/data/weights/model_weights_config.json"
    for archive in (data, _with(PT2, "m/models/model.json", data), _with(PT2, table, data)):
        with suppress(EdgekitError):
            pt2_file.cleaned(archive, "model.pt2")


def keras(data: bytes, folder: Path) -> None:
    for archive in (data, _with(KERAS, "config.json", data)):
        with suppress(EdgekitError):
            keras_file.cleaned(archive, "model.keras")


def processing(data: bytes, folder: Path) -> None:
    """A file of settings, in front of a small network and behind it."""
    path = folder / "processing.yaml"
    path.write_bytes(data)
    with suppress(EdgekitError):
        found = load_processing(path)
        graph = Graph("small", ["x"], ["x"])
        graph.add_value(Value("x", (1, 6, 6, 3), "int8", Quant.make(0.1, 3)))
        attach_output(attach_input(graph, found), found)


PT2 = {
    "m/archive_format": b"pt2", "m/archive_version": b"0",
    "m/models/model.json": b'{"graph_module": {}}', "m/data/weights/weight_0": bytes(16),
    "m/data/weights/model_weights_config.json": b'{"config": {}}',
    "m/data/constants/model_constants_config.json": b'{"config": {}}',
}  # fmt: skip
KERAS = {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b""}


def _with(files: dict[str, bytes], name: str, data: bytes) -> bytes:
    return pack({**files, name: data})


ENTRIES: dict[str, Entry] = {
    "onnx": onnx,
    "tflite": tflite,
    "graph_text": graph_text,
    "bundle": bundle,
    "npz": npz,
    "npy": npy,
    "pt2": pt2,
    "keras": keras,
    "processing": processing,
}
