"""audio_features: from samples to what an audio network reads."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Quant, Value
from edgekit.ops.audio import floats, integers
from edgekit.ops.audio.plan import plan_of
from edgekit.ops.audio.settings import Settings
from edgekit.ops.base import INTEGERS, Inferred, Operator, require, result_dtype
from edgekit.ops.requant import tensor_quant
from edgekit.ops.rules import one_operand

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


def long_enough(node: Node, inputs: list[Value]) -> bool:
    """There must be samples for one frame at least."""
    return Settings.of(node.attrs).frames(inputs[0].shape[1]) >= 1


class AudioFeatures(Operator):
    """Frames, window, FFT, mel bands, logarithm, noise reduction and gain, DCT of audio."""

    name = "audio_features"
    converts = True
    rules = (one_operand, samples, settings, long_enough)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        s, x = Settings.of(node.attrs), inputs[0]
        plan_of(s)
        out = result_dtype(node, x)
        ok = out == "float32" if x.dtype == "float32" else out in INTEGERS
        require(ok, node, f"{x.dtype} does not give {out}")
        return [((1, s.frames(x.shape[1]), s.features), out)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        s = Settings.of(node.attrs)
        return floats.features(s, inputs[0]).astype(np.float32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        return integers.features(Settings.of(node.attrs), inputs[0], out)

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
