"""Arrays on the host: load and check them, bring them to NHWC, quantize and dequantize them.

The first axis counts samples. An array whose dtype is exactly that of a quantized input is raw
integers; every other dtype, uint8 and float alike, is real values (docs/SPEC.md). A float graph
that knows the integers of an input (`edgekit.graph.raw_inputs`) takes them too.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.graph import Graph, Value, raw_inputs
from edgekit.ops.convert import dequantize, quantize

#: The name that stands for the input of a model that has only one.
ONLY_INPUT = "input"
LABEL = "label"


@dataclass(frozen=True)
class Samples:
    """Checked arrays by input name, each [count, ...] in the graph's layout."""

    arrays: dict[str, np.ndarray]
    labels: np.ndarray | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.arrays.values())))


def load(path: str | Path, graph: Graph) -> Samples:
    """Read .npz or .npy and check it against the graph's inputs.

    A ``label`` array, one integer per sample, is optional in an .npz.

    Raises:
        EdgekitError: E200 the file cannot be read; E201 .. E205 as in `prepare`.
    """
    arrays = _read(Path(path), graph)
    labels = arrays.pop(LABEL, None) if LABEL not in graph.inputs else None
    checked = prepare(graph, arrays, source=Path(path).name)
    samples = Samples(checked, labels)
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != (samples.count,)):
        raise EdgekitError(
            "E202",
            f"'{LABEL}' in {Path(path).name} is {labels.dtype}{list(labels.shape)}, "
            f"expected {samples.count} integers, one per sample",
            help="store class indices as a one-dimensional integer array",
        )
    return samples


def _read(path: Path, graph: Graph) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if not zipfile.is_zipfile(file):
                file.seek(0)
                return {ONLY_INPUT: _array(file, size, ONLY_INPUT, path)}
            return _arrays(file, size, path)
    except _BROKEN as error:
        raise EdgekitError(
            "E200",
            f"cannot read {path}: {error}",
            help="expected .npz or .npy as written by np.savez or np.save",
        ) from None


#: What zipfile, zlib and numpy raise on files that are missing, damaged or encrypted.
_BROKEN = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, OverflowError,
           TypeError, KeyError, MemoryError, RecursionError, SyntaxError, tokenize.TokenError,
           zlib.error, struct.error, zipfile.BadZipFile)  # fmt: skip
#: What compressed arrays may unpack to for each byte of their file, and besides.
EXPANSION, BESIDES = 20, 64 << 20


