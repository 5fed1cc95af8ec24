"""Crop, resize, colours and normalisation as nodes."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Shape
from edgekit.processing.check import refuse
from edgekit.processing.front import Front
from edgekit.processing.image_step import STEP, Image, area_of, whole_mean

#: ITU-R BT.601 luma.
LUMA = {"rgb": (0.299, 0.587, 0.114), "bgr": (0.114, 0.587, 0.299)}
CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1}
LINEAR = ("conv2d", "depthwise_conv2d", "fully_connected")
#: Scales that differ by less are one: exporters round them.
ALIKE = 1e-3


def image_nodes(front: Front, step: Image) -> None:
    """Everything between the pixels and what the model reads.

    Raises:
        EdgekitError: E183 where the model's input is no image, or of other colours or channels.
    """
    want = front.target
    if len(want.shape) != 4 or want.shape[3] not in (1, 3):
        refuse(
            STEP,
            [f"the model's input '{want.name}' {list(want.shape)} is no image [1, height, width, "
             "1 or 3 channels]"],
            "E183",
        )  # fmt: skip
    height, width, channels = want.shape[1:]
    default = "gray" if channels == 1 else "rgb"
    model = step.model or default
    source = step.source or model
    if CHANNELS[model] != channels:
        refuse(
            STEP,
            [f"the model reads {channels} channels, colours '{model}' have {CHANNELS[model]}"],
            "E183",
        )
    come = (step.height or height, step.width or width)
    x = front.samples((1, *come, CHANNELS[source]))
    mean, std = step.per_channel(channels)
    x = _shaped(front, step, x, (height, width))
    x = _coloured(front, x, source, model)
    _normalised(front, x, mean, std)


def _shaped(front: Front, step: Image, x: str, size: tuple[int, int]) -> str:
    height, width, channels = front.graph.values[x].shape[1:]
    area = area_of(step.crop, height, width)
    if area is not None:
        top, left, height, width = area
        attrs = {
            "starts": [0, top, left, 0],
            "stops": [1, top + height, left + width, channels],
            "steps": [1, 1, 1, 1],
        }
        x = front.emit("slice", [x], attrs)
    if (height, width) != size:
        scaling = {"size": [1, *size, channels], "mode": step.resize, "coordinates": "half_pixel"}
        x = front.emit("resize", [x], scaling)
    return x


def _coloured(front: Front, x: str, source: str, model: str) -> str:
    if source == model:
        return x
    if model == "gray":
        luma = np.array(LUMA[source], np.float32).reshape(1, 1, 1, 3)
        if front.integer:
            refuse(
                STEP,
                ["colours cannot become gray in front of a quantized model: the weights of that "
                 "sum are chosen when a float model is quantized"],
                "E183",
            )  # fmt: skip
        w = front.constant("luma", luma)
        bias = front.constant("luma_bias", np.zeros(1, np.float32))
        attrs = {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], "groups": 1}
        return front.emit("conv2d", [x, w, bias], attrs)
    order = np.array([0, 0, 0] if source == "gray" else [2, 1, 0], np.int32)
    return front.emit("gather", [x, front.constant("colors", order)], {"axis": 3})


def _normalised(front: Front, x: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """(x - mean) / std under the model's name for it."""
    if len(mean) > 1:
        _per_channel(front, x, np.array(mean), np.array(std))
        return
    whole, scale = whole_mean(mean[0]), std[0]
    quant = front.target.quant
    if front.integer and quant is not None:
        s, z = float(quant.scale[0]), int(quant.zero_point[0])
        alike = abs(1 / std[0] / s - 1) < ALIKE and abs(mean[0] - 128 - z) <= 0.5
        if alike and front.target.dtype == "int8":
            front.emit("rescale", [x], {"mean": z + 128, "std": 1 / s}, last=True)
            return
        x = front.emit("rescale", [x], {"mean": whole, "std": scale})
        front.emit("clip", [x], {"clamp": [None, None]}, last=True)
        return
    rest = (whole - mean[0]) / scale
    if rest and not _absorbed(front, rest):
        x = front.emit("rescale", [x], {"mean": whole, "std": scale})
        shift = front.constant("pixel_shift", np.full((1, 1, 1, 1), rest, np.float32))
        front.emit("add", [x, shift], {}, last=True)
        return
    front.emit("rescale", [x], {"mean": whole, "std": scale}, last=True)


def _absorbed(front: Front, rest: float) -> bool:
    """Whether the model's first layer, the only reader, takes up less than half a pixel value.

    Where it pads, zeros were the mean and become the pixel value next to it.
    """
    g, name = front.graph, front.target.name
    readers = g.consumers(name)
    if len(readers) != 1 or readers[0].op not in LINEAR or name in g.outputs:
        return False
    node = readers[0]
    if node.inputs[0] != name or not {*node.inputs[1:]} <= set(g.constants):
        return False
    w = g.constants[node.inputs[1]].astype(np.float64)
    axis = 2 if node.op == "depthwise_conv2d" else 0
    sums = w.sum(axis=tuple(i for i in range(w.ndim) if i != axis))
    bias = (g.constants[node.inputs[2]] + rest * sums).astype(np.float32)
    named = front.constant(f"{node.inputs[2]}_shifted", bias)
    front.rename(node, inputs=(name, node.inputs[1], named))
    return True


def _per_channel(front: Front, x: str, mean: np.ndarray, std: np.ndarray) -> None:
    """A scale and an offset per channel, which passes fold or turn into one depthwise layer."""
    if front.integer:
        refuse(
            STEP,
            ["mean and std per channel need a float model; a quantized one takes one number each"],
            "E183",
        )
    shape: Shape = (1, 1, 1, len(mean))
    scale = front.constant("pixel_scale", (1 / std).astype(np.float32).reshape(shape))
    shift = front.constant("pixel_shift", (-mean / std).astype(np.float32).reshape(shape))
    x = front.emit("mul", [x, scale], {})
    front.emit("add", [x, shift], {}, last=True)
