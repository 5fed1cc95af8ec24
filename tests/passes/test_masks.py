"""Each numbered rule of edgekit/passes/masks.py."""

from __future__ import annotations

import numpy as np
import pytest
from attention_nets import Net
from graph_text import applied, ops

from edgekit.passes.masks import masks

CAUSAL = np.tril(np.ones((6, 6), bool))


def additive(f: Net, low: float, shape: tuple[int, ...] = (6, 6), bias: float = 0.0) -> str:
    data = np.where(CAUSAL, bias, low).astype(np.float32)
    return f.constant("mask", data.reshape(shape))


@pytest.mark.parametrize("shape", [(6, 6), (1, 1, 6, 6)])
@pytest.mark.parametrize("low", [-1e9, float(np.finfo(np.float32).min)])
def test_rule_1(low: float, shape: tuple[int, ...]) -> None:
    f = Net(1, 4, 6, 6)
    y = f("softmax", f("add", "x", additive(f, low, shape)), beta=1.0)
    after = applied(f.ended(y), masks)
    assert ops(after) == ["masked_softmax"]
    assert after.values[after.nodes[0].inputs[1]].shape == (6, 6)


def test_rule_1_keeps_what_else_is_added() -> None:
    f = Net(1, 4, 6, 6)
    y = f("softmax", f("add", "x", additive(f, -1e9, bias=0.5)))
    assert ops(applied(f.ended(y), masks)) == ["add", "masked_softmax"]


def test_rule_1_without_the_product_of_gpt2() -> None:
    f = Net(1, 4, 6, 6)
    kept = f.constant("kept", CAUSAL.astype(np.float32))
    y = f("softmax", f("add", f("mul", "x", kept), additive(f, -1e4)))
    assert ops(applied(f.ended(y), masks)) == ["masked_softmax"]


def test_rule_1_leaves_rows_without_anything_kept() -> None:
    f = Net(1, 4, 6, 6)
    mask = f.constant("mask", np.full((1, 1, 1, 6), -1e9, np.float32))
    applied(f.ended(f("softmax", f("add", "x", mask))), masks, changes=False)


def test_rule_1_leaves_a_bias() -> None:
    f = Net(1, 4, 6, 6)
    applied(f.ended(f("softmax", f("add", "x", additive(f, -3.0)))), masks, changes=False)


@pytest.mark.parametrize("inverted", [False, True])
def test_rule_2(inverted: bool) -> None:
    f = Net(1, 4, 6, 6)
    mask, low = f.constant("mask", CAUSAL ^ inverted), f.number(-1e9)
    chosen = f("where", mask, *((low, "x") if inverted else ("x", low)))
    assert ops(applied(f.ended(f("softmax", chosen)), masks)) == ["masked_softmax"]


@pytest.mark.parametrize("inverted", [False, True])
def test_rule_2_masks_that_are_computed(inverted: bool) -> None:
    f = Net(1, 4, 6, 6)
    mask, low = f("compare", "x", f.number(9.0), kind="less"), f.number(-1e9)
    if inverted:
        mask = f("compare", "x", f.number(-9.0), kind="less")
    chosen = f("where", mask, *((low, "x") if inverted else ("x", low)))
    after = applied(f.ended(f("softmax", chosen)), masks)
    wanted = ["compare", "logical", "masked_softmax"] if inverted else ["compare", "masked_softmax"]
    assert ops(after) == wanted
