"""Each numbered rule of edgekit/passes/fold_affine.py."""

from __future__ import annotations

import pytest
from graph_text import applied, floats, graph, ops

from edgekit.passes.fold_affine import fold_affine

X = 'input "x": float32[1, 5, 5, 4]'
VALID = '"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]'
SAME = '"strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]'
SHAPE = "float32[1, 5, 5, 4]"


def linear(op: str, source: str, result: str, pads: str = SAME) -> list[str]:
    """Lines of a 3x3 convolution from 4 to 4 channels, or of a matrix on 8 numbers."""
    size = 5 if pads == SAME else 3
    attrs = f"{{{pads}}}"
    if op == "fully_connected":
        weights, shape, attrs = floats("w", 8, 8), "float32[1, 8]", ""
    elif op == "depthwise_conv2d":
        weights, shape = floats("w", 3, 3, 4), f"float32[1, {size}, {size}, 4]"
    else:
        groups = 2 if op == "grouped" else 1
        weights, shape = floats("w", 4, 3, 3, 4 // groups), f"float32[1, {size}, {size}, 4]"
        attrs = f'{{"groups": {groups}, {pads}}}'
    op = "conv2d" if op == "grouped" else op
    bias = floats("b", 8 if op == "fully_connected" else 4)
    return [weights, bias, f'node {op} "lin" ("{source}", "w", "b") -> "{result}": {shape} {attrs}']


LINEAR = ["conv2d", "grouped", "depthwise_conv2d", "fully_connected"]


@pytest.mark.parametrize("op", LINEAR)
@pytest.mark.parametrize("scalar", [False, True])
def test_rule_1_behind(op: str, scalar: bool) -> None:
    fc = op == "fully_connected"
    shape, n = ("float32[1, 8]", 8) if fc else (SHAPE, 4)
    size = [1] if scalar else [n]
    lines = [
        'input "x": float32[1, 8]' if fc else X,
        *[floats("s", *size), floats("t", *size)],
        *linear(op, "x", "h"),
        f'node mul "m" ("h", "s") -> "i": {shape}',
        f'node add "a" ("i", "t") -> "y": {shape} {{"clamp": [0.0, null]}}',
    ]
    after = applied(graph(*lines, 'output "y"'), fold_affine)
    assert len(after.nodes) == 1
    assert after.nodes[0].attrs["clamp"] == [0.0, None]
    assert after.nodes[0].output == "y"


def test_rule_1_needs_a_private_unclamped_producer() -> None:
    mul = f'node mul "m" ("h", "s") -> "y": {SHAPE}'
    lines = [X, floats("s", 4), *linear("conv2d", "x", "h"), mul]
    applied(graph(*lines, 'output "y"', 'output "h"'), fold_affine, changes=False)
    lines[-2] = lines[-2].replace('"groups"', '"clamp": [0.0, null], "groups"')
    applied(graph(*lines, 'output "y"'), fold_affine, changes=False)


@pytest.mark.parametrize("op", LINEAR[:3])
@pytest.mark.parametrize("pads", [SAME, VALID])
def test_rules_2_and_3_in_front(op: str, pads: str) -> None:
    lines = [
        X,
        *[floats("s", 4), floats("t", 4)],
        f'node mul "m" ("x", "s") -> "h": {SHAPE}',
        f'node add "a" ("h", "t") -> "i": {SHAPE}',
        *linear(op, "i", "y", pads),
    ]
    after = applied(graph(*lines, 'output "y"'), fold_affine)
    # With padding the offset must stay; scale and offset become one operator then.
    first = [] if pads == VALID else ["depthwise_conv2d"]
    assert ops(after) == [*first, "depthwise_conv2d" if op == "depthwise_conv2d" else "conv2d"]


def test_rule_2_a_scale_passes_padding() -> None:
    lines = [X, floats("s", 4), f'node mul "m" ("x", "s") -> "h": {SHAPE}']
    after = applied(graph(*lines, *linear("conv2d", "h", "y"), 'output "y"'), fold_affine)
    assert ops(after) == ["conv2d"]


def test_rule_2_through_a_reshape_into_fully_connected() -> None:
    lines = [
        'input "x": float32[1, 1, 2, 4]',
        *[floats("s", 4), floats("t", 4)],
        'node mul "m" ("x", "s") -> "h": float32[1, 1, 2, 4]',
        'node add "a" ("h", "t") -> "i": float32[1, 1, 2, 4]',
        'node reshape "r" ("i") -> "j": float32[1, 8] {"shape": [1, 8]}',
        *linear("fully_connected", "j", "y"),
    ]
    after = applied(graph(*lines, 'output "y"'), fold_affine)
    assert ops(after) == ["reshape", "fully_connected"]


def test_rules_2_and_3_need_the_only_reader() -> None:
    lines = [X, floats("s", 4), f'node mul "m" ("x", "s") -> "h": {SHAPE}']
    g = graph(*lines, *linear("conv2d", "h", "y"), 'output "y"', 'output "h"')
    applied(g, fold_affine, changes=False)


@pytest.mark.parametrize("order", [["mul", "add"], ["add", "mul"]])
def test_rule_4_a_pair_on_an_image(order: list[str]) -> None:
    lines = [
        X,
        *[floats("s", 4), floats("t", 1, 1, 1, 4)],
        f'node {order[0]} "m" ("x", "s") -> "h": {SHAPE}',
        f'node {order[1]} "a" ("h", "t") -> "y": {SHAPE} {{"clamp": [0.0, 6.0]}}',
    ]
    after = applied(graph(*lines, 'output "y"'), fold_affine)
    assert ops(after) == ["depthwise_conv2d"]
    assert after.nodes[0].attrs["clamp"] == [0.0, 6.0]


def test_a_constant_that_varies_in_space_stays() -> None:
    lines = [X, floats("s", 5, 4), f'node mul "m" ("x", "s") -> "h": {SHAPE}']
    applied(graph(*lines, *linear("conv2d", "h", "y"), 'output "y"'), fold_affine, changes=False)


def test_overflow_is_not_folded() -> None:
    huge = f'constant "s": float32[4] = {[3e38] * 4}'
    lines = [X, huge, *linear("conv2d", "x", "h"), f'node mul "m" ("h", "s") -> "y": {SHAPE}']
    after = graph(*lines, 'output "y"')
    assert not fold_affine(after)


def test_integer_graphs_are_left_alone() -> None:
    g = graph(
        'input "x": int8[1, 2, 2, 1] scale=0.5 zero_point=0',
        'constant "c": int8[1] scale=0.5 zero_point=0 = [3]',
        'node mul "m" ("x", "c") -> "h": int8[1, 2, 2, 1] scale=0.5 zero_point=0',
        'node add "a" ("h", "c") -> "y": int8[1, 2, 2, 1] scale=0.5 zero_point=0',
        'output "y"',
    )
    assert not fold_affine(g)
