"""Running samples through a compiled model: numpy, this machine, or a board."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from edgekit import reference
from edgekit.devices.emulators import stored
from edgekit.devices.features import check_host
from edgekit.devices.find import find_board, find_target
from edgekit.devices.firmware.build import Firmware
from edgekit.devices.firmware.model import HostModel, model_firmware
from edgekit.devices.flash import FlashReport, flash
from edgekit.devices.routes import Access, refuse_packages_only, transport_of
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from edgekit.outdated import outdated
from edgekit.output import BUNDLE, Output
from targets import Board

Progress = Callable[[str, float], None]
#: Samples per call of the numpy reference: enough to be quick, few enough to fit in memory.
REFERENCE_BATCH = 32
#: Samples that a core of this machine takes at once.
HOST_BATCH = 16
#: The board does not answer, ends in a fault, talks by another transport, is of another version, or
#: nothing was ever flashed to it.
_NOT_OURS = ("E606", "E607", "E609", "E612", "E647")


def execute(
    folder: Output,
    inputs: Mapping[str, np.ndarray],
    where: str,
    *,
    mode: str = "interpreter",
    compiler: str = "zig",
    access: Access | None = None,
    progress: Progress | None = None,
    notices: list[str] | None = None,
) -> dict[str, np.ndarray]:
    """Run raw integer samples [n, ...] in order; returns raw outputs [n, ...] by name.

    A model with states starts from their initial contents, and each sample from what the one
    before left.

    Args:
        where: "reference", "host", or the name of a board.
        notices: gets what there is to know of the run, in sentences.

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
        rows = _on_host(folder, inputs, mode, say)
    else:
        board = find_board(where)
        with session(
            folder, board, mode=mode, compiler=compiler, access=access, progress=say
        ) as board_:
            if folder.bundle.states:
                board_.reset()
            for i in range(count):
                say(board.name, i / count)
                rows.append(board_.run([inputs[n][i].tobytes() for n in graph.inputs]))
            if notices is not None:
                notices += board_.notices()
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


def _on_host(
    folder: Output, inputs: Mapping[str, np.ndarray], mode: str, say: Progress
) -> list[list[bytes]]:
    """Outputs by sample. Without states samples have nothing to do with each other, and every core
    takes some."""
    folder.check_kernels()
    layers = folder.description.get("report", {}).get("layers", [])
    check_host(find_target(folder.target), [layer.get("family", "") for layer in layers])
    graph, count = folder.graph, len(next(iter(inputs.values())))
    with outdated(folder):
        host = HostModel(folder.sources, folder.name, (folder.path / BUNDLE).read_bytes(), mode)
    host.reset()
    cores = 1 if graph.states else min(os.cpu_count() or 1, -(-count // HOST_BATCH))
    free: SimpleQueue[HostModel] = SimpleQueue()
    for model in (host, *(host.another() for _ in range(cores - 1))):
        free.put(model)

    def run(first: int) -> list[list[bytes]]:
        model, last = free.get(), min(first + HOST_BATCH, count)
        try:
            return [
                model.run([inputs[n][i].tobytes() for n in graph.inputs])
                for i in range(first, last)
            ]
        finally:
            free.put(model)

    rows: list[list[bytes]] = []
    pool = ThreadPoolExecutor(cores)
    try:
        for done in pool.map(run, range(0, count, HOST_BATCH)):
            rows += done
            say("host", len(rows) / count)
    finally:
        pool.shutdown(cancel_futures=True)
    return rows


def build(
    folder: Output,
    board: Board,
    *,
    mode: str = "interpreter",
    compiler: str = "zig",
    transport: str | None = None,
    trigger: bool = False,
) -> Firmware:
    """Firmware of the compiled model for `board`, kept in OUT/firmware.

    Args:
        transport: how it talks to the host; None is the usual one of the board's first route.
        trigger: as for `edgekit.devices.firmware.build.build_firmware`.

    Raises:
        EdgekitError: E511 where packages are the only way to the board, E620 where board and model
            are for different CPUs, E671 where `mode` has nothing for the board's GPU, E387 where
            the folder is too old; E50x.
    """
    refuse_packages_only(board)
    if folder.target not in (board.target.name, *board.target.runs_too):
        raise EdgekitError(
            "E620",
            f"'{folder.path}' is compiled for {folder.target}, board '{board.name}' has a "
            f"{board.target.name}",
            help=f"compile with --target {board.target.name}",
        )
    if board.target.gpu and mode == "aot":
        raise EdgekitError(
            "E671",
            f"an ahead-of-time program has nothing for the GPU of '{board.name}'",
            help="leave --aot away",
        )
    bundle = folder.check_kernels()
    transport = transport or transport_of(board)
    variant = f"{mode}{f'-{transport}' * (transport != 'uart')}{'-trigger' * trigger}"
    with outdated(folder):
        return model_firmware(
            folder.sources,
            folder.name,
            board,
            mode=mode,
            bundle=folder.path / BUNDLE,
            layers=max(len(bundle.layers), 1),
            compiler=compiler,
            output=folder.path / "firmware" / f"{board.name}-{variant}.elf",
            transport=transport,
            trigger=trigger,
        )


@contextmanager
def session(
    folder: Output,
    board: Board,
    *,
    mode: str = "interpreter",
    compiler: str = "zig",
    access: Access | None = None,
    trigger: bool = False,
    progress: Progress | None = None,
) -> Iterator[Session]:
    """A session with a board that runs this model; it is flashed where it runs anything else."""
    if progress:
        progress(f"building for {board.name}", 0.0)
    firmware = build(
        folder,
        board,
        mode=mode,
        compiler=compiler,
        transport=transport_of(board, access),
        trigger=trigger,
    )
    with running(folder, board, firmware, access=access, progress=progress) as open_session:
        yield open_session


@contextmanager
def running(
    folder: Output,
    board: Board,
    firmware: Firmware,
    *,
    access: Access | None = None,
    progress: Progress | None = None,
) -> Iterator[Session]:
    """A session with a board that runs this firmware of the model, flashed where it does not."""
    say = progress or (lambda stage, share: None)
    access = replace(access or Access(), program=str(firmware.elf))
    with exclusive(board, access, say):
        if not _runs(board, firmware, access):
            flash_firmware(board, firmware.elf, say, access)
        with connect(board, access=access) as open_session:
            check_hash(open_session, folder, board)
            yield open_session


@contextmanager
def exclusive(board: Board, access: Access, say: Progress) -> Iterator[None]:
    """No other command has the board meanwhile, where it is one on this machine."""

    def wait() -> None:
        say(f"waiting for {board.name}: another edgekit has it", 0.0)

    with stored.exclusive(board, access.route or board.route, wait):
        yield


def flash_firmware(
    board: Board, elf: Path, say: Progress, access: Access | None = None
) -> FlashReport:
    """Flash with progress as bytes and a share; raises what `edgekit.devices.flash.flash` raises.

    Half of the bytes are those that are read back.
    """

    def tell(done: int, total: int) -> None:
        say(f"flashing {board.name}: {done} of {total} B", done / max(total, 1))

    return flash(board, elf, tell, access)


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


def _runs(board: Board, firmware: Firmware, access: Access) -> bool:
    try:
        with connect(board, access=access) as open_session:
            return open_session.hello().build_id == firmware.build_id
    except EdgekitError as error:
        if error.code in _NOT_OURS:
            return False
        raise