def _arrays(file: IO[bytes], size: int, path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        total, allowed = sum(m.file_size for m in members), EXPANSION * size + BESIDES
        if total > allowed:
            raise EdgekitError(
                "E200",
                f"{path} has {size} bytes and claims to unpack to {total}, at most {allowed} are "
                "accepted",
                help="write it without compression: np.savez instead of np.savez_compressed",
            )
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                arrays[name] = _array(stream, member.file_size, name, path)
        return arrays


def _array(stream: IO[bytes], size: int, name: str, path: Path) -> np.ndarray:
    """One array in the .npy format of `size` bytes; nothing is allocated before its size is known.

    Raises:
        EdgekitError: E203 where it holds Python objects; ValueError and others of _BROKEN.
    """
    header = stream.read(min(size, 16384))
    head = io.BytesIO(header)
    version = np.lib.format.read_magic(head)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else (
        np.lib.format.read_array_header_2_0)  # fmt: skip
    shape, _, dtype = read(head)
    if dtype.hasobject:
        raise EdgekitError(
            "E203",
            f"{path.name} holds Python objects, expected arrays of numbers",
            help="save with np.savez(path, input=np.asarray(samples, dtype=np.float32))",
        )
    needed, stored = math.prod(shape) * dtype.itemsize, size - head.tell()
    if min(shape, default=0) < 0 or needed > stored:
        raise ValueError(f"'{name}' {dtype}{list(shape)} needs {needed} bytes, {stored} are stored")
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def prepare(
    graph: Graph, arrays: Mapping[str, np.ndarray], *, source: str = "the data"
) -> dict[str, np.ndarray]:
    """Check arrays against the graph's inputs and bring them to the graph's layout.

    Arrays come in the layout that the model file declares or in the graph's; one that fits both
    (C = H = W) is taken as the graph's. Preparing twice is preparing once.

    Returns:
        {input name: array [n, *shape[1:]]} in NHWC, dtypes unchanged but for integers that a float
        graph takes (`edgekit.graph.raw_inputs`), which become reals.

    Raises:
        EdgekitError: E201 missing or unknown name, E202 shape, E203 dtype, E204 NaN or infinity,
            E205 no samples or different numbers of samples.
    """
    named = dict(arrays)
    if len(graph.inputs) == 1 and ONLY_INPUT in named and graph.inputs[0] not in named:
        named[graph.inputs[0]] = named.pop(ONLY_INPUT)
    for name in named:
        if name not in graph.inputs:
            raise EdgekitError(
                "E201",
                f"{source} has an array '{name}', the model has no such input",
                help=did_you_mean(name, graph.inputs),
            )
    missing = [name for name in graph.inputs if name not in named]
    if missing:
        raise EdgekitError(
            "E201",
            f"{source} has no array for input '{missing[0]}' "
            f"({len(missing)} of {len(graph.inputs)} inputs are missing)",
            help="name the arrays after the model's inputs: " + ", ".join(graph.inputs),
        )
    checked = {name: _checked(graph, name, named[name], source) for name in graph.inputs}
    counts = {name: len(array) for name, array in checked.items()}
    if len(set(counts.values())) > 1:
        raise EdgekitError(
            "E205",
            f"{source} has different numbers of samples: "
            + ", ".join(f"'{name}' {n}" for name, n in counts.items()),
            help="the first axis of every array counts the same samples",
        )
    return checked


def _checked(graph: Graph, name: str, array: np.ndarray, source: str) -> np.ndarray:
    array = np.asarray(array)
    value = graph.values[name]
    if array.dtype.kind not in "fiub":
        raise EdgekitError(
            "E203",
            f"array '{name}' in {source} has dtype {array.dtype}, expected real numbers",
            help="convert with np.asarray(x, dtype=np.float32)",
        )
    array = _to_graph_layout(graph, value, array, source)
    if len(array) == 0:
        raise EdgekitError(
            "E205",
            f"array '{name}' in {source} has 0 samples, at least 1 is needed",
            help="the first axis counts samples",
        )
    if array.dtype.kind == "f":
        _check_finite(name, array, source)
    dtype, quant = raw_inputs(graph).get(name, ("", None))
    if value.dtype == "float32" and str(array.dtype) == dtype:
        return dequantize(replace(value, dtype=dtype, quant=quant), array)
    return array


def _to_graph_layout(graph: Graph, value: Value, array: np.ndarray, source: str) -> np.ndarray:
    want, have = value.sample_shape, tuple(array.shape[1:])
    declared = replace(value, shape=declared_shape(graph, value.name)).sample_shape
    if declared != want and have == declared:
        return array.transpose(0, 2, 3, 1)
    if have == want:
        return array
    forms = f"[n, {', '.join(map(str, declared))}]"
    if declared != want:
        forms += f" or [n, {', '.join(map(str, want))}]"
    hint = "the first axis counts samples"
    if tuple(array.shape) in (want, declared):
        hint += "; this array is a single sample: add the axis with x[None]"
    raise EdgekitError(
        "E202",
        f"array '{value.name}' in {source} has shape {list(array.shape)}, expected {forms}",
        help=hint,
    )


def _check_finite(name: str, array: np.ndarray, source: str) -> None:
    limit = float(np.finfo(np.float32).max)
    for i in range(0, len(array), 64):
        block = array[i : i + 64].reshape(len(array[i : i + 64]), -1)
        bad = ~(np.abs(block) <= limit)  # False for NaN, infinity and beyond float32
        if bad.any():
            row = int(np.argmax(bad.any(axis=1)))
            number = block[row][bad[row]][0]
            raise EdgekitError(
                "E204",
                f"sample {i + row} of '{name}' in {source} holds {number} "
                f"({int(bad[row].sum())} of its {block.shape[1]} numbers are not finite)",
                help="remove the sample or mend the preprocessing",
            )


def declared_shape(graph: Graph, name: str) -> tuple[int, ...]:
    """The shape under which the model file declares an input or output (NCHW where it does)."""
    shape = graph.values[name].shape
    if len(shape) == 4 and graph.metadata.get("layout", {}).get(name) == "NCHW":
        return (shape[0], shape[3], shape[1], shape[2])
    return shape


def to_declared_layout(graph: Graph, name: str, array: np.ndarray) -> np.ndarray:
    """An array in the graph's NHWC brought back to the layout that the model file declares."""
    if declared_shape(graph, name) == graph.values[name].shape:
        return array
    return array.transpose(0, 3, 1, 2)


def quantize_input(graph: Graph, name: str, array: np.ndarray) -> np.ndarray:
    """What the graph's input takes: int8 for an integer graph, float32 for a float graph.

    An array of exactly the input's dtype passes as it is.
    """
    value = graph.values[name]
    if str(array.dtype) == value.dtype:
        return array
    if value.quant is None:
        if value.dtype != "float32":
            _check_integers(value, array)
        return array.astype(value.dtype)
    return quantize(value, array)


def _check_integers(value: Value, array: np.ndarray) -> None:
    """Refuse numbers that an input of indices or truth values cannot hold.

    Raises:
        EdgekitError: E203.
    """
    kept = array.astype(value.dtype)
    if not np.array_equal(kept, array):
        at = np.flatnonzero((kept != array).reshape(-1))[0]
        raise EdgekitError(
            "E203",
            f"input '{value.name}' is {value.dtype}, its array holds {array.reshape(-1)[at]}",
            help=f"give numbers that {value.dtype} holds",
        )


def quantize_inputs(graph: Graph, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`quantize_input` for every input."""
    return {name: quantize_input(graph, name, arrays[name]) for name in graph.inputs}


def dequantize_output(graph: Graph, name: str, array: np.ndarray) -> np.ndarray:
    """The real values of a graph output, float32; indices and truth values as they are."""
    if graph.values[name].quant is None:
        return array
    return dequantize(graph.values[name], array)
