"""Requantization for AArch64 against SPEC's, for accumulators around every rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from a64_guarded import SYSTEM, run_c
from a64_programs import A53
from tools import need

from codegen.a64 import requant
from codegen.a64.requant import VectorRequant
from codegen.a64.routine import Routine
from codegen.channels import Channels
from edgekit.ops import fixedpoint as fp

COUNT = 4096


def channels(shifts: list[int], zero_point: int, clamp: tuple[int, int]) -> Channels:
    r = np.random.default_rng(100 + shifts[0])
    multiplier = r.integers(1 << 30, 1 << 31, len(shifts))
    multiplier[0] = (1 << 31) - 1
    return Channels(
        weights=np.zeros((len(shifts), 1), np.int8),
        bias=np.zeros(len(shifts), np.int64),
        multiplier=multiplier,
        shift=np.array(shifts),
        bound=1 << 30,
        final=1 << 30,
        constant=0,
        input_zero_point=0,
        output_zero_point=zero_point,
        qmin=clamp[0],
        qmax=clamp[1],
        types={"x_dtype": "int8", "y_dtype": "int8"},
    )


def accumulators(given: Channels, c: int) -> np.ndarray:
    """Around the halves of each result, and anything."""
    r = np.random.default_rng(c)
    scale = given.multiplier[c] * 2.0 ** (given.shift[c] - 31)
    halves = np.round((np.arange(-300, 300) + 0.5) / scale)[:, None] + np.arange(-2, 3)
    halves = halves[np.abs(halves) < 1 << 31]
    rest = r.integers(-(1 << 31) + 1, 1 << 31, COUNT - len(halves))
    return np.concatenate([halves, rest, [-(1 << 31) + 1]])[-COUNT:].astype(np.int64)


def routine(how: VectorRequant) -> Routine:
    """Four bytes for each vector of four accumulators; the operands come first."""
    r = Routine("rq", "const int8_t *w", "const int8_t *x", "int8_t *y", "int64_t vectors")
    for i in range(how.operands):
        r(f"ldr q{i}, [x0, #{16 * i}]")
    with r.loop("vectors", "x3"):
        r("ldr q16, [x1], #16")
        requant.emit(r, how, [(16, list(range(how.operands)))], how.operands)
        requant.fixed(r, how, how.operands)
        requant.pack(r, how, [16], how.operands)
        requant.store(r, 16, 0, 4, "x2")
    return r


@pytest.mark.apt
@pytest.mark.parametrize(
    ("form", "shifts", "zero_point", "clamp"),
    [
        ("relu", [-1, -7, -12, -31], -128, (-128, 127)),
        ("relu", [0, -2, 3, -9], -5, (-5, 90)),
        ("general", [-1, -7, -12, -31], 17, (-128, 127)),
        ("general", [-3, -8, -20, -30], 0, (-50, 99)),
        ("lanes", [0, -1, -9, -31], -128, (-128, 127)),
        ("lanes", [0, 5, -6, 12], 3, (-128, 127)),
    ],
)
def test_every_form_is_exact(
    form: str, shifts: list[int], zero_point: int, clamp: tuple[int, int], tmp_path: Path
) -> None:
    need("qemu-aarch64", str(A53.target.gcc_command))
    given = channels(shifts, zero_point, clamp)
    how = requant.plan(given)
    if form == "lanes" and clamp[0] == zero_point:
        how = VectorRequant("lanes", how.left, how.narrow, zero_point, *clamp)
    assert how.form == form
    r = routine(how)
    x = np.stack([accumulators(given, c) for c in range(4)], 1)
    operands = requant.operands(given, how, 0, 4)
    body = (
        f"{SYSTEM}{r.text()}\nvoid run(void)\n{{\n"
        f"    uint8_t *w = room({operands.size}u, 1), *x = room({16 * COUNT}u, 1);\n"
        f"    uint8_t *y = room({4 * COUNT}u, 0);\n"
        f"    {r.name}((int8_t *)w, (int8_t *)x, (int8_t *)y, {COUNT});\n"
        f"    send(y, {4 * COUNT}u);\n    call(EXIT, 0, 0, 0, 0);\n}}\n"
    )
    found = run_c(body, operands.tobytes() + x.astype("<i4").tobytes(), tmp_path, A53.target)
    for c in range(4):
        exact = fp.multiply_by_quantized_multiplier(
            x[:, c], given.multiplier[c : c + 1], given.shift[c : c + 1]
        )
        want = np.clip(exact + zero_point, *clamp)
        got = np.frombuffer(found, np.int8).reshape(-1, 4)[:, c]
        np.testing.assert_array_equal(got, want, err_msg=f"shift {shifts[c]}")


def test_narrow_only_where_results_fit() -> None:
    wide = channels([-1, -7, -12, -14], 0, (-128, 127))
    assert not requant.plan(wide).narrow  # 2^30 / 2
    assert requant.plan(channels([-16, -17, -20, -31], 0, (-128, 127))).narrow
