"""The integer network in torch: the device's own integers forward, gradients as if in reals.

Activations are float tensors u = q - zero point, whole numbers, in units of their scale. Every
operator rounds exactly as docs/SPEC.md says, so that what is trained is what `quantizer.quantize`
makes. Gradients ignore rounding and stop where a result leaves its integers (the straight-through
estimator of Bengio et al., arXiv:1308.3432, with the clipping of Jacob et al., arXiv:1712.05877).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, GraphError, Node, Quant, Value
from edgekit.ops import operator
from edgekit.ops.convert import dequantize
from edgekit.ops.requant import (
    add_params,
    channel_requant,
    clamp_of_output,
    clip_params,
    effective_scales,
    mul_params,
    tensor_quant,
)
from finetune.operators import FUNCTIONS, Operands, window_sums
from quantizer.weights import (
    CHANNEL_AXIS,
    Weights,
    bias_scale,
    quantize_bias,
    quantize_weights,
)
from quantizer.widths import layer_name

#: Operators that move or compare numbers and keep their operand's integers.
MOVING = ("max_pool2d", "reshape", "transpose")


class _StraightThrough(torch.autograd.Function):
    """`whole` forward; backward the gradient of `real` where lo <= real <= hi."""

    @staticmethod
    def forward(
        ctx: Any, real: torch.Tensor, whole: torch.Tensor, lo: float, hi: float
    ) -> torch.Tensor:
        ctx.save_for_backward((real >= lo) & (real <= hi))
        return whole.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None


def straight_through(
    real: torch.Tensor, whole: torch.Tensor, lo: float = -np.inf, hi: float = np.inf
) -> torch.Tensor:
    result: torch.Tensor = _StraightThrough.apply(real, whole.to(torch.float32), lo, hi)
    return result


def round_half_away(x: torch.Tensor) -> torch.Tensor:
    """To the nearest integer, halves away from zero (C's `round`)."""
    whole = x.trunc()
    return whole + ((x - whole).abs() >= 0.5) * x.sign()


def rescaled(acc: torch.Tensor, multiplier: Any, shift: Any) -> torch.Tensor:
    """SPEC's MBQM of int64 accumulators: two roundings; multiplier and shift are scalars or [O]."""
    m, s = (torch.as_tensor(np.asarray(v, np.int64)) for v in (multiplier, shift))
    right = (-s).clamp(min=0)
    high = (torch.bitwise_left_shift(acc, s.clamp(min=0)) * m + (1 << 30)) >> 31
    half = torch.bitwise_left_shift(torch.ones_like(right), right) >> 1
    return torch.bitwise_right_shift(high + half - ((high < 0) & (right > 0)).long(), right)


class Grids:
    """The integers of a quantized graph, for the float graph that it was made from."""

    def __init__(self, graph: Graph, integer: Graph, weights: Weights) -> None:
        """`integer` is `quantizer.quantize`'s result for `graph` with that choice of `weights`:
        the same nodes in the same order, activations under the same names.

        Raises:
            EdgekitError: E266 where an activation is not int8.
        """
        _require_int8(graph, integer)
        self.weights: Weights = weights
        self.values = {v.name: v for v in integer.values.values()}
        self.bits: dict[str, int] = {}
        for f_node, i_node in zip(graph.nodes, integer.nodes, strict=True):
            for f_name, i_name in zip(f_node.inputs, i_node.inputs, strict=True):
                self.values[f_name] = integer.values[i_name]
            self.bits[f_node.output] = int(i_node.attrs.get("weight_bits", 8))

    def check(self, graph: Graph, integer: Graph) -> None:
        """Whether training would see the weights of `integer`, made from `graph`.

        Raises:
            GraphError: where the quantizer did more to them than rounding (a bug of ours: options
                that do so must be in `DEPLOYED`).
        """
        for f_node, i_node in zip(graph.nodes, integer.nodes, strict=True):
            if f_node.op in CHANNEL_AXIS:
                weight, bias = (graph.constants[name] for name in f_node.inputs[1:])
                q, quant = self.on_grid(f_node, weight, bias)
                scale = bias_scale(tensor_quant(self.values[f_node.inputs[0]])[0], quant)
                whole = (integer.constants[name] for name in i_node.inputs[1:])
                if any(map(_differ, (q, quantize_bias(bias, scale)), whole)):
                    raise GraphError(f"the quantizer moves weights of '{layer_name(f_node)}'")

    def enter(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Real numbers as u."""
        scale, zero_point = tensor_quant(self.values[name])
        real = x / scale
        q = (round_half_away(real.detach()) + zero_point).clamp(-128, 127)
        return straight_through(real, q - zero_point, -128 - zero_point, 127 - zero_point)

    def leave(self, name: str, u: torch.Tensor) -> torch.Tensor:
        """u as real numbers."""
        return u * tensor_quant(self.values[name])[0]

    def run(
        self, node: Node, operands: Operands, parameters: tuple[torch.Tensor, torch.Tensor] | None
    ) -> torch.Tensor:
        """One node on operands u; `parameters` are the real weights and biases of a layer."""
        if parameters is not None:
            return self._weighted(node, operands[0], *parameters)
        out = self.values[node.output]
        values = [self.values[name] for name in node.inputs]
        if node.op in MOVING:
            return self._moved(node, operands, out)
        if node.op == "average_pool2d":
            return self._average(node, operands[0], out)
        if node.op == "softmax":
            return self._softmax(node, operands[0], values, out)
        scales = [tensor_quant(v)[0] / tensor_quant(out)[0] for v in values]
        a = operands[0].detach().long()
        if node.op == "add":
            p = add_params(node, values, out)
            b = operands[1].detach().long()
            total = rescaled(a << p.left_shift, p.multiplier_a, p.shift_a) + rescaled(
                b << p.left_shift, p.multiplier_b, p.shift_b
            )
            real = operands[0] * scales[0] + operands[1] * scales[1]
            whole = rescaled(total, p.multiplier_out, p.shift_out)
            return _finished(real, whole, out, p.qmin, p.qmax)
        if node.op == "mul":
            q = mul_params(node, values, out)
            real = operands[0] * operands[1] * (scales[0] * tensor_quant(values[1])[0])
            whole = rescaled(a * operands[1].detach().long(), q.multiplier, q.shift)
            return _finished(real, whole, out, q.qmin, q.qmax)
        assert node.op == "clip", node.op
        q = clip_params(node, values, out)
        whole = rescaled(a, q.multiplier, q.shift)
        return _finished(operands[0] * scales[0], whole, out, q.qmin, q.qmax)

    def on_grid(self, node: Node, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, Quant]:
        """(integers int8, their quantization) that the quantizer chooses for a layer's weights."""
        in_scale = tensor_quant(self.values[node.inputs[0]])[0]
        return quantize_weights(node, weight, bias, in_scale, self.weights, self.bits[node.output])

    def real_weights(self, node: Node, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The weights moved onto their grid, float32."""
        q, quant = self.on_grid(node, weight, bias)
        return dequantize(Value("w", tuple(q.shape), "int8", quant), q)

    def _weighted(
        self, node: Node, u: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        q, quant = self.on_grid(node, weight.detach().numpy(), bias.detach().numpy())
        x, out = self.values[node.inputs[0]], self.values[node.output]
        shape = [-1 if axis == CHANNEL_AXIS[node.op] else 1 for axis in range(weight.ndim)]
        steps = weight / torch.from_numpy(quant.scale).reshape(shape)
        w = straight_through(steps, torch.from_numpy(q))
        b_scale = bias_scale(tensor_quant(x)[0], quant)
        b = torch.from_numpy(quantize_bias(bias.detach().numpy(), b_scale).astype(np.int64))
        linear = replace(node, attrs={**node.attrs, "clamp": None})
        # Sums of integers below 2**24 are exact in float32, whatever their order.
        acc = FUNCTIONS[node.op](linear, [u, w, torch.zeros_like(bias)])
        values = [x, Value("w", tuple(q.shape), "int8", quant), self.values[node.inputs[2]]]
        p = channel_requant(node, values, out)
        factor = torch.from_numpy(effective_scales(node, values, out).astype(np.float32))
        real = acc * factor + bias / tensor_quant(out)[0]
        whole = rescaled(acc.detach().round().long() + b, p.multiplier, p.shift)
        return _finished(real, whole, out, p.qmin, p.qmax)

    def _moved(self, node: Node, operands: Operands, out: Value) -> torch.Tensor:
        free = replace(node, attrs={k: v for k, v in node.attrs.items() if k != "clamp"})
        u = FUNCTIONS[node.op](free, operands)
        zero_point = tensor_quant(out)[1]
        qmin, qmax = clamp_of_output(node, out)
        return u.clamp(qmin - zero_point, qmax - zero_point)

    def _average(self, node: Node, u: torch.Tensor, out: Value) -> torch.Tensor:
        total, count = window_sums(node, u)
        zero_point = tensor_quant(out)[1]
        # SPEC's sums have the zero point left in: halves go away from the integer zero.
        sums = total.detach().round().long() + zero_point * count.long()
        whole = sums.sign() * torch.div(
            sums.abs() + count.long() // 2, count.long(), rounding_mode="floor"
        )
        return _finished(total / count, whole - zero_point, out, *clamp_of_output(node, out))

    def _softmax(
        self, node: Node, u: torch.Tensor, values: list[Value], out: Value
    ) -> torch.Tensor:
        """Integers from the reference itself: outputs are small."""
        scale, zero_point = tensor_quant(values[0])
        q = (u.detach().round() + zero_point).numpy().astype(np.int8)
        whole = torch.from_numpy(operator(node.op).reference_int(node, [q], values, out))
        real = F.softmax(u * (scale * float(node.attrs.get("beta", 1.0))), dim=-1)
        out_scale, out_zero = tensor_quant(out)
        return straight_through(real / out_scale, whole.to(torch.float32) - out_zero)


def _require_int8(graph: Graph, integer: Graph) -> None:
    made = [*integer.inputs, *(node.output for node in integer.nodes)]
    wrong = [n for n in made if integer.values[n].dtype != "int8" or not integer.values[n].quant]
    if wrong or len(graph.nodes) != len(integer.nodes):
        what = f"'{wrong[0]}' is {integer.values[wrong[0]].dtype}" if wrong else "nodes were added"
        raise EdgekitError(
            "E266",
            f"{what} in the quantized network: quantization-aware training has int8 "
            "activations only",
            help="train with int8 activations throughout, or without quantization",
        )


def _differ(a: np.ndarray, b: np.ndarray) -> bool:
    return not np.array_equal(a, b)


def _finished(
    real: torch.Tensor, whole: torch.Tensor, out: Value, qmin: int, qmax: int
) -> torch.Tensor:
    """A result in its own units: `whole` clamped to the integers qmin .. qmax."""
    zero_point = tensor_quant(out)[1]
    lo, hi = qmin - zero_point, qmax - zero_point
    return straight_through(real, whole.clamp(lo, hi), lo, hi)
