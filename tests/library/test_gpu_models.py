"""Libraries of whole models on PoCL: the reference's bytes from C and from Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from gpu_device import device
from graphs import batch
from libraries import HERE, gpu_folder_of, gpu_program, loaded
from models import DIGITS, TFLITE, TestModel, compiled, raw_samples
from shared import needs_shared

from edgekit import importers, reference
from edgekit.floating import left_in_float
from edgekit.graph import Graph
from edgekit.library import build

pytestmark = [pytest.mark.apt, pytest.mark.slow, HERE]
COUNT = 8


@pytest.mark.parametrize(
    "model",
    [DIGITS, *(pytest.param(m, marks=needs_shared) for m in TFLITE if m.name != "sww_tflite")],
    ids=lambda m: m.name,
)
def test_models(model: TestModel, tmp_path: Path) -> None:
    graph = compiled(model).graph
    check(graph, raw_samples(model, graph, COUNT), tmp_path)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_models(precision: str, tmp_path: Path) -> None:
    graph = left_in_float(importers.load(DIGITS.path), precision)
    check(graph, batch(graph, 1, n=3), tmp_path, exact=precision == "fp32")


def check(graph: Graph, feeds: dict[str, np.ndarray], folder: Path, exact: bool = True) -> None:
    """Both drivers, with a device and without; half of a device is close to the CPU's float32."""
    device()
    library = build([gpu_folder_of(graph, folder / "out", "gpu-x86_64", threads=2).path])
    want = reference.run(graph, feeds)
    (x,), (y,) = feeds.values(), want.values()
    kept = folder / "kept"
    kept.mkdir()
    made = gpu_program(library, ["gcc"], [str(next(library.path.glob("*.a"))), "-ldl"])
    module = loaded(library)
    for name in ("", "libEdgekitHasNoSuchLibrary.so"):
        done = subprocess.run(
            [made, name, kept, "-"], input=x.tobytes(), capture_output=True, timeout=300
        )
        said = done.stderr.decode()
        assert done.returncode == 0, said
        found = np.frombuffer(done.stdout, y.dtype).reshape(2 * len(y), *y.shape[1:])
        same(found, np.repeat(y, 2, 0), exact or name != "")
        assert f"first open {16 if name else 0}" in said and " said " not in said
        assert ("|1|" in said) == (name == "")
    with module.Model(gpu=module.Gpu(folder=str(kept))) as model:
        assert model.gpu is not None and model.gpu.device_layers == model.gpu.layers
        nchw = model.inputs[0].layout == "NCHW"
        own = x.transpose(0, 3, 1, 2) if nchw else x  # as the model file has it
        found = model.run(own, raw=True)
        same(found.reshape(y.shape), y, exact)
        if y.dtype == np.float32:  # nothing to quantize
            np.testing.assert_array_equal(model.run(own.astype(np.float64)), found)


def same(found: np.ndarray, want: np.ndarray, exact: bool) -> None:
    if exact:
        np.testing.assert_array_equal(found, want)
    else:
        most = float(np.abs(want).max()) / 16
        np.testing.assert_allclose(found, want, rtol=0, atol=most)
        assert (found != want).any()
