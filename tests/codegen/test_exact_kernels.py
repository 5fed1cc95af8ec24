"""Every operator, random shapes and integers: generated C against the numpy reference, 0 bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from exactness import CHECKED, PER_BUILD, compare, draw_seed
from graphs import graphs_of
from hypothesis import given
from hypothesis import strategies as st
from pace import thinned

DSP, C99 = ("arm_dsp", "c99"), ("c99",)
CASES = [
    (op, families) for op in ("conv2d", "depthwise_conv2d", "fully_connected",
               "conv2d int4", "depthwise_conv2d int4", "fully_connected int4")
    for families in (DSP, C99)
] + [
    (op, C99)
    for op in ("add", "mul", "clip", "average_pool2d", "max_pool2d", "softmax", "transpose")
] + [
    (op, families) for op in ("conv2d int16", "depthwise_conv2d int16", "fully_connected int16",
               "conv2d int8>int16", "depthwise_conv2d int16>int8", "conv2d int4 int16",
               "fully_connected int4 int16>int8")
    for families in (DSP, C99)
] + [
    (op, C99)
    for op in ("add int16", "mul int16", "clip int16", "average_pool2d int16", "max_pool2d int16",
               "softmax int16", "transpose int16", "add int16 mixed", "mul int16>int8 mixed",
               "conv2d float int8", "conv2d float int16>int8", "depthwise_conv2d float int8>int16",
               "fully_connected float int8", "add float int8", "mul float int16>int8",
               "add int8>int16", "mul int16>int8",
               "clip int8>int16", "clip int16>int8")
]  # fmt: skip


#: Of weighted operators, every kernel family once for each width of weights and of activations;
#: what reads and writes different widths.
FAST = [
    *((op, families) for op in ("conv2d", "depthwise_conv2d", "fully_connected")
      for families in (DSP, C99)),
    ("conv2d int4", DSP), ("depthwise_conv2d int4", C99), ("fully_connected int4", DSP),
    ("conv2d int16", C99), ("conv2d int8>int16", DSP), ("depthwise_conv2d int16>int8", DSP),
    ("fully_connected int16", DSP), ("fully_connected int4 int16>int8", C99),
    *((op, C99) for op in (
        "add", "mul", "clip", "average_pool2d", "max_pool2d", "softmax", "transpose",
        "average_pool2d int16", "softmax int16", "add int16 mixed", "mul int16>int8 mixed",
        "conv2d float int16>int8", "depthwise_conv2d float int8>int16",
        "fully_connected float int8", "add float int8", "add int8>int16", "clip int16>int8")),
]  # fmt: skip


@pytest.mark.parametrize(("op", "families"), thinned(CASES, FAST.__contains__))
@CHECKED
@given(data=st.data())
def test_exact(op: str, families: tuple[str, ...], tmp_path: Path, data: st.DataObject) -> None:
    graphs = data.draw(st.lists(graphs_of(op), min_size=PER_BUILD, max_size=PER_BUILD))
    compare(graphs, draw_seed(data), families, tmp_path)
