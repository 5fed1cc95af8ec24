"""What the student is told to do like its teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, logits_of, scores_of

#: (student's tensors, teacher's tensors, labels or None) to a scalar; one tensor [n, ...] per
#: output of the graph, before its softmax where it has one.
Loss = Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor | None], torch.Tensor]


@dataclass(frozen=True)
class Distillation:
    """Knowledge distillation (Hinton et al., arXiv:1503.02531).

    Classes (`values` False): temperature squared times the Kullback-Leibler divergence of the
    softened class probabilities (last axis) from the teacher's. Where there are labels, that times
    1 - label_weight plus the first output's cross entropy times label_weight.
    Values (`values` True): squared error in units of the teacher's mean square; labels are unused.
    """

    temperature: float = 2.0
    label_weight: float = 0.3
    values: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 <= self.label_weight <= 1:
            raise EdgekitError(
                "E266",
                f"temperature {self.temperature}, label weight {self.label_weight}",
                help="the temperature is above 0, the label weight from 0 to 1",
            )

    def __call__(
        self,
        student: Sequence[torch.Tensor],
        teacher: Sequence[torch.Tensor],
        labels: torch.Tensor | None,
    ) -> torch.Tensor:
        pairs = list(zip(student, teacher, strict=True))
        if self.values:
            return torch.stack(
                [F.mse_loss(s, t) / t.square().mean().clamp(min=1e-12) for s, t in pairs]
            ).sum()
        if labels is None:
            return self._divergence(pairs)
        hard = F.cross_entropy(student[0], _checked(labels, student[0]))
        if self.label_weight == 1:
            return hard
        return (1 - self.label_weight) * self._divergence(pairs) + self.label_weight * hard

    def _divergence(self, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        t = self.temperature
        parts = [
            F.kl_div(
                F.log_softmax(s.reshape(-1, s.shape[-1]) / t, dim=-1),
                F.log_softmax(r.reshape(-1, r.shape[-1]) / t, dim=-1),
                reduction="batchmean",
                log_target=True,
            )
            for s, r in pairs
        ]
        return t * t * torch.stack(parts).sum()


def _checked(labels: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    classes = scores.shape[-1]
    if labels.dtype.is_floating_point or labels.shape != scores.shape[:-1]:
        raise EdgekitError(
            "E265",
            f"the labels are {labels.dtype}{list(labels.shape)}, expected integers "
            f"{list(scores.shape[:-1])}",
            help="one class index per sample; without labels distillation needs none",
        )
    lo, hi = int(labels.min()), int(labels.max())
    if lo < 0 or hi >= classes:
        raise EdgekitError(
            "E265",
            f"label {lo if lo < 0 else hi}, the model has classes 0 to {classes - 1}",
            help="labels are class indices that count from 0",
        )
    return labels


def default_loss(graph: Graph, labelled: bool) -> Distillation:
    """Classes where the graph ends in a softmax or there are labels, else values."""
    return Distillation(values=not labelled and not scores_of(graph))


def scores(graph: Graph) -> list[str]:
    """What losses see of each output: the operand of its softmax, else the output itself."""
    names = []
    for output in graph.outputs:
        producer = graph.producer(output)
        softmax = producer is not None and producer.op == "softmax"
        names.append(producer.inputs[0] if producer is not None and softmax else output)
    assert names[0] == logits_of(graph)
    return names
