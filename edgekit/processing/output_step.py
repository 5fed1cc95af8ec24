"""Behind a model: the number of a class, a threshold, boxes that do not overlap."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.processing.check import flag, number, refuse, word


@dataclass(frozen=True)
class Classify:
    """The best classes of the model's scores.

    Attributes:
        top: how many; 1 gives their number alone, more give scores and numbers, best first.
        threshold: with top 1, the class is -1 where its score is below this (a real number as the
            model gives it). A model with one score gives true where it reaches the threshold.
        scores: keep the scores as a further output.
        output: the model's output with the scores; None for the first.
    """

    top: int = 1
    threshold: float | None = None
    scores: bool = False
    output: str | None = None

    def __post_init__(self) -> None:
        flag("classify", "scores", self.scores)
        if self.output is not None:
            word("classify", "output", self.output)
        number("classify", "top", self.top, 1, 1000, whole=True)
        if self.threshold is not None:
            number("classify", "threshold", self.threshold, -1e30, 1e30, whole=False)
            if self.top != 1:
                refuse("classify", [f"a threshold and top {self.top}: it goes with top 1"], "E182")


@dataclass(frozen=True)
class Detect:
    """Boxes that do not overlap (non-maximum suppression).

    Attributes:
        boxes, scores: the model's outputs: [1, N, 4] corners y1, x1, y2, x2 (or x1, y1, x2, y2)
            and [1, N, C] scores.
        most: how many boxes are given.
        iou: boxes of one class that overlap by more than this share are one.
        threshold: boxes with a lower score are none.
    """

    boxes: str
    scores: str
    most: int = 10
    iou: float = 0.5
    threshold: float = 0.5

    def __post_init__(self) -> None:
        word("detect", "boxes", self.boxes)
        word("detect", "scores", self.scores)
        number("detect", "most", self.most, 1, 1000, whole=True)
        number("detect", "iou", self.iou, 0, 1, whole=False)
        number("detect", "threshold", self.threshold, -1e30, 1e30, whole=False)
