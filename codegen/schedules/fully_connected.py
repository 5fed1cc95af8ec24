"""fully_connected: a 1x1 convolution with a pixel for each row in every family."""

from __future__ import annotations

from codegen.int8 import as_conv
from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import conv2d


def _select_c99(layer: Layer) -> Candidate:
    return conv2d.select_c99(as_conv(layer))


def _select_arm_dsp(layer: Layer) -> Candidate:
    return conv2d.select_arm_dsp(as_conv(layer))


def _select_rv_cfu(layer: Layer) -> Candidate:
    return conv2d.select_rv_cfu(as_conv(layer))


FAMILIES = {
    "rv_cfu": Family(_select_rv_cfu, conv2d.schedule_rv_cfu),
    "arm_dsp": Family(_select_arm_dsp, conv2d.schedule_arm_dsp),
    "c99": Family(_select_c99, conv2d.schedule_c99),
}
