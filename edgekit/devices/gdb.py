"""A client of the GDB remote serial protocol: write memory, read it back, reset, run.

Speaks to QEMU's stub and to any server that offers the same few packets (OpenOCD, pyOCD, J-Link).
Reference: "Debugging with GDB", appendix E.
"""

from __future__ import annotations

import socket
import time
from types import TracebackType

from edgekit.errors import EdgekitError

_RETRIES = 3
_SMALLEST_PACKET = 64


class GdbClient:
    """A connection to a GDB server that has stopped its target.

    Args:
        address: (host, port).
        timeout: seconds to wait for the connection and for each answer.

    Raises:
        EdgekitError: E604, here and in every method: no server, a broken connection, no answer,
            or an answer that refuses.
    """

    def __init__(self, address: tuple[str, int], timeout: float = 10.0) -> None:
        self.address, self.timeout = address, timeout
        self._buffer = b""
        self._acknowledge = True
        self._socket = self._connect()
        try:
            self._negotiate()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> socket.socket:
        end = time.monotonic() + self.timeout
        while True:
            try:
                found = socket.create_connection(self.address, self.timeout)
            except OSError as error:
                if time.monotonic() < end:
                    time.sleep(0.02)
                    continue
                raise self._error(f"does not accept a connection: {error}") from None
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return found

    def _negotiate(self) -> None:
        features: dict[str, str] = {}
        for part in self.command("qSupported:swbreak+").decode("ascii", "replace").split(";"):
            name, equals, value = part.partition("=")
            features |= {name: value} if equals else {part[:-1]: part[-1:]}
        try:
            self.packet_size = int(features.get("PacketSize", "400"), 16)
        except ValueError:
            raise self._error(f"reports PacketSize '{features['PacketSize']}'") from None
        if self.packet_size < _SMALLEST_PACKET:
            raise self._error(f"reports a PacketSize of {self.packet_size} bytes")
        # Checksums still travel without acknowledgements; a TCP stream does not lose bytes.
        if features.get("QStartNoAckMode") == "+" and self.command("QStartNoAckMode") == b"OK":
            self._acknowledge = False

    def close(self) -> None:
        """Close the connection; the target stays as it is."""
        self._socket.close()

    def __enter__(self) -> GdbClient:
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()

    def _error(self, what: str) -> EdgekitError:
        host, port = self.address
        return EdgekitError(
            "E604",
            f"the GDB server at {host}:{port} {what}",
            help="is the debug probe or emulator still running, and is it the only client?",
        )

    # ---- packets

    def command(self, text: str | bytes) -> bytes:
        """Send one packet and return the answer's content; empty means "not supported"."""
        self._send(text.encode() if isinstance(text, str) else text)
        return self._receive()

    def _send(self, content: bytes) -> None:
        packet = b"$" + content + b"#%02x" % (sum(content) & 0xFF)
        for _ in range(_RETRIES):
            try:
                self._socket.sendall(packet)
            except OSError as error:
                raise self._error(f"closed the connection: {error}") from None
            if not self._acknowledge or self._acknowledged():
                return
        raise self._error(f"rejected a packet {_RETRIES} times (checksum)")

    def _acknowledged(self) -> bool:
        while True:
            byte = self._byte()
            if byte in b"+-":
                return byte == b"+"
            if byte == b"$":  # an answer without an acknowledgement: some servers do that
                self._buffer = byte + self._buffer
                return True

    def _byte(self) -> bytes:
        if not self._buffer:
            try:
                self._buffer = self._socket.recv(65536)
            except TimeoutError:
                raise self._error(f"did not answer within {self.timeout:g} s") from None
            except OSError as error:
                raise self._error(f"closed the connection: {error}") from None
            if not self._buffer:
                raise self._error("closed the connection")
        first, self._buffer = self._buffer[:1], self._buffer[1:]
        return first

    def _receive(self) -> bytes:
        for _ in range(_RETRIES):
            while self._byte() != b"$":
                pass
            raw = bytearray()
            while (byte := self._byte()) != b"#":
                raw += byte
            checksum = self._byte() + self._byte()
            good = checksum.lower() == b"%02x" % (sum(raw) & 0xFF)
            if self._acknowledge:
                self._socket.sendall(b"+" if good else b"-")
            if good:
                return _expand(bytes(raw))
            if not self._acknowledge:
                break
        raise self._error("sent an answer with a wrong checksum")

    # ---- memory

    def write(self, address: int, data: bytes) -> None:
        """Write memory by ``M`` packets as large as the server takes."""
        step = (self.packet_size - 32) // 2
        for start in range(0, len(data), step):
            part = data[start : start + step]
            at = address + start
            answer = self.command(f"M{at:x},{len(part):x}:{part.hex()}")
            if answer != b"OK":
                raise self._error(f"refused to write {len(part)} B at {at:#x}: {_shown(answer)}")

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes by ``m`` packets."""
        data = b""
        step = (self.packet_size - 16) // 2
        while len(data) < size:
            at, wanted = address + len(data), min(step, size - len(data))
            answer = self.command(f"m{at:x},{wanted:x}")
            try:
                part = bytes.fromhex(answer.decode("ascii"))
            except ValueError:
                part = b""
            if not 0 < len(part) <= wanted:
                raise self._error(f"refused to read {wanted} B at {at:#x}: {_shown(answer)}")
            data += part
        return data

    def write_verified(self, address: int, data: bytes) -> bytes:
        """Write, read back, compare; returns what was read.

        Raises:
            EdgekitError: E605 with the first differing address and both bytes.
        """
        self.write(address, data)
        found = self.read(address, len(data))
        compare(address, data, found)
        return found

    # ---- control

    def monitor(self, command: str) -> str:
        """Run a server's own command (``qRcmd``) and return what it prints."""
        answer = self.command("qRcmd," + command.encode().hex())
        printed = b""
        while answer[:1] == b"O" and answer != b"OK":
            try:
                printed += bytes.fromhex(answer[1:].decode("ascii"))
            except ValueError:
                raise self._error(f"answered '{command}' with {_shown(answer)}") from None
            answer = self._receive()
        if answer != b"OK":
            raise self._error(f"refused the command '{command}': {_shown(answer)}")
        return printed.decode(errors="replace")

    def resume(self) -> None:
        """Let the target run; there is no answer until it stops."""
        self._send(b"c")


