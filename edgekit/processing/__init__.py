"""Pre- and post-processing that becomes part of a compiled model.

::

    from edgekit.processing import Processing, audio, classify

    edgekit.compile("kws.onnx", output="out", calibration={"audio": clips},
                    processing=Processing(audio(window_ms=30, hop_ms=20, mels=40, mfcc=10),
                                          classify()))

The model then reads samples or pixels and gives, for instance, the number of a class. Every step is
an ordinary operator of the graph: docs/PROCESSING.md has the settings, docs/SPEC.md the integers.
"""

from __future__ import annotations

from edgekit.processing.attach import attach_input, attach_output
from edgekit.processing.audio_step import Audio
from edgekit.processing.image_step import Image
from edgekit.processing.model import Processing
from edgekit.processing.output_step import Classify, Detect
from edgekit.processing.read import load

#: In the manner of functions, for calls that read as sentences.
audio, image, classify, detect = Audio, Image, Classify, Detect

__all__ = [
    "Audio", "Classify", "Detect", "Image", "Processing", "attach_input", "attach_output", "audio",
    "classify", "detect", "image", "load",
]  # fmt: skip
