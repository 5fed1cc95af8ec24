"""fully_connected: a 1x1 convolution with a pixel for each row in every family."""

from __future__ import annotations

from dataclasses import replace

from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import conv2d


def _as_conv(layer: Layer) -> Layer:
    x, w, bias = layer.inputs
    out_channels, taps = w.shape
    rows = x.size // taps
    data = layer.constants[w.name].reshape(out_channels, 1, 1, taps)
    return replace(
        layer,
        inputs=(replace(x, shape=(1, 1, rows, taps)), replace(w, shape=data.shape), bias),
        constants={**layer.constants, w.name: data},
        output=replace(layer.output, shape=(1, 1, rows, out_channels)),
    )


def _select_c99(layer: Layer) -> Candidate:
    return conv2d.select_c99(_as_conv(layer))


def _select_arm_dsp(layer: Layer) -> Candidate:
    return conv2d.select_arm_dsp(_as_conv(layer))


def _select_rv_cfu(layer: Layer) -> Candidate:
    return conv2d.select_rv_cfu(_as_conv(layer))


FAMILIES = {
    "rv_cfu": Family(_select_rv_cfu, conv2d.schedule_rv_cfu),
    "arm_dsp": Family(_select_arm_dsp, conv2d.schedule_arm_dsp),
    "c99": Family(_select_c99, conv2d.schedule_c99),
}
