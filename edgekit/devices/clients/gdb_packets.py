"""Packets of the GDB remote serial protocol: framing, checksums, acknowledgements, escapes.

Reference: "Debugging with GDB", appendix E.1, E.2 and E.10.
"""

from __future__ import annotations

import time

from edgekit.devices.clients.gdb_wire import Wire, unreachable
from edgekit.errors import EdgekitError

_RETRIES = 3
_SMALLEST_PACKET = 64
_ESCAPE, _RUN, _FLIP = 0x7D, 0x2A, 0x20
_STOPS = (b"S", b"T")
_ESCAPED = frozenset(b"#$}*")


class Packets:
    """Packets to and from a server, after the two have agreed on what they understand.

    Args:
        wire: closed by `close`, and where the server does not answer to begin with.
        timeout: seconds to wait for each answer.

    Raises:
        EdgekitError: E604, here and in every method: a broken connection, no answer, or answers
            that are damaged.
    """

    def __init__(self, wire: Wire, timeout: float) -> None:
        self.wire, self.timeout = wire, timeout
        self._buffer = bytearray()
        self._acknowledge = True
        #: What the server says that it offers: "+", "-", "?", or a value.
        self.features: dict[str, str] = {}
        try:
            self._negotiate()
        except BaseException:
            self.close()
            raise

    def _negotiate(self) -> None:
        answer = self.command("qSupported:swbreak+;hwbreak+;vContSupported+")
        for part in answer.decode("ascii", "replace").split(";"):
            name, equals, value = part.partition("=")
            self.features |= {name: value} if equals else {part[:-1]: part[-1:]}
        try:
            self.packet_size = int(self.features.get("PacketSize", "400"), 16)
        except ValueError:
            raise self.error(f"reports PacketSize '{self.features['PacketSize']}'") from None
        if self.packet_size < _SMALLEST_PACKET:
            raise self.error(f"reports a PacketSize of {self.packet_size} bytes")
        # Checksums still travel without acknowledgements; a TCP stream does not lose bytes.
        if (
            self.wire.reliable
            and self.features.get("QStartNoAckMode") == "+"
            and self.command("QStartNoAckMode") == b"OK"
        ):
            self._acknowledge = False

    def close(self) -> None:
        """Close the connection; the target stays as it is."""
        self.wire.close()

    def error(self, what: str) -> EdgekitError:
        """E604: the conversation broke."""
        return unreachable(self.wire.name, what)

    def refused(self, what: str, answer: bytes) -> EdgekitError:
        """E640: the server understood and said no."""
        return EdgekitError(
            "E640",
            f"the GDB server at {self.wire.name} refused {what}: {shown(answer)}",
            help="its own window or log often says why",
        )

    def command(self, text: str | bytes, seconds: float | None = None) -> bytes:
        """Send one packet and return the answer's content; empty means "not supported".

        Args:
            seconds: to wait for the answer, instead of the usual time.
        """
        self.send(text.encode() if isinstance(text, str) else text)
        return self.answer(seconds)

    def answer(self, seconds: float | None = None) -> bytes:
        """The next packet that is no stop reply: a target that ran when we came sends one late."""
        while (found := self.receive(seconds))[:1] in _STOPS:
            pass
        return found

    def send(self, content: bytes) -> None:
        """Send one packet, whose content has been escaped where it is binary."""
        packet = b"$" + content + b"#%02x" % (sum(content) & 0xFF)
        for _ in range(_RETRIES):
            self.send_raw(packet)
            if not self._acknowledge or self._acknowledged():
                return
        raise self.error(f"rejected a packet {_RETRIES} times (checksum)")

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are no packet: an acknowledgement, or 0x03, which stops the target."""
        try:
            self.wire.send(data)
        except OSError as error:
            raise self.error(f"closed the connection: {error}") from None

    def _acknowledged(self) -> bool:
        end = time.monotonic() + self.timeout
        while True:
            while not self._buffer:
                self._fill(end)
            if self._buffer[:1] == b"$":  # an answer without an acknowledgement: some do that
                return True
            byte = self._buffer.pop(0)
            if byte in b"+-":
                return byte == ord("+")

    def _fill(self, end: float) -> None:
        try:
            data = self.wire.receive(end - time.monotonic())
        except TimeoutError:
            raise self.error(f"did not answer within {self.timeout:g} s") from None
        except OSError as error:
            raise self.error(f"closed the connection: {error}") from None
        if not data:
            raise self.error("closed the connection")
        self._buffer += data
        # A server that talks without end, about something else, does not answer either.
        if time.monotonic() > end:
            raise self.error(f"did not answer within {self.timeout:g} s")

    def receive(self, seconds: float | None = None) -> bytes:
        """The content of the next packet."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        for _ in range(_RETRIES):
            raw, checksum = self._packet(end)
            good = checksum.lower() == b"%02x" % (sum(raw) & 0xFF)
            if self._acknowledge:
                self.send_raw(b"+" if good else b"-")
            if good:
                return expand(raw)
            if not self._acknowledge:
                break
        raise self.error("sent an answer with a wrong checksum")

    def pending(self, seconds: float) -> bool:
        """Whether a packet begins to arrive within `seconds`."""
        end = time.monotonic() + seconds
        while b"$" not in self._buffer:
            self._buffer.clear()  # a late acknowledgement
            try:
                data = self.wire.receive(max(0.0, end - time.monotonic()))
            except TimeoutError:
                return False
            except OSError as error:
                raise self.error(f"closed the connection: {error}") from None
            if not data:
                raise self.error("closed the connection")
            self._buffer += data
        return True

    def _packet(self, end: float) -> tuple[bytes, bytes]:
        searched = 0
        while True:
            start = self._buffer.find(b"$")
            hash_at = self._buffer.find(b"#", max(searched, start)) if start >= 0 else -1
            if 0 <= hash_at <= len(self._buffer) - 3:
                raw = bytes(self._buffer[start + 1 : hash_at])
                checksum = bytes(self._buffer[hash_at + 1 : hash_at + 3])
                del self._buffer[: hash_at + 3]
                return raw, checksum
            searched = len(self._buffer) if hash_at < 0 <= start else 0
            self._fill(end)


def expand(raw: bytes) -> bytes:
    """Undo escapes (0x7D) and run-length coding (``*``) of a packet."""
    if _ESCAPE not in raw and _RUN not in raw:
        return raw
    out = bytearray()
    index = 0
    while index < len(raw):
        byte = raw[index]
        if byte == _ESCAPE and index + 1 < len(raw):
            out.append(raw[index + 1] ^ _FLIP)
            index += 2
        elif byte == _RUN and out and index + 1 < len(raw):
            out += out[-1:] * (raw[index + 1] - 29)
            index += 2
        else:
            out.append(byte)
            index += 1
    return bytes(out)


def escape(data: bytes, room: int) -> tuple[bytes, int]:
    """As much of `data` as fits into `room` bytes of a packet; returns it and how many that were.

    ``#``, ``$``, ``}`` and ``*`` go as two bytes (E.1; ``*`` only in answers, but always may).
    """
    out = bytearray()
    for count, byte in enumerate(data):
        more = bytes((_ESCAPE, byte ^ _FLIP)) if byte in _ESCAPED else bytes((byte,))
        if len(out) + len(more) > room:
            return bytes(out), count
        out += more
    return bytes(out), len(data)


def shown(answer: bytes) -> str:
    """An answer in a message."""
    return "'not supported'" if not answer else f"'{answer[:40].decode('ascii', 'replace')}'"
