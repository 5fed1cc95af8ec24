"""Running samples through a compiled model: numpy, this machine, or a board."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgekit import reference
from edgekit.devices.build import Firmware
from edgekit.devices.find import find_board
from edgekit.devices.flash import flash
from edgekit.devices.model import HostModel, model_firmware
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, Output
from targets import Board

Progress = Callable[[str, float], None]
#: Samples per call of the numpy reference: enough to be quick, few enough to fit in memory.
REFERENCE_BATCH = 32
#: The board does not answer, or nothing was ever flashed to it.
_NOT_OURS = ("E606", "E607")


def execute(
    folder: Output,
    inputs: Mapping[str, np.ndarray],
    where: str,
    *,
    mode: str = "interpreter",
    compiler: str = "zig",
    port: str | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Run raw integer samples [n, ...] in order; returns raw outputs [n, ...] by name.

    A model with states starts from their initial contents, and each sample from what the one
    before left.

    Args:
        where: "reference", "host", or the name of a board.

    Raises:
        EdgekitError: E601 for an unknown place, and whatever that place raises.
    """
    say = progress or (lambda stage, share: None)
    count = len(next(iter(inputs.values())))
    graph = folder.graph
    if where == "reference" and graph.states:
        say("numpy reference", 0.0)
        return reference.run(graph, inputs)
    if where == "reference":
        parts = []
        for i in range(0, count, REFERENCE_BATCH):
            say("numpy reference", i / count)
            feeds = {k: v[i : i + REFERENCE_BATCH] for k, v in inputs.items()}
            parts.append(reference.run(graph, feeds))
        return {n: np.concatenate([p[n] for p in parts]) for n in graph.outputs}
    rows: list[list[bytes]] = []
    if where == "host":
        folder.check_kernels()
        bundle = (folder.path / BUNDLE).read_bytes()
        host = HostModel(folder.sources, folder.name, bundle, mode)
        host.reset()
        for i in range(count):
            say("host", i / count)
            rows.append(host.run([inputs[n][i].tobytes() for n in graph.inputs]))
    else:
        board = find_board(where)
        with session(
            folder, board, mode=mode, compiler=compiler, port=port, progress=say
        ) as board_:
            if folder.bundle.states:
                board_.reset()
            for i in range(count):
                say(board.name, i / count)
                rows.append(board_.run([inputs[n][i].tobytes() for n in graph.inputs]))
    return {
        name: np.stack(
            [
                np.frombuffer(row[k], graph.values[name].dtype).reshape(
                    graph.values[name].sample_shape
                )
                for row in rows
            ]
        )
        for k, name in enumerate(graph.outputs)
    }


def build(
    folder: Output, board: Board, *, mode: str = "interpreter", compiler: str = "zig"
) -> Firmware:
    """Firmware of the compiled model for `board`, kept in OUT/firmware.

    Raises:
        EdgekitError: E620 where board and model are for different CPUs; E50x.
    """
    if board.target.name != folder.target:
        raise EdgekitError(
            "E620",
            f"'{folder.path}' is compiled for {folder.target}, board '{board.name}' has a "
            f"{board.target.name}",
            help=f"compile with --target {board.target.name}",
        )
    bundle = folder.check_kernels()
    return model_firmware(
        folder.sources,
        folder.name,
        board,
        mode=mode,
        bundle=folder.path / BUNDLE,
        layers=max(len(bundle.layers), 1),
        compiler=compiler,
        output=folder.path / "firmware" / f"{board.name}-{mode}.elf",
    )


@contextmanager
def session(
    folder: Output,
    board: Board,
    *,
    mode: str = "interpreter",
    compiler: str = "zig",
    port: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Session]:
    """A session with a board that runs this model; it is flashed where it runs anything else."""
    say = progress or (lambda stage, share: None)
    say(f"building for {board.name}", 0.0)
    firmware = build(folder, board, mode=mode, compiler=compiler)
    if not _runs(board, firmware, port):
        flash_firmware(board, firmware.elf, say)
    with connect(board, port=port) as open_session:
        check_hash(open_session, folder, board)
        yield open_session


def flash_firmware(board: Board, elf: Path, say: Progress) -> None:
    flash(board, elf, lambda done, total: say(f"flashing {board.name}", done / max(total, 1)))


def check_hash(open_session: Session, folder: Output, board: Board) -> None:
    """Make sure that the board answers for this very model.

    Raises:
        EdgekitError: E621.
    """
    found = open_session.hello().model_hash
    if found != folder.bundle.hash:
        raise EdgekitError(
            "E621",
            f"board '{board.name}' runs model {found.hex()}, '{folder.path}' is "
            f"{folder.bundle.hash.hex()}",
            help=f"edgekit flash {folder.path} --board {board.name}",
        )


def _runs(board: Board, firmware: Firmware, port: str | None) -> bool:
    try:
        with connect(board, port=port) as open_session:
            return open_session.hello().build_id == firmware.build_id
    except EdgekitError as error:
        if re.match("|".join(_NOT_OURS), error.code):
            return False
        raise
