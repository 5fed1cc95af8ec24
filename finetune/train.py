"""Fine-tuning: a student graph, its teacher, data, and a loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch

from edgekit.data import LABEL, ONLY_INPUT, prepare
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Value
from finetune.batches import ArrayBatches, Batch, LoaderBatches, Tensors, as_array, batches_of
from finetune.losses import Loss, default_loss, scores
from finetune.module import GraphModule, module_of
from finetune.quantized import calibrate, check_options, start_from_post_training

Optimizer = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
Progress = Callable[[str, float], None]
#: Samples of the training data that calibrate where no calibration data is given.
CALIBRATED = 256
#: Samples of the training data by which the best weights are chosen (batches of 32 in loaders).
PROBED = 1024


def adam_at(rate: float) -> Optimizer:
    """Adam with that learning rate."""
    return lambda params: torch.optim.Adam(params, rate)


def fine_tune(
    graph: Graph,
    data: Any,
    *,
    teacher: Graph | None = None,
    quantization: Mapping[str, Any] | None = None,
    calibration: Mapping[str, np.ndarray] | None = None,
    optimizer: Optimizer | None = None,
    loss: Loss | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress | None = None,
) -> Graph:
    """Train the weights of a canonical float graph further; the graph itself is left alone.

    The learning rate that `optimizer` sets falls to zero along half a cosine, epoch by epoch.
    Of the start and the ends of all epochs the weights with the least loss on up to 1024 training
    samples are kept. With the same seed, data and number of threads the result is the same.

    Args:
        data: arrays by input name [n, ...] (an .npz), with `label` for class indices where there
            are any; or a DataLoader or another re-iterable of x, (x, y) or such mappings.
        teacher: canonical float graph with the same inputs and outputs, for instance the one
            before pruning; None takes `graph` as it is now.
        quantization: options of `quantizer.quantize` for quantization-aware training, {} for its
            defaults; None trains in float. Training starts from the weights and biases of the
            post-training quantizer. Activation grids are chosen anew before each epoch, by the
            quantizer itself, for the weights as they are.
        calibration: what chooses those grids; give `quantize` the same data later. None takes
            up to 256 evenly spread samples of `data`, where that is arrays.
        optimizer: makes any torch optimizer for the parameters; None is Adam at 1e-3.
        loss: see `finetune.losses.Loss`; None is `Distillation`, of classes where the graph ends
            in a softmax or there are labels, of values otherwise.
        epochs: passes over the data, at least 1.
        batch_size: samples per step where `data` is arrays.
        progress: called with a line of text and the share done, 0 to 1.

    Returns:
        The graph with new weights. After quantization-aware training they lie on their integer
        grid, and ``quantize(result, calibration, **quantization, **DEPLOYED)`` gives the network
        that was trained.

    Raises:
        EdgekitError: E261 a graph that cannot be trained, E262 data of a wrong kind, E263 NaN or
            infinite loss, E264 a teacher that does not fit, E265 labels, E266 settings, E201 to
            E205 arrays, and those of `quantizer.quantize`.
    """
    _check_settings(epochs, batch_size)
    student, teaching = module_of(graph), module_of(teacher or graph)
    _check_teacher(student.graph, teaching.graph)
    names = scores(teaching.graph)

    def teach(inputs: Tensors) -> list[torch.Tensor]:
        with torch.no_grad():
            found = teaching.tensors(inputs, names)
        return [found[name] for name in names]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        batches = batches_of(student.graph, data, batch_size, teach)
        chosen = loss or default_loss(student.graph, batches.labelled)
        grids = _grids(student, quantization, calibration, data)
        _train(student, batches, chosen, _made(optimizer, student), epochs, grids, progress)
    return student.export()


def _train(
    student: GraphModule,
    batches: ArrayBatches | LoaderBatches,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    grids: Callable[[], None],
    progress: Progress | None,
) -> None:
    best = _Best(student, loss, list(islice(batches, -(-PROBED // batches.size))))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    names = scores(student.graph)
    report = progress or (lambda text, share: None)
    for epoch in range(epochs):
        grids()
        best.see()
        for step, batch in enumerate(batches):

            def closure(batch: Batch = batch, where: tuple[int, int] = (epoch, step)) -> float:
                optimizer.zero_grad()
                found = student.tensors(batch.inputs, names)
                value = loss([found[name] for name in names], batch.targets, batch.labels)
                _check_finite(float(value.detach()), *where)
                value.backward()
                return float(value.detach())

            last = float(optimizer.step(closure))
            share = (epoch + (step + 1) / max(len(batches), step + 1)) / epochs
            report(f"epoch {epoch + 1} of {epochs}, loss {last:.4g}", share)
        _check_weights(student, epoch, step)
        schedule.step()
    grids()
    best.see()
    best.restore()
    grids()


class _Best:
    """Remembers the weights with the least loss on a few batches of the training data."""

    def __init__(self, student: GraphModule, loss: Loss, probe: list[Batch]) -> None:
        self.student, self.loss, self.probe = student, loss, probe
        self.names = scores(student.graph)
        self.least = math.inf
        self.state = self._copy()

    def see(self) -> None:
        value = 0.0
        with torch.no_grad():
            for batch in self.probe:
                found = self.student.tensors(batch.inputs, self.names)
                ours = [found[name] for name in self.names]
                value += float(self.loss(ours, batch.targets, batch.labels))
        if value < self.least:
            self.least, self.state = value, self._copy()

    def restore(self) -> None:
        self.student.load_state_dict(self.state)

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: x.clone() for name, x in self.student.state_dict().items()}


def _check_settings(epochs: int, batch_size: int) -> None:
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise EdgekitError("E266", f"{name} is {value}", help="an integer of at least 1")


def _check_teacher(student: Graph, teacher: Graph) -> None:
    def described(graph: Graph, names: list[str]) -> list[str]:
        values: list[Value] = [graph.values[name] for name in names]
        return [f"{v.name}{list(v.shape)}" for v in values]

    def shapes(graph: Graph) -> list[tuple[int, ...]]:
        return [graph.values[name].shape for name in scores(graph)]

    ours, theirs = (described(g, g.inputs) for g in (student, teacher))
    if sorted(ours) != sorted(theirs):
        raise EdgekitError(
            "E264",
            f"the teacher reads {', '.join(theirs)}, the student {', '.join(ours)}",
            help="both must have the same inputs",
        )
    if shapes(student) != shapes(teacher):
        raise EdgekitError(
            "E264",
            f"the teacher gives {', '.join(described(teacher, teacher.outputs))}, the student "
            f"{', '.join(described(student, student.outputs))}",
            help="both must have outputs of the same shapes in the same order",
        )


def _grids(
    student: GraphModule,
    quantization: Mapping[str, Any] | None,
    calibration: Mapping[str, np.ndarray] | None,
    data: Any,
) -> Callable[[], None]:
    """What chooses the student's grids anew; nothing where training is in float."""
    if quantization is None:
        return lambda: None
    arrays, options = _calibration(student.graph, calibration, data), dict(quantization)
    check_options(options)
    start_from_post_training(student, arrays, options)
    return lambda: calibrate(student, arrays, options)


