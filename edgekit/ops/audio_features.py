"""audio_features: from samples to what an audio network reads."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Quant, Value
from edgekit.ops.audio import floats, integers
from edgekit.ops.audio.plan import NOISE_BITS, plan_of
from edgekit.ops.audio.settings import Settings
from edgekit.ops.base import INTEGERS, Inferred, Operator, require, result_dtype
from edgekit.ops.requant import tensor_quant

#: Samples are int16 between -1 and 1.
PCM = Quant.make(2.0**-15, 0)


def samples(node: Node, inputs: list[Value]) -> bool:
    """It reads samples [1, N], float32 or int16 with the scale 1/32768 and the zero point 0."""
    x = inputs[0]
    if len(x.shape) != 2 or x.shape[0] != 1 or x.dtype not in ("float32", "int16"):
        return False
    return x.dtype == "float32" or (x.quant is not None and tensor_quant(x) == (2.0**-15, 0))


def settings(node: Node, inputs: list[Value]) -> bool:
    """Its settings must make sense."""
    return not Settings.of(node.attrs).mistakes()


def operands(node: Node, inputs: list[Value]) -> bool:
    """It reads samples alone or, where it tracks noise, the estimate of earlier frames as well,
    int32 [1, bands, 2] with the lower halves first."""
    s = Settings.of(node.attrs)
    noise = [(v.shape, v.dtype) for v in inputs[1:]]
    return not noise or (s.tracks_noise and noise == [((1, s.bands, 2), "int32")])


def long_enough(node: Node, inputs: list[Value]) -> bool:
    """There must be samples for one frame at least, and more than half a frame to reflect."""
    s, count = Settings.of(node.attrs), inputs[0].shape[1]
    return s.frames(count) >= 1 and (s.edges != "reflect" or count > s.margin)


def _long(pairs: np.ndarray) -> np.ndarray:
    """int64 [n, bands] of their halves, int32 [n, bands, 2], the lower one first."""
    high = pairs[..., 1].astype(np.int64) << 32
    return high | (pairs[..., 0].astype(np.int64) & 0xFFFFFFFF)


def _pairs(long: np.ndarray) -> np.ndarray:
    """The reverse of `_long`."""
    low = (long & 0xFFFFFFFF).astype(np.uint32).astype(np.int32)
    return np.stack([low, (long >> 32).astype(np.int32)], -1)


class AudioFeatures(Operator):
    """Frames, window, FFT, mel bands, logarithm, noise reduction and gain, DCT of audio."""

    name = "audio_features"
    converts = True
    rules = (settings, operands, samples, long_enough)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        s, x = Settings.of(node.attrs), inputs[0]
        plan_of(s)
        out = result_dtype(node, x)
        ok = out == "float32" if x.dtype == "float32" else out in INTEGERS
        require(ok, node, f"{x.dtype} does not give {out}")
        features = ((1, s.frames(x.shape[1]), s.features), out)
        return [features, *((v.shape, v.dtype) for v in inputs[1:])]

    def evaluate_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        s = Settings.of(node.attrs)
        if len(inputs) == 1:
            return [floats.features(s, inputs[0]).astype(np.float32)]
        unit = 2.0 ** (NOISE_BITS + plan_of(s).amplitude_bits)
        noise = _long(inputs[1]) / unit
        y = floats.features(s, inputs[0], noise).astype(np.float32)
        return [y, _pairs(np.round(noise * unit).astype(np.int64))]

    def evaluate_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], outs: list[Value]
    ) -> list[np.ndarray]:
        s = Settings.of(node.attrs)
        if len(inputs) == 1:
            return [integers.features(s, inputs[0], outs[0])]
        noise = _long(inputs[1])
        y = integers.features(s, inputs[0], outs[0], noise)
        return [y, _pairs(noise)]

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        """Window, butterflies (four products each), filters and DCT of all frames."""
        from edgekit.ops.audio import tables

        s = Settings.of(node.attrs)
        stages = plan_of(s).n
        count = s.frame_length + s.fft_length * stages
        if s.mels:
            count += int(tables.integer_filters(s).weights.size)
        return s.frames(inputs[0].shape[1]) * (count + s.coefficients * s.mels)


OPERATOR = AudioFeatures()
