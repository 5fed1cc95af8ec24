"""The GDB client against a scripted server: every way in which a server may fail it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.devices.clients.gdb import GdbClient, crc32
from edgekit.devices.clients.gdb_packets import escape
from edgekit.devices.clients.gdb_wire import open_wire
from edgekit.errors import EdgekitError
from targets import Board

from ..peers.gdb_server import unescape

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


@pytest.mark.parametrize(
    ("prefix", "answer", "says"),
    [
        (b"M", None, "closed the connection"),
        (b"M", b"silence", "did not answer within 0.5 s"),
        (b"m", None, "closed the connection"),
        (b"qSupported", b"PacketSize=8", "PacketSize of 8 bytes"),
        (b"qSupported", b"PacketSize=many", "PacketSize 'many'"),
        (b"qSupported", None, "closed the connection"),
    ],
)
def test_broken_connections(server: Server, prefix: bytes, answer: bytes | None, says: str) -> None:
    server.answers[prefix] = lambda _packet: answer
    fails(server, says)


@pytest.mark.parametrize(
    ("prefix", "answer", "says"),
    [
        (b"M", b"E01", "refused to write 48 B at 0x1000: 'E01'"),
        (b"M", b"", "refused to write 48 B at 0x1000: 'not supported'"),
        (b"m", b"E0E", "refused to read 56 B at 0x1000: 'E0E'"),
        (b"m", b"", "refused to read"),
        (b"m", b"zz", "refused to read"),
        (b"m", b"00" * 60, "refused to read"),
    ],
)
def test_refusals_are_no_broken_connections(
    server: Server, prefix: bytes, answer: bytes, says: str
) -> None:
    server.answers[prefix] = lambda _packet: answer
    fails(server, says, "E640")


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


# ---- whatever a server sends


class Replay:
    """A wire on which one packet after another arrives, whatever was sent."""

    name, reliable = "replay", True

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers

    def send(self, data: bytes) -> None:
        """Nobody listens."""

    def receive(self, seconds: float) -> bytes:
        return self.answers.pop(0) if self.answers else b""

    def close(self) -> None:
        pass


def packet(content: bytes) -> bytes:
    return b"$%s#%02x" % (content, sum(content) & 0xFF)


OPENING = [packet(b"PacketSize=100;QStartNoAckMode+;qXfer:memory-map:read+"), packet(b"OK")]
OPENING[0] = b"+" + OPENING[0]
OPENING[1] = b"+" + OPENING[1]


@settings(max_examples=150, deadline=None)
@given(
    answers=st.lists(
        st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(packet)), max_size=5
    ),
    what=st.sampled_from(
        [
            lambda gdb: gdb.read(0x1000, 8),
            lambda gdb: gdb.write(0x1000, b"#$}*"),
            lambda gdb: gdb.flash_regions(),
            lambda gdb: gdb.flash_write(0x1000, bytes(9)),
            lambda gdb: gdb.checksum(0, 4),
            lambda gdb: gdb.monitor("reset halt"),
            lambda gdb: gdb.attached(),
            lambda gdb: gdb.attach(1),
            lambda gdb: gdb.halt(),
        ]
    ),
)
def test_any_answer_is_taken_or_an_error(
    answers: list[bytes], what: Callable[[GdbClient], object]
) -> None:
    client = GdbClient(Replay([*OPENING, *answers]), timeout=0.05)
    with contextlib.suppress(EdgekitError):
        what(client)


@settings(max_examples=100, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=80),
        st.lists(
            st.sampled_from(
                ["<memory-map>", "</memory-map>", '<memory type="flash" start="0x0" length="8">',
                 '<memory type="flash" start="x"/>', '<property name="blocksize">4</property>',
                 '<property name="blocksize">0</property>', "<property/>", "</memory>",
                 '<!DOCTYPE a [<!ENTITY b "cc">]>', "&b;"]
            )
        ).map("".join),
    )
)  # fmt: skip
def test_any_memory_map_is_taken_or_an_error(text: str) -> None:
    raw = b"l" + text.encode()
    escaped, _ = escape(raw, 4 * len(raw))
    client = GdbClient(Replay([*OPENING, packet(escaped)]), timeout=0.05)
    try:
        assert all(block > 0 and region.size > 0 for region, block in client.flash_regions())
    except EdgekitError as error:
        assert error.code == "E640"


@given(data=st.binary(max_size=300), room=st.integers(2, 300))
def test_escapes_fit_and_can_be_undone(data: bytes, room: int) -> None:
    packed, count = escape(data, room)
    assert len(packed) <= room and not set(packed) & set(b"#$*")
    assert unescape(packed) == data[:count]
    assert count == len(data) or len(packed) >= room - 1


@given(data=st.binary(max_size=200))
def test_the_checksum_is_the_one_of_the_protocol(data: bytes) -> None:
    """Bit by bit, as GDB's documentation of qCRC has it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    assert crc32(data) == crc


@pytest.mark.parametrize("port", ["localhost:99999", "99999"])
def test_a_port_that_cannot_be(virtual: Board, port: str) -> None:
    """The resolver takes it modulo 65536: another server might answer."""
    with pytest.raises(EdgekitError, match="ports end at 65535") as caught:
        open_wire(virtual, port, 0.0)
    assert caught.value.code == "E604"
