"""Taps that are summed in 16 bits, and loads at any offset."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from codegen.a64.addresses import SIZES, Addresses
from codegen.a64.groups import partition
from codegen.a64.routine import Routine

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 20))
WEIGHTS = SHAPES.flatmap(lambda s: arrays(np.int8, s)) | SHAPES.flatmap(
    lambda s: arrays(np.int8, s, elements=st.sampled_from([-128, -127, 127, 60, 0]))
)


@given(WEIGHTS)
def test_groups_hold_every_tap_once_and_fit_16_bits(weights: np.ndarray) -> None:
    height, width, channels = weights.shape
    groups = partition(weights)
    assert sorted(tap for group in groups for tap in group) == list(range(height * width))
    taps = weights.reshape(-1, channels).astype(int)
    for group in groups:
        w = taps[group]
        for x in (np.where(w < 0, -128, 127), np.where(w > 0, -128, 127)):
            sums = (w * x).cumsum(0)
            assert sums.max() <= 32767 and sums.min() >= -32768


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 8))
def test_symmetric_weights_are_summed_in_pairs_at_least(h: int, w: int, c: int) -> None:
    assert len(partition(np.full((h, w, c), 127, np.int8))) == -(-h * w // 2)
    assert len(partition(np.full((h, w, c), 1, np.int8))) == 1


@given(st.lists(st.tuples(st.sampled_from(sorted(SIZES)), st.integers(-300, 70000)), max_size=20))
def test_addresses_are_what_was_asked_for(wanted: list[tuple[str, int]]) -> None:
    r = Routine("loads")
    at = Addresses(r, "x1", "x2")
    for kind, offset in wanted:
        at.load(f"{kind}0", offset)
    found, registers = [], {"x1": 0}
    for line in r.lines:
        name, _, rest = line.partition(" ")
        fields = [f.strip("[]#") for f in rest.split(", ")]
        if name in ("add", "sub"):
            size = int(fields[2]) << (12 if line.endswith("lsl #12") else 0)
            registers[fields[0]] = registers[fields[1]] + (size if name == "add" else -size)
        elif name in ("ldr", "ldur"):
            kind, offset = fields[0][0], int(fields[2])
            scaled = offset % SIZES[kind] == 0 and 0 <= offset < 4096 * SIZES[kind]
            assert scaled if name == "ldr" else -256 <= offset < 256
            found.append((kind, registers[fields[1]] + offset))
    assert found == wanted
