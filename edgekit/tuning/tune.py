"""Timing variants and local sizes on a device, within a time, and choosing the fastest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.bundle.gpu import Gpu as Section
from edgekit.devices.gpu import A_CPU, VERDICTS, Choice, Gpu, Timing, tuning_file
from edgekit.devices.routes import Access
from edgekit.devices.session import Session
from edgekit.errors import EdgekitError
from edgekit.execute import session
from edgekit.output import Output
from edgekit.toolchain.cache import write_atomic
from edgekit.tuning.candidates import Candidate, candidates
from edgekit.tuning.record import Measured, Record, open_record, record_path
from targets import Board

Progress = Callable[[str, float], None]
#: What another choice than the compiler's has to save of the time: less is noise.
WORTH = 0.03
#: Of `VERDICTS`: no fault of anybody's.
LACKS = 2
DID_NOT_END = "did not end"
#: The device or the connection is gone: the rest is for another run.
_GONE = ("E604", "E606", "E607", "E609", "E612", "E650", "E654")


@dataclass(frozen=True)
class Tuned:
    """What is known of a model on a device after a run of the tuner.

    Attributes:
        layers: of each call: its name, the variant taken, its local sizes as text, ns of the
            compiler's own choice and of this one (0: not measured).
        measured, left: candidates; `left` is what there was no time for.
        choices: the file for the runtime; `record` has every measurement.
    """

    board: str
    device: str
    driver: str
    is_cpu: bool
    layers: tuple[tuple[str, str, str, int, int], ...]
    measured: int
    left: int
    wrong: tuple[str, ...]
    choices: Path
    record: Path

    def as_json(self) -> dict[str, Any]:
        names = ("name", "variant", "local_sizes", "default_ns", "ns")
        return {
            **{k: getattr(self, k) for k in ("board", "device", "driver", "is_cpu")},
            "layers": [dict(zip(names, layer, strict=True)) for layer in self.layers],
            "measured": self.measured,
            "left": self.left,
            "wrong": list(self.wrong),
            "choices": str(self.choices),
            "record": str(self.record),
        }


def tune(
    folder: Output,
    board: Board,
    *,
    seconds: float = 300.0,
    repeat: int = 10,
    restart: bool = False,
    allow_cpu: bool = False,
    compiler: str = "zig",
    access: Access | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Measure what is not measured yet, choose, and have the board's program keep the choice.

    The compiler's own choices are measured first, so that a short time already tells something.
    Interrupted, it goes on where it was: every measurement is in the record at once.

    Args:
        seconds: of measuring; what is left keeps the compiler's choice.
        repeat: runs of a candidate, of which the fastest counts.
        restart: measure everything again.
        allow_cpu: take a device that computes on the CPU, to try the tuner itself.

    Raises:
        EdgekitError: E383 where there is nothing to choose, E380 for a device that is a CPU,
            E382 for a damaged record, E670 without a device.
    """
    say = progress or (lambda stage, share: None)
    section = folder.bundle.gpu
    found = candidates(section) if section else []
    if section is None or not found:
        raise EdgekitError(
            "E383",
            f"'{folder.path}' has no variants for a GPU to choose from",
            help="compile it for a target with a GPU: edgekit targets",
        )
    bundle = folder.bundle.hash
    until = None
    while True:
        lost: EdgekitError | None = None
        with session(folder, board, compiler=compiler, access=access, progress=say) as opened:
            gpu = opened.gpu()
            _refuse_cpu(gpu, board, allow_cpu)
            path = record_path(folder.path, gpu)
            record = open_record(path, gpu, bundle.hex(), restart=restart)
            restart = False
            until = until or time.monotonic() + seconds
            lost = _measure(opened, found, record, repeat, until, say)
            if lost is None:
                choices = choose(section, found, record.measured)
                text = tuning_file(gpu, bundle, choices)
                chosen = path.with_suffix(".ektune")
                record.save()
                write_atomic(chosen, text)
                opened.keep_tuning(text)
                break
        if lost.code not in _GONE:
            raise lost
    _check(folder, board, compiler, access, say)
    return _report(folder, board, record, found, choices, chosen)


def _refuse_cpu(gpu: Gpu, board: Board, allow_cpu: bool) -> None:
    if gpu.is_cpu and not allow_cpu:
        raise EdgekitError(
            "E380",
            f"'{gpu.device}' of board '{board.name}' computes on the CPU: its times say nothing "
            "of a GPU",
            help="tune on the phone or board itself; --allow-cpu tries the tuner, "
            "its choice is for this device only",
        )


