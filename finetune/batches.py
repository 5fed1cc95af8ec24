"""Training data in any of its forms, as checked batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgekit.data import LABEL, ONLY_INPUT, prepare
from edgekit.errors import EdgekitError
from edgekit.graph import Graph

Tensors = dict[str, torch.Tensor]
Teach = Callable[[Tensors], list[torch.Tensor]]


@dataclass(frozen=True)
class Batch:
    """`inputs` are float32 [n, ...] in the graph's layout, `targets` the teacher's outputs."""

    inputs: Tensors
    targets: list[torch.Tensor]
    labels: torch.Tensor | None


class ArrayBatches:
    """Arrays by input name, with `label` for class indices where there are any; shuffled anew
    for each epoch with torch's generator. The teacher sees each sample once."""

    def __init__(self, graph: Graph, arrays: Mapping[str, Any], size: int, teach: Teach) -> None:
        named = {name: as_array(x) for name, x in arrays.items()}
        labels = named.pop(LABEL, None) if LABEL not in graph.inputs else None
        self.arrays = prepare(graph, named, source="the training data")
        self.count = len(self.arrays[graph.inputs[0]])
        self.labels = _labels(labels, self.count)
        self.size = size
        parts = [
            teach(self._inputs(torch.arange(i, min(i + size, self.count))))
            for i in range(0, self.count, size)
        ]
        self.targets = [torch.cat(columns) for columns in zip(*parts, strict=True)]

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def __iter__(self) -> Iterator[Batch]:
        for rows in torch.randperm(self.count).split(self.size):
            labels = None if self.labels is None else self.labels[rows]
            yield Batch(self._inputs(rows), [t[rows] for t in self.targets], labels)

    def _inputs(self, rows: torch.Tensor) -> Tensors:
        return {name: tensor(x[rows.numpy()]) for name, x in self.arrays.items()}

    @property
    def labelled(self) -> bool:
        return self.labels is not None


class LoaderBatches:
    """A DataLoader, or anything that can be iterated once per epoch, of x, (x, y) or mappings
    {input name: x, "label": y}."""

    def __init__(self, graph: Graph, loader: Iterable[Any], teach: Teach) -> None:
        self.graph, self.loader, self.teach = graph, loader, teach
        self.size = 32  # loaders do not tell
        self.labelled = False
        for item in loader:
            self.labelled = _split(graph, item)[1] is not None
            break
        self.reads = 0

    def __len__(self) -> int:
        """0 where the loader does not know."""
        try:
            return len(self.loader)  # type: ignore[arg-type]
        except TypeError:
            return 0

    def __iter__(self) -> Iterator[Batch]:
        self.reads += 1
        empty = True
        for item in self.loader:
            empty = False
            named, y = _split(self.graph, item)
            arrays = prepare(self.graph, named, source="a batch of the training data")
            inputs = {name: tensor(x) for name, x in arrays.items()}
            labels = _labels(y, len(arrays[self.graph.inputs[0]]))
            yield Batch(inputs, self.teach(inputs), labels)
        if empty:
            raise EdgekitError(
                "E262",
                f"the training data gives no batch when it is read for the {self.reads}. time",
                help="pass a DataLoader or a list; a generator can be read only once",
            )


def batches_of(graph: Graph, data: Any, size: int, teach: Teach) -> ArrayBatches | LoaderBatches:
    """The batches of `data`; `teach` gives the teacher's outputs for inputs.

    Raises:
        EdgekitError: E262 where data is nothing that can be iterated, and E201 to E205.
    """
    if isinstance(data, Mapping):
        return ArrayBatches(graph, data, size, teach)
    if isinstance(data, np.ndarray | torch.Tensor):
        return ArrayBatches(graph, {ONLY_INPUT: data}, size, teach)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | Iterator):
        return LoaderBatches(graph, data, teach)
    raise EdgekitError(
        "E262",
        f"the training data is a {type(data).__name__}",
        help="pass a DataLoader, a list of (x, y), or arrays by input name (np.load of an .npz); "
        "a generator can be read only once",
    )


def _split(graph: Graph, item: Any) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """(arrays by input name, labels or None) of one batch of a loader."""
    if isinstance(item, Mapping):
        named = {str(name): as_array(x) for name, x in item.items()}
        return named, named.pop(LABEL, None) if LABEL not in graph.inputs else None
    parts = list(item) if isinstance(item, tuple | list) else [item]
    if len(parts) in (1, 2) and len(graph.inputs) == 1:
        named = {ONLY_INPUT: as_array(parts[0])}
        return named, as_array(parts[1]) if len(parts) == 2 else None
    raise EdgekitError(
        "E262",
        f"a batch of the training data has {len(parts)} parts for {len(graph.inputs)} inputs",
        help="a batch is x or (x, y) for a model with one input, else {input name: x, 'label': y}",
    )


def as_array(x: Any) -> np.ndarray:
    if isinstance(x, torch.Tensor):
        return x.detach().cpu().numpy()
    return np.asarray(x)


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))


def _labels(y: np.ndarray | None, count: int) -> torch.Tensor | None:
    if y is None:
        return None
    if y.ndim < 1 or len(y) != count:
        raise EdgekitError(
            "E265",
            f"labels of shape {list(y.shape)} for {count} samples",
            help="one label per sample",
        )
    return torch.from_numpy(np.ascontiguousarray(y, np.int64 if y.dtype.kind in "iub" else None))
