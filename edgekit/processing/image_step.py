"""Pixels in front of a model: crop, resize, colours, normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.processing.check import choice, number, refuse, shown

STEP = "image"
COLORS = ("rgb", "bgr", "gray")
RESIZES = ("linear", "nearest")
MOST_PIXELS = 8192
#: One number, or one per channel; kept as a tuple.
Numbers = float | Sequence[float]


@dataclass(frozen=True)
class Image:
    """Pixels of 8 bits to what the model reads. docs/PROCESSING.md says what each setting is.

    Attributes:
        height, width: of the images that come; None for the size that the model reads.
        crop: (top, left, height, width) in pixels, or "square" for the largest square in the
            middle; None for all.
        resize: "linear" or "nearest", where the size differs from the model's.
        source, model: colours of the images, and those that the model was trained with.
        mean, std: the model reads (pixel - mean) / std, pixels being 0 to 255; one number each, or
            one per channel of the model.

    Raises:
        EdgekitError: E181 for a setting that makes no sense.
    """

    height: int | None = None
    width: int | None = None
    crop: tuple[int, int, int, int] | str | None = None
    resize: str = "linear"
    source: str | None = None
    model: str | None = None
    mean: Numbers = 0.0
    std: Numbers = 1.0

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            if getattr(self, name) is not None:
                number(STEP, name, getattr(self, name), 1, MOST_PIXELS, whole=True)
        choice(STEP, "resize", self.resize, RESIZES)
        for name in ("source", "model"):
            if getattr(self, name) is not None:
                choice(STEP, name, getattr(self, name), COLORS)
        if isinstance(self.crop, str):
            choice(STEP, "crop", self.crop, ("square",))
        elif self.crop is not None:
            ok = isinstance(self.crop, tuple | list) and len(self.crop) == 4
            if not ok:
                refuse(STEP, [f"crop is {shown(self.crop)}, expected top, left, height, width"])
            object.__setattr__(self, "crop", tuple(self.crop))
            for name, value in zip(("top", "left", "height", "width"), self.crop, strict=True):
                least = 0 if name in ("top", "left") else 1
                number(STEP, f"crop's {name}", value, least, MOST_PIXELS, whole=True)
        for name, smallest in (("mean", -1e6), ("std", 1e-6)):
            given = getattr(self, name)
            row = tuple(given) if isinstance(given, list | tuple) else (given,)
            object.__setattr__(self, name, row)
            for v in row:
                number(STEP, name, v, smallest, 1e6, whole=False)
            if not row:
                refuse(STEP, [f"{name} is an empty list"])

    def per_channel(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std), one number each where all channels have the same.

        Raises:
            EdgekitError: E183 where there are not as many numbers as channels.
        """
        found: list[tuple[float, ...]] = []
        for name in ("mean", "std"):
            row = getattr(self, name)
            if len(row) not in (1, channels):
                refuse(
                    STEP,
                    [f"{name} has {len(row)} numbers, the model reads {channels} channels"],
                    "E183",
                )
            found.append(row)
        (mean, std) = found
        if len(set(mean)) == 1 and len(set(std)) == 1:
            return mean[:1], std[:1]
        return (
            mean if len(mean) == channels else mean * channels,
            std if len(std) == channels else std * channels,
        )


def area_of(
    crop: tuple[int, int, int, int] | str | None, height: int, width: int
) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) of what is kept of an image, None for all of it.

    Raises:
        EdgekitError: E183 where the crop reaches beyond the image.
    """
    if crop is None:
        return None
    if isinstance(crop, str):
        side = min(height, width)
        area = ((height - side) // 2, (width - side) // 2, side, side)
    else:
        area = crop
        bottom, right = area[0] + area[2], area[1] + area[3]
        if bottom > height or right > width:
            refuse(
                STEP,
                [f"the crop reaches row {bottom} and column {right} of an image of "
                 f"{height} x {width} pixels"],
                "E183",
            )  # fmt: skip
    return None if area == (0, 0, height, width) else area


def whole_mean(mean: float) -> int:
    """The nearest pixel value whose zero point int8 has."""
    return min(max(math.floor(mean + 0.5), 0), 255)
