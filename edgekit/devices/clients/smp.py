"""The Simple Management Protocol's client (MCUmgr): smpclient's, with patience and explanations.

Groups and commands: Zephyr, "SMP protocol specification".
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from edgekit.devices.clients.mcuboot import missing
from edgekit.errors import EdgekitError

try:
    from smp.exceptions import SMPException
    from smpclient import SMPClient
    from smpclient.exceptions import SMPBadSequence, SMPClientException, SMPUploadError
    from smpclient.generics import error as is_error
    from smpclient.requests.image_management import (
        ImageStatesRead,
        ImageStatesWrite,
        ImageUploadWrite,
    )
    from smpclient.requests.os_management import ResetWrite
    from smpclient.transport import SMPTransport, SMPTransportDisconnected
    from smpclient.transport.serial import SMPSerialTransport
    from smpclient.transport.udp import SMPUDPTransport
except ImportError as absent:
    raise missing("smpclient") from absent

T = TypeVar("T")
#: Seconds for an answer, how often it is asked for, and seconds for one that erases a slot.
ANSWER, TRIES, ERASE = 2.0, 3, 40.0
DEFAULT_PORT = 1337
_ADDRESS = re.compile(r"udp://(\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+)(?::(\d{1,5}))?/?")

# Its own messages would stand beside ours.
logging.getLogger("smpclient").setLevel(logging.CRITICAL)
logging.getLogger("smp").setLevel(logging.CRITICAL)


class _Udp(SMPUDPTransport):
    """To any port; and no request larger than the server's buffer."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def connect(self, address: str, timeout_s: float, port: int | None = None) -> None:
        await super().connect(address, timeout_s, self._port)

    @property
    def max_unencoded_size(self) -> int:
        most: int = super().max_unencoded_size
        return min(most, self._smp_server_transport_buffer_size or most)


class _Client(SMPClient):
    """Asks again where an answer is lost or damaged; remembers the server's check of an upload."""

    matched: bool | None = None

    async def request(self, request: Any, timeout_s: float | None = None) -> Any:
        for left in reversed(range(TRIES)):
            try:
                answer = await super().request(request, timeout_s)
                break
            except (TimeoutError, SMPBadSequence, SMPException):
                if not left:
                    raise
        if isinstance(request, ImageUploadWrite):
            self.matched = getattr(answer, "match", None)
        return answer


def udp_address(port: str) -> tuple[str, int] | None:
    """Host and port of ``udp://HOST[:PORT]``; None where it is no such text.

    Raises:
        EdgekitError: E651 where it begins like one.
    """
    if not port.lower().startswith("udp:"):
        return None
    found = _ADDRESS.fullmatch(port)
    number = int(found[2] or DEFAULT_PORT) if found else 0
    if found is None or not 1 <= number <= 65535:
        raise EdgekitError(
            "E651", f"'{port}' is no address", help="--port udp://HOST or udp://HOST:1337"
        )
    return found[1].strip("[]"), number