def _key(candidate: Candidate) -> str:
    return f"{candidate.name}: {candidate.key}"


def _measure(
    opened: Session,
    found: Sequence[Candidate],
    record: Record,
    repeat: int,
    until: float,
    say: Progress,
) -> EdgekitError | None:
    """Time what the record does not have; the error where the device is gone meanwhile."""
    todo = [c for c in found if _key(c) not in record.measured]
    for i, candidate in enumerate(todo):
        if time.monotonic() >= until:
            break
        say(f"{candidate.name} of layer {candidate.layer}", i / len(todo))
        # Should it take the device or this machine with it, it is not tried again.
        record.add(_key(candidate), Measured(0, DID_NOT_END))
        try:
            timing = opened.time_variant(
                candidate.layer, candidate.variant, candidate.choice, repeat
            )
        except EdgekitError as error:
            return error
        except KeyboardInterrupt:
            record.forget(_key(candidate))
            raise
        record.add(_key(candidate), _measured(timing))
        if timing.verdict == VERDICTS.index("device lost"):
            return EdgekitError("E609", f"the GPU of board '{opened.board.name}' was lost")
    return None


def _measured(timing: Timing) -> Measured:
    if timing.right:
        return Measured(timing.ns)
    detail = f" ({timing.detail})" if timing.detail else ""
    return Measured(0, VERDICTS[timing.verdict] + detail)


def choose(
    section: Section, found: Sequence[Candidate], measured: Mapping[str, Measured]
) -> list[Choice]:
    """The fastest right candidate of each layer where it beats the compiler's by `WORTH`.

    Layers without a line keep the compiler's choice: those whose own was not measured, too.
    """
    choices = []
    for layer in range(len(section.layers)):
        own, best = _best(layer, found, measured)
        if own is None or best is None or own is best[0]:
            continue
        choices.append(Choice(layer, best[0].name, best[0].sizes))
    return choices


def _best(
    layer: int, found: Sequence[Candidate], measured: Mapping[str, Measured]
) -> tuple[Candidate | None, tuple[Candidate, int] | None]:
    """The compiler's candidate of a layer, and what is taken with its time."""
    right = [
        (c, measured[_key(c)].ns)
        for c in found
        if layer in c.layers and _key(c) in measured and not measured[_key(c)].wrong
    ]
    # The first variant that works, with its own local sizes, is what runs without a choice.
    own = min(
        ((c, ns) for c, ns in right if not any(c.choice)),
        key=lambda pair: pair[0].variant,
        default=None,
    )
    if own is None:
        return None, None
    best = min(right, key=lambda pair: pair[1])
    return own[0], best if best[1] < (1 - WORTH) * own[1] else own


def _check(
    folder: Output, board: Board, compiler: str, access: Access | None, say: Progress
) -> None:
    """The program takes the choice at its next start, and gives the golden samples' bytes."""
    from edgekit.validate import validate

    say("checking the choice", 0.0)
    result = validate(folder, board, compiler=compiler, access=access)
    if result.first is not None:
        raise result.error()


def _report(
    folder: Output,
    board: Board,
    record: Record,
    found: Sequence[Candidate],
    choices: Sequence[Choice],
    chosen: Path,
) -> Tuned:
    taken = {c.layer: c for c in choices}
    layers = []
    for i, info in enumerate(folder.bundle.layers):
        own, best = _best(i, found, record.measured)
        if own is None or best is None:
            layers.append((info.name, "", "", 0, 0))
            continue
        sizes = best[0].sizes if i in taken else own.sizes
        text = " ".join("x".join(map(str, s)) for s in sizes)
        layers.append((info.name, best[0].name, text, record.measured[_key(own)].ns, best[1]))
    return Tuned(
        board.name,
        record.device,
        record.driver,
        record.is_cpu,
        tuple(layers),
        sum(_key(c) in record.measured for c in found),
        sum(_key(c) not in record.measured for c in found),
        tuple(
            f"{k}: {m.wrong}"
            for k, m in record.measured.items()
            if m.wrong and not m.wrong.startswith(VERDICTS[LACKS])
        ),
        chosen,
        record.path,
    )


def notice(tuned: Tuned) -> str:
    """What has to be said of times from a CPU; "" of a GPU's."""
    return A_CPU if tuned.is_cpu else ""
