"""The fast form where right shifts differ too much for it: every accumulator, against SPEC."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.channels import CONSTANT_MULTIPLIER, CONSTANT_SHIFT, Channels
from codegen.thumb import requant
from edgekit.ops import fixedpoint as fp


def channels(shifts: list[int], seed: int, bias: int = 20_000) -> Channels:
    chance = np.random.default_rng(seed)
    weights = chance.integers(-127, 128, (len(shifts), 9)).astype(np.int8)
    biases = chance.integers(-bias, bias, len(shifts))
    reach = np.abs(biases) + 128 * np.abs(weights.astype(int)).sum(1)
    return Channels(
        weights=weights,
        bias=biases,
        multiplier=chance.integers(1 << 30, 1 << 31, len(shifts)),
        shift=-np.array(shifts),
        bound=int(reach.max()),
        final=int(reach.max()),
        constant=0,
        input_zero_point=-128,
        output_zero_point=-128,
        qmin=-128,
        qmax=127,
        types={"x_dtype": "int8", "y_dtype": "int8"},
    )


def results(rq: requant.Requant, c: int, acc: np.ndarray) -> np.ndarray:
    """What SMMLA and SSAT make of accumulators without bias."""
    scaled = acc * rq.scale[c] + rq.bias[c]
    assert (np.abs(scaled) < 1 << 31).all()
    total = (scaled * rq.multiplier[c] >> 32) + rq.power[c]
    assert (np.abs(total) < 1 << 31).all()
    return np.clip(total >> rq.shift, -128, 127)


@pytest.mark.parametrize("seed", range(4))
def test_fitted_is_exact_over_all_accumulators(seed: int) -> None:
    layer = channels([3, 5, 7, 9, 10, 11, 12, 13, 14, 15, 16], seed, 20_000 * (1 + 10 * seed))
    assert requant.plan(layer, layer.weights).form == "relu"
    rq = requant.fitted(layer, layer.weights, 10)
    assert rq is not None
    assert (np.abs(layer.weights.astype(int)).max(1) * rq.scale < 1 << 15).all()
    for c in range(len(layer.shift)):
        most = 128 * int(np.abs(layer.weights[c].astype(int)).sum())
        acc = np.arange(-most, most + 1)
        exact = fp.multiply_by_quantized_multiplier(
            acc + layer.bias[c], layer.multiplier[c : c + 1], layer.shift[c : c + 1]
        )
        want = np.clip(exact - 128, -128, 127)
        np.testing.assert_array_equal(results(rq, c, acc), want, err_msg=str(layer.shift[c]))


def test_fitted_refuses() -> None:
    layer = channels([2, 9], 0)
    assert requant.fitted(layer, layer.weights, 10) is None  # 2^9 times a weight
    layer = channels([9, 13], 0)
    other = Channels(**{**vars(layer), "output_zero_point": 0})
    assert requant.fitted(other, layer.weights, 10) is None


def test_settled_constants_keep_their_value() -> None:
    layer = channels([7, 8, 2], 0)
    layer.weights[2] = 0
    layer.bias[2], layer.multiplier[2], layer.shift[2] = 8 * 77, CONSTANT_MULTIPLIER, CONSTANT_SHIFT
    moved = requant.settled(layer)
    assert -moved.shift[2] == 7
    y = fp.multiply_by_quantized_multiplier(moved.bias[2:], moved.multiplier[2:], moved.shift[2:])
    assert y.tolist() == [77]