class SmpServer:
    """A device's SMP server, in calls that wait.

    Args:
        port: ``udp://HOST[:PORT]`` or a serial device.
        board: the board's name, for errors.

    Raises:
        EdgekitError: in every method E604 where the connection breaks (E654 in `connect`), E657
            where the server refuses.
    """

    def __init__(self, port: str, baud: int, board: str) -> None:
        self._port, self._board = port, board
        address = udp_address(port)
        transport: SMPTransport = _Udp(address[1]) if address else SMPSerialTransport(baudrate=baud)
        self._client = _Client(transport, address[0] if address else port, ANSWER)
        self._runner = asyncio.Runner()
        self._upload: AsyncIterator[int] | None = None

    def _wait(self, what: str, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except SMPUploadError as error:
            raise self._refused(what, error.args[0]) from error
        except (OSError, SMPTransportDisconnected, SMPClientException, SMPException) as error:
            raise EdgekitError(
                "E604",
                f"the SMP server of board '{self._board}' on {self._port} does not answer any "
                f"more, {what}: {str(error) or type(error).__name__}",
                help="run the same command again: it goes on where it broke off",
            ) from error

    def _ask(self, what: str, request: Any, seconds: float | None = None) -> Any:
        answer = self._wait(what, self._client.request(request, seconds or ANSWER))
        if is_error(answer):
            raise self._refused(what, answer)
        return answer

    def _refused(self, what: str, answer: Any) -> EdgekitError:
        """E657 with the server's return code by name, and its group in version 2 of SMP."""
        detail = getattr(answer, "err", answer)
        code = getattr(detail, "rc", None)
        if code is None:
            reason = str(answer).splitlines()[0]
        else:
            reason = f"rc {int(code)} {getattr(code, 'name', '')}".strip()
            group = getattr(detail, "group", None)
            reason += f" of group {int(group)}" if group is not None else ""
            said = getattr(answer, "rsn", None)
            reason += f" ({said})" if said else ""
        return EdgekitError(
            "E657", f"the SMP server of board '{self._board}' refuses, {what}: {reason}",
            help="docs/FLASHING.md, smp, says what the slots must be like",
        )  # fmt: skip

    def connect(self) -> None:
        """Open the connection and ask for the server's buffer size."""
        try:
            self._wait("connecting", self._client.connect())
        except EdgekitError as error:
            raise self._silent(error) from error

    def _silent(self, error: EdgekitError) -> EdgekitError:
        return EdgekitError(
            "E654",
            f"no SMP server answers on {self._port} (board '{self._board}')",
            details=[error.message],
            help="is an application with MCUmgr, or MCUboot's serial recovery, running there?",
        )

    def images(self, first: bool = False) -> list[Any]:
        """What is in the slots; with `first`, silence means that there is no server (E654)."""
        try:
            return list(self._ask("reading the state of images", ImageStatesRead()).images)
        except EdgekitError as error:
            if first and error.code == "E604":
                raise self._silent(error) from error
            raise

    def begin_upload(self, image: bytes, number: int) -> None:
        """Prepare `upload_to`; the server goes on where an upload of the same bytes broke off."""
        self._client.matched = None
        self._upload = self._client.upload(
            image, slot=number, first_timeout_s=ERASE, subsequent_timeout_s=ANSWER
        ).__aiter__()
        self._sent = 0

    def upload_to(self, offset: int) -> None:
        """Upload until `offset` bytes are there, or somewhat more."""

        async def advance() -> int | None:
            assert self._upload is not None
            return await anext(self._upload, None)

        while self._sent < offset:
            reached = self._wait(f"uploading after {self._sent} B", advance())
            if reached is None:
                break
            self._sent = reached

    def finish_upload(self, size: int) -> bool | None:
        """Upload the rest; what the server says of the SHA-256 of its flash, None for nothing."""
        self.upload_to(size)

        async def rest() -> None:
            assert self._upload is not None
            async for _ in self._upload:
                pass

        try:
            self._wait("finishing the upload", rest())
        except EdgekitError:
            if self._client.matched is not False:
                raise
        return self._client.matched

    def select(self, digest: bytes, confirm: bool) -> None:
        """Boot the image with this hash next: for good, or to be confirmed by itself."""
        self._ask("selecting the image", ImageStatesWrite(hash=digest, confirm=confirm), ERASE)

    def reset(self) -> None:
        """Restart the device, which may be gone before it has answered."""
        try:
            self._ask("resetting", ResetWrite())
        except EdgekitError as error:
            if error.code != "E604":
                raise

    def close(self) -> None:
        """Close the connection; may be called more than once."""
        runner, self._runner = self._runner, asyncio.Runner()
        try:
            runner.run(self._client.disconnect())
        except (OSError, AttributeError, SMPTransportDisconnected):
            pass  # it never was open, or is gone
        finally:
            runner.close()
