"""Which layers the accelerator does: rules whose docstrings are the reasons where it does not.

Reports, `edgekit check` and docs/ACCELERATOR.md read the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codegen.kernel import Layer
from codegen.npu.job import Image, Job, WindowJob, image_of
from codegen.npu.layers import convolution, elementwise, pooling
from codegen.npu.tiles import fits
from codegen.npu.weights import even, most_groups, unit
from edgekit.ops import windows as win
from edgekit.ops.base import sentence
from edgekit.ops.reduce import axes_of, kind_of, reduce_params
from edgekit.ops.requant import channel_requant, quant_of
from targets.npu.config import BLOCK, Accelerator
from targets.npu.isa import Add, encode

Rule = Callable[[Layer, Image, Accelerator], bool]
JobRule = Callable[[Job, Accelerator], bool]


def bytes_in_and_out(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Operands and result must be int8."""
    activations = [v for v in layer.inputs if v.name not in layer.constants]
    return all(v.dtype == "int8" for v in (*activations, *layer.outputs))


def not_in_float(layer: Layer, image: Image, a: Accelerator) -> bool:
    """It must compute in integers."""
    return not layer.node.attrs.get("float")


def one_batch(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Tensors must have a leading axis of 1 and another one."""
    shapes = [v.shape for v in layer.inputs if v.name not in layer.constants]
    return all(s[:1] == (1,) and len(s) > 1 for s in (*shapes, layer.output.shape))


def constant_weights(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Weights and biases must be constants."""
    return all(name in layer.constants for name in layer.node.inputs[1:])


def weights_of_bytes(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Weights must have 8 bits and biases 32."""
    return layer.node.attrs.get("weight_bits", 8) == 8 and layer.inputs[2].dtype == "int32"


def one_group(layer: Layer, image: Image, a: Accelerator) -> bool:
    """A convolution must have one group."""
    return int(layer.node.attrs.get("groups", 1)) == 1


def one_multiplier(layer: Layer, image: Image, a: Accelerator) -> bool:
    """A depthwise layer must have one input channel, or as many of them as output channels."""
    return layer.inputs[0].shape[3] == layer.output.shape[3]


def factors(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Factors of the requantization must be below 2^31."""
    return int(channel_requant(layer.node, list(layer.inputs), layer.output).shift.max()) <= 31


def little_padding(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Padding must be smaller than the window."""
    node = layer.node
    if "kernel" in node.attrs:
        kernel = win.pair(node, "kernel")
    else:
        shape = layer.inputs[1].shape
        kernel = (shape[0], shape[1]) if node.op == "depthwise_conv2d" else (shape[1], shape[2])
    dilations, pads = win.pair(node, "dilations", 1), win.pads_of(node)
    return all(
        max(pads[axis], pads[axis + 2]) <= (kernel[axis] - 1) * dilations[axis] for axis in (0, 1)
    )


def proven_divisors(layer: Layer, image: Image, a: Accelerator) -> bool:
    """A mean must be of at most 16384 pixels, and exact for every sum that there can be."""
    counts = set(pooling.counts_of(layer).ravel().tolist())
    return all(pooling.divisor(count) is not None for count in counts)


def few_divisors(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Windows at the border must not cut an average into more than 64 commands."""
    counts = pooling.counts_of(layer)
    return counts.size <= 1 << 16 and len(pooling.parts_of(counts)) <= pooling.MOST_PARTS


def pixel_axes(layer: Layer, image: Image, a: Accelerator) -> bool:
    """A reduction must be a sum, mean or maximum over pixels."""
    x, axes = layer.inputs[0], axes_of(layer.node)
    over_pixels = len(x.shape) in (3, 4) and set(axes) <= set(range(1, len(x.shape) - 1))
    return kind_of(layer.node) in ("sum", "mean", "max") and bool(axes) and over_pixels


def shifts(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Its requantization must not shift by more than 31."""
    if kind_of(layer.node) == "max":
        return True
    return abs(reduce_params(layer.node, list(layer.inputs), layer.output).shift) <= 31


def same_shapes(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Operands must be two tensors of one shape."""
    a_shape, b_shape = (v.shape for v in layer.inputs)
    return not layer.constants and a_shape == b_shape == layer.output.shape


def one_byte(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Each byte of the result must be a function of one byte: other operands are constants of one
    element."""
    activations = [v for v in layer.inputs if v.name not in layer.constants]
    return (
        len(activations) == 1
        and len(layer.outputs) == 1
        and activations[0].shape == layer.output.shape
        and all(c.size == 1 for c in layer.constants.values())
        and all(quant_of(v).scale.size == 1 for v in layer.inputs if v.quant is not None)
    )


def along_channels(layer: Layer, image: Image, a: Accelerator) -> bool:
    """Operands must be activations, put together along the channels, with a multiple of 8 channels
    in all but the last."""
    parts = layer.inputs
    axis = int(layer.node.attrs["axis"]) == len(layer.output.shape) - 1
    return axis and not layer.constants and all(v.shape[-1] % BLOCK == 0 for v in parts[:-1])


def has_tables(layer: Layer, image: Image, a: Accelerator) -> bool:
    """The accelerator must be a configuration with tables."""
    return a.tables


def fields_hold(job: Job, a: Accelerator) -> bool:
    """Sizes, strides, dilations and padding must fit the fields of a command."""
    try:
        if isinstance(job, WindowJob):
            encode(job.window)
        else:
            encode(Add(0, 0, 0, job.result.words))
    except ValueError:
        return False
    return True


def weights_fit(job: Job, a: Accelerator) -> bool:
    """Weights of 8 output channels, or of one group of lanes, must fit the weight memory."""
    if not isinstance(job, WindowJob) or job.weights is None:  # pools read none
        return True
    return unit(job, a) * job.window.steps <= a.w_words


def parameters_fit(job: Job, a: Accelerator) -> bool:
    """Parameters of that many channels must fit the parameter memory."""
    return not isinstance(job, WindowJob) or max(job.lanes(a), 8) <= a.p_channels


def rows_fit(job: Job, a: Accelerator) -> bool:
    """A row of the result must fit the activation memory with the rows that it is made of."""
    return fits(job, a)


def few_commands(job: Job, a: Accelerator) -> bool:
    """Row by row it must take at most 20000 commands."""
    if not isinstance(job, WindowJob):
        return job.result.height * job.result.blocks <= MOST_COMMANDS
    most = most_groups(job, a, a.w_words // 2, a.p_channels // 2)
    parts = max(1, len(job.parts))
    return (job.result.height + parts) * len(even(job, a, most)) <= MOST_COMMANDS


#: Each has up to three transfers, of which `after` counts 65535.
MOST_COMMANDS = 20_000

COMMON: tuple[Rule, ...] = (bytes_in_and_out, not_in_float, one_batch)
WEIGHTED: tuple[Rule, ...] = (*COMMON, constant_weights, weights_of_bytes, factors)
FUNCTION: tuple[Rule, ...] = (*COMMON, one_byte, has_tables)
JOB_RULES: tuple[JobRule, ...] = (fields_hold, weights_fit, parameters_fit, rows_fit, few_commands)


@dataclass(frozen=True)
class Way:
    """How the accelerator does an operator: with which command, where `rules` hold."""

    command: str
    rules: tuple[Rule, ...]
    job: Callable[[Layer, Image, Accelerator], Job]


CONV = Way("CONV", (*WEIGHTED, one_group, little_padding), convolution.convolution)
DEPTHWISE = Way("DEPTHWISE", (*WEIGHTED, one_multiplier, little_padding), convolution.depthwise)
FULL = Way("CONV", WEIGHTED, convolution.fully_connected)
SUM = Way("SUM", (*COMMON, proven_divisors, few_divisors), pooling.average)
MAX = Way("MAX", COMMON, pooling.maximum)
REDUCE = Way("SUM or MAX", (*COMMON, pixel_axes, shifts), pooling.reduction)
ADD = Way("ADD", (*COMMON, same_shapes, has_tables), elementwise.total)
CONCAT = Way("ADD", (*COMMON, along_channels, has_tables), elementwise.concat)
TABLE = Way("ADD", FUNCTION, elementwise.function)

#: Operators and the ways in which the accelerator does them, the first one that applies.
WAYS: dict[str, tuple[Way, ...]] = {
    "conv2d": (CONV,),
    "depthwise_conv2d": (DEPTHWISE,),
    "fully_connected": (FULL,),
    "average_pool2d": (SUM,),
    "max_pool2d": (MAX,),
    "reduce": (REDUCE,),
    "concat": (CONCAT,),
    "add": (ADD, TABLE),
    "sub": (ADD, TABLE),
    **dict.fromkeys(
        ("clip", "unary", "mul", "div", "pow", "minimum", "maximum", "squared_difference", "prelu"),
        (TABLE,),
    ),
}
NO_COMMAND = "the accelerator has no command for this operator"


def ways_of(layer: Layer) -> tuple[Way, ...]:
    if layer.node.op == "depthwise_conv2d" and layer.inputs[0].shape[3] == 1:
        return (CONV,)
    if layer.node.op in ("add", "sub") and layer.constants:
        return (TABLE,)
    return WAYS.get(layer.node.op, ())[:1]


def decide(layer: Layer, image: Image | None, a: Accelerator) -> Job | str:
    """What the accelerator does for a layer, or why it stays on the CPU.

    Args:
        image: how its first activation lies in the activation memory; None: as its shape says.
    """
    found = ways_of(layer)
    if not found:
        return NO_COMMAND
    way = found[0]
    activations = [v for v in layer.inputs if v.name not in layer.constants]
    if not activations:
        return sentence(one_byte)
    x = image_of(activations[0].shape) if image is None else image
    for rule in way.rules:
        if not rule(layer, x, a):
            return sentence(rule)
    job = way.job(layer, x, a)
    for job_rule in JOB_RULES:
        if not job_rule(job, a):
            return sentence(job_rule)
    return job


def common() -> list[str]:
    """What must hold of every layer, as sentences."""
    rules: list[Callable[..., bool]] = [*COMMON, fields_hold, rows_fit, few_commands]
    return [sentence(rule) for rule in rules]


def table() -> list[tuple[str, str, str]]:
    """(operators, command, what must hold besides `common`) of what the accelerator does."""
    operators: dict[int, list[str]] = {}
    ways: dict[int, Way] = {}
    for op, offered in WAYS.items():
        for way in offered:
            operators.setdefault(id(way), []).append(op)
            ways[id(way)] = way
    rows = []
    for key, way in ways.items():
        own: list[Callable[..., bool]] = [rule for rule in way.rules if rule not in COMMON]
        if constant_weights in way.rules:
            own += [weights_fit, parameters_fit]
        rows.append(
            (", ".join(operators[key]), way.command, " ".join(f"{sentence(r)}." for r in own))
        )
    return rows


__all__ = ["WAYS", "common", "decide", "table"]
