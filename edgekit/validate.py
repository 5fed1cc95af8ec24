"""A board's bytes against those of the reference, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.devices.routes import Access
from edgekit.errors import EdgekitError
from edgekit.execute import Progress, execute, session
from edgekit.floating import tolerance
from edgekit.graph import Graph
from edgekit.output import Output
from targets import Board

#: What the board can be compared with, besides the samples that the bundle carries.
PEERS = ("reference", "host")
GOLDEN = "golden vectors"


@dataclass(frozen=True)
class Difference:
    """The first number that differs: sample, output's name, index in the sample, both integers."""

    sample: int
    output: str
    index: tuple[int, ...]
    expected: int | float
    found: int | float


@dataclass(frozen=True)
class Validation:
    """What a comparison found.

    Attributes:
        against: one of PEERS, or GOLDEN.
        equal: samples of which every byte of every output is equal, or every float close enough.
        different_bytes: of `bytes` of output in all.
        tolerance: what floats of a GPU may differ by and count as equal, as a share of the
            largest of their sample's output; 0 for no difference.
        correct: samples whose largest first output is the label's, of the peer and of the board;
            None without labels.
        notices: what there is to know of the run, in sentences.
    """

    board: str
    mode: str
    against: str
    samples: int
    equal: int
    bytes: int
    different_bytes: int
    first: Difference | None
    correct: tuple[int, int] | None
    notices: tuple[str, ...] = ()
    tolerance: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values; `accuracy` is that of the peer and of the board."""
        figures = {**asdict(self), "different": self.samples - self.equal, "accuracy": None}
        if self.correct is not None:
            figures["accuracy"] = [n / self.samples for n in self.correct]
        return figures

    def error(self) -> EdgekitError:
        """E660, for a comparison that found a difference."""
        first = self.first
        assert first is not None
        place = f"{first.output}[{', '.join(map(str, first.index))}]"
        return EdgekitError(
            "E660",
            f"board '{self.board}' gives other bytes than the {self.against} in "
            f"{self.samples - self.equal} of {self.samples} samples "
            f"({self.different_bytes} of {self.bytes} bytes)",
            details=[
                f"first: sample {first.sample}, {place}: {first.found} on the board, "
                f"{first.expected} expected"
            ],
            help="no figure of this board can be trusted until that is found; edgekit flash "
            "writes and verifies it again, --against host tells the C code from the board",
        )


def validate(
    folder: Output,
    board: Board,
    inputs: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray | None = None,
    *,
    against: str = "reference",
    mode: str = "interpreter",
    compiler: str = "zig",
    access: Access | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Run raw samples [n, ...] on the board, in order, and compare every byte of the outputs.

    A model with states starts from their initial contents, and each sample from what the one
    before left; golden vectors each start from the initial contents.

    Args:
        inputs: by input name; None takes the golden vectors that the bundle carries.
        labels: [n] class indices.
        against: "reference" (numpy) or "host" (the same C on this machine); golden vectors carry
            the reference's results.

    Raises:
        EdgekitError: E661 where there are no golden vectors, and what running raises.
    """
    say = progress or (lambda stage, share: None)
    graph = folder.graph
    fresh = inputs is None
    if inputs is None:
        inputs, expected, against = *_golden(folder), GOLDEN
    else:
        expected = execute(folder, inputs, against, mode=mode, compiler=compiler, progress=say)
    allowed = tolerance(graph, board.target.gpu)
    tally = _Tally(graph, expected, labels, allowed)
    with session(
        folder, board, mode=mode, compiler=compiler, access=access, progress=say
    ) as device:
        for i in range(tally.count):
            say(f"{board.name}, sample {i + 1} of {tally.count}", i / tally.count)
            if folder.bundle.states and (fresh or i == 0):
                device.reset()
            tally.add(i, device.run([inputs[n][i].tobytes() for n in graph.inputs]))
        notices = tuple(device.notices())
    return Validation(
        board.name,
        mode,
        against,
        tally.count,
        tally.equal,
        tally.bytes,
        tally.different_bytes,
        tally.first,
        None if labels is None else (tally.right[0], tally.right[1]),
        notices,
        allowed,
    )


def _golden(folder: Output) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and outputs [n, ...] of the bundle's golden vectors by name."""
    samples, graph = folder.bundle.golden, folder.graph
    if not samples:
        raise EdgekitError(
            "E661",
            f"'{folder.path}' carries no golden vectors",
            help="give samples with --data, or compile again",
        )

    def arrays(names: Sequence[str], rows: Sequence[Sequence[bytes]]) -> dict[str, np.ndarray]:
        return {
            name: np.stack([_array(graph, name, row[k]) for row in rows])
            for k, name in enumerate(names)
        }

    return (
        arrays(graph.inputs, [s.inputs for s in samples]),
        arrays(graph.outputs, [s.outputs for s in samples]),
    )


def _array(graph: Graph, name: str, data: bytes) -> np.ndarray:
    value = graph.values[name]
    return np.frombuffer(data, value.dtype).reshape(value.sample_shape)


class _Tally:
    """Compares a sample's outputs with what is expected, and counts."""

    def __init__(
        self,
        graph: Graph,
        expected: Mapping[str, np.ndarray],
        labels: np.ndarray | None,
        allowed: float = 0.0,
    ) -> None:
        self.graph, self.expected, self.labels = graph, expected, labels
        self.allowed = allowed
        self.count = len(expected[graph.outputs[0]])
        self.equal = self.bytes = self.different_bytes = 0
        self.first: Difference | None = None
        self.right = [0, 0]

    def add(self, sample: int, outputs: Sequence[bytes]) -> None:
        same = True
        for name, found in zip(self.graph.outputs, outputs, strict=True):
            wanted = np.ascontiguousarray(self.expected[name][sample])
            bytes_wanted, bytes_found = (
                np.frombuffer(data, np.uint8) for data in (wanted.tobytes(), found)
            )
            unequal = bytes_wanted != bytes_found
            self.bytes += len(bytes_wanted)
            if not unequal.any():
                continue
            self.different_bytes += int(unequal.sum())
            far = unequal
            if self.allowed:
                apart = np.abs(_array(self.graph, name, found) - wanted).reshape(-1)
                # Not a number is far from everything.
                close = apart <= self.allowed * np.abs(wanted).max()
                far = unequal & np.repeat(~close, wanted.itemsize)
            if far.any():
                same = False
                self._note(sample, name, wanted, found, int(np.argmax(far)))
        self.equal += same
        if self.labels is not None:
            name = self.graph.outputs[0]
            scores = self.expected[name][sample], _array(self.graph, name, outputs[0])
            for k, score in enumerate(scores):
                self.right[k] += int(score.reshape(-1).argmax() == self.labels[sample])

    def _note(self, sample: int, name: str, wanted: np.ndarray, found: bytes, byte: int) -> None:
        if self.first is not None:
            return
        at = np.unravel_index(byte // wanted.itemsize, wanted.shape)
        got = _array(self.graph, name, found)
        index = tuple(int(i) for i in at)
        self.first = Difference(sample, name, index, wanted[at].item(), got[at].item())
