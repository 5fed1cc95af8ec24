"""pyOCD as a library: its probes, its sessions, and its exceptions as ours."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from edgekit.devices.clients.probes import unreadable_probes
from edgekit.devices.links.ports import permission_advice
from edgekit.errors import EdgekitError
from targets import Board

_REMOTE = "remote:"
#: Seconds for one access; erasing goes on in the chip and is many accesses.
_SILENCE = 10.0


class PyocdMemory:
    """See `edgekit.devices.links.rtt.DeviceMemory`; the program runs on meanwhile."""

    def __init__(self, board: Board, session: Any) -> None:
        self.board, self._session = board, session
        with errors(board):
            if session.target.is_halted():
                session.target.resume()

    def read(self, address: int, size: int) -> bytes:
        with errors(self.board):
            return read_memory(self._session.target, address, size)

    def write(self, address: int, data: bytes) -> None:
        with errors(self.board):
            self._session.target.write_memory_block8(address, list(data))

    def run(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        close_session(self._session)


def load_pyocd() -> None:
    """Make sure that pyOCD is installed; raises EdgekitError E642."""
    try:
        import pyocd.core.session  # noqa: F401
    except ImportError as error:
        raise EdgekitError(
            "E642",
            f"route 'pyocd' needs pyOCD, which is not installed ({error})",
            help="python -m pip install 'edgekit[probe]'",
        ) from None
    # It writes its own messages to standard error; what matters comes as an exception.
    logging.getLogger("pyocd").setLevel(logging.CRITICAL)


def find_probe(board: Board, port: str | None) -> Any:
    """The probe whose unique id contains `port`, or the only one.

    Raises:
        EdgekitError: E642 no pyOCD, E643 none or several, E644 a probe that this user may not open.
    """
    load_pyocd()
    from pyocd.core.helpers import ConnectHelper

    with errors(board):
        probes = ConnectHelper.get_all_connected_probes(blocking=False, unique_id=port)
    if len(probes) == 1:
        return probes[0]
    if probes:
        raise EdgekitError(
            "E643",
            f"{len(probes)} debug probes are connected" + (f" like '{port}'" if port else ""),
            details=[f"{probe.unique_id}: {probe.description}" for probe in probes],
            help=f"choose one, for instance --port {probes[0].unique_id}",
        )
    closed = unreadable_probes()
    if closed:
        raise EdgekitError(
            "E644",
            f"a debug probe ({', '.join(closed)}) may not be opened by this user",
            details=permission_advice(tuple(closed)),
            help="do this, then plug the probe in again",
        )
    raise EdgekitError(
        "E643",
        f"no debug probe is connected whose id contains '{port}'"
        if port
        else "no debug probe is connected",
        help="'pyocd list' shows those that it finds; a probe on another computer is "
        "--port remote:HOST:PORT (pyocd server)",
    )


def open_session(board: Board, probe: Any, target: str, mode: str, frequency: int = 0) -> Any:
    """An open session of pyOCD with the board's chip.

    Args:
        target: pyOCD's name of the chip.
        mode: "halt", "attach" (the program runs on), "under-reset" or "pre-reset".
        frequency: Hz of the debug clock, 0 for pyOCD's choice.

    Raises:
        EdgekitError: E645 where pyOCD has no such target, or the chip does not answer.
    """
    from pyocd.core import exceptions
    from pyocd.core.session import Session

    if not target:
        raise EdgekitError(
            "E645",
            f"board '{board.name}' does not say what pyOCD calls its chip",
            help='it needs [settings.pyocd] target = "..."; pyocd list --targets has the names',
        )
    options = {
        "target_override": target,
        "connect_mode": mode,
        "auto_unlock": False,  # unlocking erases everything
        "no_config": True,
        "resume_on_disconnect": True,
    }
    if frequency:
        options["frequency"] = frequency
    try:
        with errors(board):
            session = Session(probe, auto_open=False, options=options)
    except exceptions.TargetSupportError as error:
        raise _unknown_target(board, target, error) from None
    try:
        with errors(board):
            _limit_waiting(probe)
            session.open()
    except BaseException:
        close_session(session)
        raise
    return session


def _unknown_target(board: Board, target: str, error: Exception) -> EdgekitError:
    return EdgekitError(
        "E645",
        f"pyOCD does not know the chip '{target}' of board '{board.name}'",
        details=[str(error)],
        help=f"it may be in a pack: pyocd pack install {target}",
    )


def _limit_waiting(probe: Any) -> None:
    """pyOCD 0.46 waits for ever for a remote probe that was closed, or says nothing."""
    wire = getattr(probe, "_socket", None)
    if wire is None or not probe.unique_id.startswith(_REMOTE):
        return
    receive: Callable[..., bytes] = wire.read
    since: float | None = None  # when it was first waited for in vain

    def read(*arguments: Any) -> bytes:
        nonlocal since
        try:
            data = receive(*arguments)
        except TimeoutError:
            since = since or time.monotonic()
            if time.monotonic() - since > _SILENCE:
                raise ConnectionError(f"nothing came for {_SILENCE:g} s") from None
            raise
        since = None
        if not data:
            raise ConnectionResetError("it closed the connection")
        return data

    wire.read = read


def close_session(session: Any) -> None:
    """Close it whatever state it is in; the CPU runs on where it can still be told so."""
    probe = session.probe
    for close in (session.close, probe.close, getattr(probe, "_socket", probe).close):
        with contextlib.suppress(Exception):
            close()


def read_memory(chip: Any, address: int, size: int) -> bytes:
    """Bytes of a chip's memory, by words where they are whole."""
    start = address & ~3
    words = chip.read_memory_block32(start, (address + size - start + 3) // 4)
    data = b"".join(int(word).to_bytes(4, "little") for word in words)
    return data[address - start :][:size]


@contextlib.contextmanager
def errors(board: Board) -> Iterator[None]:
    """pyOCD's exceptions as ours: E604 where the connection is gone, E640 where it refuses."""
    from pyocd.core import exceptions

    # The last two: a remote probe's answer was cut off; a core, or registers of it, that pyOCD did
    # not find when it looked what is on the chip.
    lost = (
        exceptions.ProbeError,
        exceptions.TransferError,
        exceptions.TimeoutError,
        OSError,
        json.JSONDecodeError,
        KeyError,
    )
    try:
        yield
    except exceptions.TargetSupportError:
        raise
    except lost as error:
        raise _gone(board, error) from error
    except AssertionError as error:
        # pyOCD's locks lose count where the probe goes while they are held.
        if not isinstance(error.__context__, lost):
            raise
        raise _gone(board, error.__context__) from error
    except exceptions.Error as error:
        raise EdgekitError(
            "E640",
            f"pyOCD could not do that on board '{board.name}': {_said(error)}",
            help="is the flash protected? pyocd erase --mass unlocks many chips",
        ) from error


def _gone(board: Board, error: BaseException) -> EdgekitError:
    return EdgekitError(
        "E604",
        f"the debug probe of board '{board.name}' is gone, or its chip does not answer: "
        f"{_said(error)}",
        help="check both cables; a chip that sleeps or is read-protected may need connect_mode "
        '= "under-reset" in [settings.pyocd]',
    )


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
