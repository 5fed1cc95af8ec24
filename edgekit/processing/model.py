"""What is attached to a model: a step in front of an input, and one behind the outputs."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import EdgekitError
from edgekit.processing.audio_step import Audio
from edgekit.processing.image_step import Image
from edgekit.processing.output_step import Classify, Detect


@dataclass(frozen=True)
class Processing:
    """Steps around a model.

    Attributes:
        before: `Audio` or `Image`: what makes the model's input of samples or pixels.
        after: `Classify` or `Detect`: what makes an answer of the model's outputs.
        at: the model's input that `before` makes; None where the model has only one.
        calibrate: whether calibration data is "raw" (samples, pixels) or "features" (what the
            model itself reads).
    """

    before: Audio | Image | None = None
    after: Classify | Detect | None = None
    at: str | None = None
    calibrate: str = "raw"

    def __post_init__(self) -> None:
        if self.before is None and self.after is None:
            raise EdgekitError(
                "E180", "a processing without steps", help="give audio or image, classify or detect"
            )
        if self.calibrate not in ("raw", "features"):
            raise EdgekitError(
                "E181",
                f"calibrate is '{self.calibrate}'",
                help="raw: calibration data is samples or pixels; features: what the model reads",
            )
