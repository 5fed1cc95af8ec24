"""Decoding the tensors of an ONNX file, those in files of their own included.

Sizes of a file may lie: each is compared with what is there before anything is allocated.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.importers.common import invalid, printable


def tensor(t: Any, folder: Path, what: str = "") -> np.ndarray:
    """The data of a TensorProto, read from its external file where it names one.

    Raises:
        EdgekitError: E103 where sizes disagree, E105 for external data, E106 for its dtype.
    """
    import onnx
    from onnx import numpy_helper

    what = what or f"tensor '{printable(t.name)}'"
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(t.data_type))
    except (KeyError, ValueError, TypeError):
        raise invalid(f"{what} has the unknown data type {t.data_type}") from None
    shape = tuple(int(d) for d in t.dims)
    if any(d < 0 for d in shape):
        raise invalid(f"{what} has shape {list(shape)}")
    if dtype.kind == "O":
        return np.empty(0, object)  # strings: no operator that reads one is supported
    want = math.prod(shape) * dtype.itemsize
    if t.data_location == onnx.TensorProto.EXTERNAL:
        return np.frombuffer(_external(t, folder, what, want), dtype).reshape(shape)
    packed = "int4" in str(dtype) or "float4" in str(dtype) or "int2" in str(dtype)
    if t.HasField("raw_data") and len(t.raw_data) != want and not packed:
        raise invalid(f"{what} needs {want} bytes, the file holds {len(t.raw_data)}")
    stored = max(len(t.float_data), len(t.int32_data), len(t.int64_data), len(t.double_data),
                 len(t.uint64_data), len(t.raw_data))  # fmt: skip
    if math.prod(shape) > 8 * stored:
        raise invalid(f"{what} has {math.prod(shape)} elements, the file holds {stored} values")
    return np.asarray(numpy_helper.to_array(t))


def _external(t: Any, folder: Path, what: str, want: int) -> bytes:
    """Bytes of a tensor from a file in the model's own folder, and from nowhere else."""
    info = {e.key: e.value for e in t.external_data}
    location = printable(info.get("location", ""))

    def refused(why: str) -> EdgekitError:
        return EdgekitError(
            "E105",
            f"{what}: external data '{location}' {why}",
            help="keep the data file beside the model under the name given at export, "
            "or export with the weights inside the model",
        )

    windows = PureWindowsPath(location)
    parts = {*PurePosixPath(location).parts, *windows.parts}
    if not location or location.startswith("/") or windows.drive or windows.root or ".." in parts:
        raise refused("is not a plain path inside the model's folder")
    home = folder.resolve()
    file = (home / location).resolve()
    if not file.is_relative_to(home):
        raise refused("leads out of the model's folder")
    if not file.is_file():
        # Model and data are often renamed together: "net.onnx.data" as "v2_net.onnx.data".
        renamed = [p for p in home.glob("*.data") if p.name.endswith(location)]
        if len(renamed) != 1 or not renamed[0].resolve().is_relative_to(home):
            raise refused("is missing")
        file = renamed[0].resolve()
    if not file.is_file():
        raise refused("is missing")
    try:
        offset = int(info.get("offset", "0") or 0)
        length = int(info.get("length", "") or want)
    except ValueError:
        raise refused("has an offset or length that is no number") from None
    size = file.stat().st_size
    if length != want or offset < 0 or offset + length > size:
        raise refused(f"has {size} bytes: {want} are needed at {offset}, {length} are declared")
    with file.open("rb") as f:
        f.seek(offset)
        return f.read(length)
