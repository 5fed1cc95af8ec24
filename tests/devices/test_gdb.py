"""The GDB client against a scripted server: every way in which a server may fail it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from edgekit.devices.flash import program
from edgekit.devices.gdb import GdbClient
from edgekit.devices.image import FlashImage
from edgekit.errors import EdgekitError

FEATURES = b"PacketSize=80;QStartNoAckMode+"


class Server:
    """A GDB server with a memory; `answers` override what it says to packets by prefix."""

    def __init__(self) -> None:
        self.memory: dict[int, int] = {}
        self.answers: dict[bytes, Callable[[bytes], bytes | None]] = {}
        self.features = FEATURES
        self.spoil = 0  # answers still to be sent with a wrong checksum
        self.reject = 0  # packets still to be answered with "-"
        self.seen: list[bytes] = []
        self.acknowledge = True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the client may leave at any moment
            self._talk()

    def _talk(self) -> None:
        connection, _ = self.listener.accept()
        buffer = b""
        with connection:
            while data := connection.recv(4096):
                buffer += data
                while b"#" in buffer and len(buffer) >= buffer.index(b"#") + 3:
                    end = buffer.index(b"#")
                    packet = buffer[buffer.index(b"$") + 1 : end]
                    buffer = buffer[end + 3 :]
                    if self.acknowledge and self.reject:
                        self.reject -= 1
                        connection.sendall(b"-")
                        continue
                    if self.acknowledge:
                        connection.sendall(b"+")
                    self.seen.append(packet)
                    answer = self._answer(packet)
                    if answer is None:
                        return
                    if answer != b"silence":
                        self._send(connection, answer)

    def _send(self, connection: socket.socket, answer: bytes) -> None:
        while True:
            good = sum(answer) & 0xFF
            self.spoil, spoilt = max(0, self.spoil - 1), self.spoil > 0
            connection.sendall(b"$%s#%02x" % (answer, good ^ 1 if spoilt else good))
            if not self.acknowledge or connection.recv(1) == b"+":
                return

    def _answer(self, packet: bytes) -> bytes | None:
        for prefix, answer in self.answers.items():
            if packet.startswith(prefix):
                return answer(packet)
        if packet.startswith(b"qSupported"):
            return self.features
        if packet == b"QStartNoAckMode":
            self.acknowledge = False
            return b"OK"
        if packet[:1] == b"M":
            place, data = packet[1:].split(b":")
            address = int(place.split(b",")[0], 16)
            self.memory |= dict(enumerate(bytes.fromhex(data.decode()), address))
            return b"OK"
        if packet[:1] == b"m":
            address, size = (int(x, 16) for x in packet[1:].split(b","))
            return bytes(self.memory.get(address + i, 0xFF) for i in range(size)).hex().encode()
        return b""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.listener.close()


def client(server: Server) -> GdbClient:
    return GdbClient(server.address, timeout=0.5)


def fails(server: Server, says: str, code: str = "E604") -> None:
    with pytest.raises(EdgekitError, match=says) as caught, client(server) as gdb:
        gdb.write_verified(0x1000, bytes(range(200)))
    assert caught.value.code == code


def test_writes_in_pieces_and_reads_back(server: Server) -> None:
    with client(server) as gdb:
        assert gdb.packet_size == 0x80
        assert gdb.write_verified(0x1000, bytes(range(200))) == bytes(range(200))
    writes = [p for p in server.seen if p[:1] == b"M"]
    assert len(writes) == 5
    assert all(len(p) + 4 <= 0x80 for p in server.seen)


@pytest.mark.parametrize("acknowledge", [True, False])
def test_wrong_checksums_from_the_server(server: Server, acknowledge: bool) -> None:
    server.features = b"PacketSize=80" if acknowledge else FEATURES
    with client(server) as gdb:
        server.spoil = 2
        if acknowledge:
            assert gdb.read(0, 2) == b"\xff\xff"
            server.spoil = 3
        with pytest.raises(EdgekitError, match="wrong checksum"):
            gdb.read(0, 2)


def test_rejected_packets_are_sent_again(server: Server) -> None:
    server.features = b"PacketSize=80"
    with client(server) as gdb:
        server.reject = 2
        gdb.write(0, b"a")
        server.reject = 3
        with pytest.raises(EdgekitError, match="rejected a packet 3 times"):
            gdb.write(0, b"b")
    assert server.memory == {0: ord("a")}


def test_a_bad_flash_byte_is_named(server: Server) -> None:
    def worn(packet: bytes) -> bytes:
        server.memory[0x1065] = 0x64
        del server.answers[b"m"]
        return server._answer(packet) or b""

    server.answers[b"m"] = worn
    fails(server, r"at 0x00001065: wrote 0x65, read 0x64; 1 of 200 bytes differ", "E605")


def test_flashing_stops_at_a_bad_byte(server: Server) -> None:
    image = FlashImage(((0x1000, bytes(50)), (0x2000, b"\1" * 50)))
    seen: list[tuple[int, int]] = []
    with client(server) as gdb:
        assert program(image, gdb.write, gdb.read, lambda *p: seen.append(p)).segments
        assert seen[-1] == (200, 200)
        server.answers[b"m2000"] = lambda _packet: b"01" * 20 + b"00" + b"01" * 29
        with pytest.raises(EdgekitError, match="at 0x00002014: wrote 0x01, read 0x00"):
            program(image, gdb.write, gdb.read, lambda *_: None)


@pytest.mark.parametrize(
    ("prefix", "answer", "says"),
    [
        (b"M", b"E01", "refused to write 48 B at 0x1000: 'E01'"),
        (b"M", b"", "refused to write 48 B at 0x1000: 'not supported'"),
        (b"M", None, "closed the connection"),
        (b"M", b"silence", "did not answer within 0.5 s"),
        (b"m", b"E0E", "refused to read 56 B at 0x1000: 'E0E'"),
        (b"m", b"", "refused to read"),
        (b"m", b"zz", "refused to read"),
        (b"m", b"00" * 60, "refused to read"),
        (b"m", None, "closed the connection"),
        (b"qSupported", b"PacketSize=8", "PacketSize of 8 bytes"),
        (b"qSupported", b"PacketSize=many", "PacketSize 'many'"),
        (b"qSupported", None, "closed the connection"),
    ],
)
def test_refusals_and_disconnects(
    server: Server, prefix: bytes, answer: bytes | None, says: str
) -> None:
    server.answers[prefix] = lambda _packet: answer
    fails(server, says)


def test_answers_may_be_escaped_and_run_length_coded(server: Server) -> None:
    server.answers[b"m"] = lambda _packet: b"0* ab"  # "0" and three more: 0000ab
    with client(server) as gdb:
        assert gdb.read(0, 3) == b"\0\0\xab"
        server.answers[b"q"] = lambda _packet: b"}\x03x"
        assert gdb.command("qX") == b"#x"


def test_monitor_commands(server: Server) -> None:
    with client(server) as gdb:
        server.answers[b"qRcmd"] = lambda _packet: b"OK"
        assert gdb.monitor("system_reset") == ""
        server.answers[b"qRcmd"] = lambda _packet: b"E02"
        with pytest.raises(EdgekitError, match="refused the command 'system_reset': 'E02'"):
            gdb.monitor("system_reset")
        server.answers[b"qRcmd"] = lambda _packet: b"Ozz"
        with pytest.raises(EdgekitError, match="Ozz"):
            gdb.monitor("system_reset")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(EdgekitError, match="does not accept a connection"):
        GdbClient(address, timeout=0.1)
