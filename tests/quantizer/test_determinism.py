"""The same integers from every BLAS kernel: sums are exact, or far finer than what they decide."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from quantizer_small import Builder

from quantizer.floats import reference_float
from quantizer.moments import moments

SCRIPT = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from models import DIGITS
from edgekit import data, importers, text
from quantizer import quantize
graph = importers.load(DIGITS.path)
samples = data.load(DIGITS.calibration, graph).arrays
for bits in (8, 4):
    found = quantize(graph, samples, weight_bits=bits, rounding="gptq").graph
    print(hashlib.sha256(text.dumps(found).encode()).hexdigest())
"""


def hashes(kernels: str, threads: int) -> list[str]:
    """Quantized digits in a process of its own; OpenBLAS takes the kernels of a processor."""
    env = os.environ | {"OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1])],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_same_bytes_whatever_the_blas() -> None:
    """Prescott (SSE3) adds up in another order than the processor's own kernels."""
    assert hashes("Prescott", 1) == hashes("", 2)


def test_moments_do_not_follow_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    b = Builder()
    x = b.input("x", 1, 24)
    graph = b.done(b.node("fully_connected", x, b.constant("w", 5, 24), b.constant("b", 5)))
    node, w = graph.nodes[0], graph.constants["w"]
    integers = rng.integers(0, 256, (5000, 24)).astype(np.float32)
    real = (integers * 0.03 + rng.normal(0, 0.1, integers.shape)).astype(np.float32)
    order = rng.permutation(5000)
    one = moments(node, w, integers, 0.03, real)
    two = moments(node, w, integers[order], 0.03, real[order])
    for name in ("h", "cross", "mean", "float_mean"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    wide = integers.astype(np.float64) * 0.03
    np.testing.assert_allclose(one.h[0], wide.T @ wide / 5000, rtol=1e-12)
    np.testing.assert_allclose(one.cross[0], wide.T @ real / 5000, rtol=1e-4)


@pytest.mark.parametrize("op", ["conv2d", "fully_connected"])
def test_float_layers_do_not_follow_the_order_of_inputs(op: str) -> None:
    """In float32 most of these sums change with the order; here none does."""
    rng = np.random.default_rng(0)
    b = Builder()
    if op == "conv2d":
        x = b.input("x", 1, 4, 4, 200)
        name = b.node(op, x, b.constant("w", 8, 1, 1, 200), b.constant("b", 8),
                      strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1])  # fmt: skip
    else:
        name = b.node(op, b.input("x", 1, 200), b.constant("w", 8, 200), b.constant("b", 8))
    graph = b.done(name)
    node = graph.nodes[0]
    data = rng.normal(size=(50, *graph.values["x"].shape[1:])).astype(np.float32)
    order = rng.permutation(200)
    w, bias = graph.constants["w"], graph.constants["b"]
    one = reference_float(node, [data, w, bias])
    two = reference_float(node, [data[..., order], w[..., order], bias])
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, two)