def compare(address: int, wanted: bytes, found: bytes) -> None:
    """Raises EdgekitError E605 where flash content differs from what was written."""
    if wanted == found:
        return
    different = [i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b]
    first = different[0] if different else min(len(wanted), len(found))
    count = len(different) + abs(len(wanted) - len(found))
    read = f"{found[first]:#04x}" if first < len(found) else "nothing"
    raise EdgekitError(
        "E605",
        f"flash verification failed at {address + first:#010x}: wrote {wanted[first]:#04x}, "
        f"read {read}; {count} of {len(wanted)} bytes differ",
        help="flash again; if it stays, the flash is protected, worn, or not at that address",
    )


def _expand(raw: bytes) -> bytes:
    """Undo escapes (0x7D) and run-length coding (``*``) of a packet."""
    out = bytearray()
    index = 0
    while index < len(raw):
        byte = raw[index]
        if byte == 0x7D and index + 1 < len(raw):
            out.append(raw[index + 1] ^ 0x20)
            index += 2
        elif byte == 0x2A and out and index + 1 < len(raw):
            out += out[-1:] * (raw[index + 1] - 29)
            index += 2
        else:
            out.append(byte)
            index += 1
    return bytes(out)


def _shown(answer: bytes) -> str:
    return "'not supported'" if not answer else f"'{answer[:40].decode('ascii', 'replace')}'"