def _calibration(
    graph: Graph, calibration: Mapping[str, np.ndarray] | None, data: Any
) -> dict[str, np.ndarray]:
    arrays = calibration
    if arrays is None and isinstance(data, np.ndarray | torch.Tensor):
        arrays = spread({ONLY_INPUT: as_array(data)})
    if arrays is None and isinstance(data, Mapping):
        arrays = spread({name: as_array(x) for name, x in data.items()})
    if arrays is None:
        raise EdgekitError(
            "E207",
            "quantization-aware training on a loader needs calibration data",
            help="calibration={input name: about 100 typical samples}",
        )
    inputs = {name: x for name, x in arrays.items() if name != LABEL or LABEL in graph.inputs}
    return prepare(graph, inputs, source="the calibration data")


def spread(arrays: Mapping[str, np.ndarray], count: int = CALIBRATED) -> dict[str, np.ndarray]:
    """At most `count` samples of each array, evenly spread."""
    n = len(next(iter(arrays.values())))
    rows = np.linspace(0, n - 1, min(n, count)).astype(np.intp)
    return {name: x[rows] for name, x in arrays.items()}


def _made(optimizer: Optimizer | None, student: GraphModule) -> torch.optim.Optimizer:
    made = (optimizer or adam_at(1e-3))(list(student.parameters()))
    if not isinstance(made, torch.optim.Optimizer):
        raise EdgekitError(
            "E266",
            f"optimizer gives a {type(made).__name__}, no torch.optim.Optimizer",
            help="optimizer=lambda params: torch.optim.Adam(params, 1e-3)",
        )
    return made


def _check_finite(value: float, epoch: int, step: int) -> None:
    if not math.isfinite(value):
        raise EdgekitError(
            "E263",
            f"the loss is {value} in epoch {epoch + 1}, step {step + 1}",
            help="lower the learning rate; nothing was changed or written",
        )


def _check_weights(student: GraphModule, epoch: int, step: int) -> None:
    for name, parameter in student.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise EdgekitError(
                "E263",
                f"'{name}' has NaN or infinite weights after epoch {epoch + 1}, step {step + 1}",
                help="lower the learning rate; nothing was changed or written",
            )
