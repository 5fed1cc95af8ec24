"""A conversation with the device program on a board: say hello, run, profile.

    with connect(find_board("virtual-cortex-m4")) as session:
        outputs = session.run([image.tobytes()])
        profile = session.profile([image.tobytes()], repeat=5)

One request at a time, each with a number. What is lost or damaged is asked for again; the device
answers a repeated request from memory, so that no model runs twice for one `run`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgekit.devices import protocol
from edgekit.devices.link import Link, open_link
from edgekit.devices.status import describe
from edgekit.errors import EdgekitError
from targets import Board

_HELLO = struct.Struct("<BiHHHHIIIII8sQ")
_ATTEMPTS = 4


@dataclass(frozen=True)
class Hello:
    """What a board says of itself. Sizes in bytes; `overhead` in ticks, already subtracted."""

    protocol: int
    version: str
    mode: str
    model_hash: bytes
    status: int
    inputs: int
    outputs: int
    layers: int
    arena_bytes: int
    stack_bytes: int
    counter: str
    counter_hz: int
    counter_mask: int
    overhead: int
    build_id: int


@dataclass(frozen=True)
class Profile:
    """The fastest of `repeat` runs.

    `layers` and `total` are in `unit`: "cycles (estimated)" on the virtual board, "instructions"
    in QEMU, "ticks" elsewhere. `hz` is units per second, 0 where there is no such thing as time.
    """

    layers: tuple[int, ...]
    total: int
    unit: str
    counter: str
    hz: int
    repeat: int
    board: str


class Session:
    """See `connect`. `timeout` is seconds per short request, `run_timeout` per run of the model."""

    def __init__(
        self, board: Board, link: Link, timeout: float = 2.0, run_timeout: float = 60.0
    ) -> None:
        self.board, self.link = board, link
        self.timeout, self.run_timeout = timeout, run_timeout
        self._decoder = protocol.Decoder()
        self._seq = 0
        self._chunk = protocol.DATA
        self._hello: Hello | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.link.close()

    # ---- requests

    def request(self, type: bytes, payload: bytes = b"", seconds: float | None = None) -> bytes:
        """Send a request until its answer arrives whole; returns the answer's payload.

        Raises:
            EdgekitError: E607 no answer, E608 refused, E609 the device reported a fault.
        """
        self._seq = (self._seq + 1) & 0xFF
        frame = protocol.encode(type, self._seq, payload)
        wait = seconds or self.timeout
        attempts = _ATTEMPTS if seconds is None else 2
        begun = time.monotonic()
        for _ in range(attempts):
            self.link.write(frame)
            answer = self._await(type, time.monotonic() + wait)
            if answer is not None:
                return answer
        spent = time.monotonic() - begun
        raise EdgekitError(
            "E607",
            f"board '{self.board.name}' does not answer: sent '{type.decode()}' ({len(frame)} B) "
            f"{attempts} times, waited {spent:.1f} s",
            details=[f"{self._decoder.damaged} damaged frames came"]
            if self._decoder.damaged
            else (),
            help=f"flash it again: edgekit flash OUT --board {self.board.name}",
        )

    def _await(self, type: bytes, end: float) -> bytes | None:
        """The answer to the current request, or None where it has to be sent again."""
        while True:
            data = self.link.read(max(0.0, end - time.monotonic()))
            again = False
            for frame in self._decoder.feed(data):
                if frame.type == protocol.FAULT:
                    raise self._fault(frame.payload)
                if frame.type == protocol.NAK:
                    again = True
                if frame.seq != self._seq:
                    continue  # a late answer to an older request
                if frame.type == type.lower():
                    return frame.payload
                if frame.type == protocol.REFUSED and frame.payload[:1] == type:
                    raise self._refused(type, frame.payload)
            if again or not data or time.monotonic() > end:
                return None

    def _refused(self, type: bytes, payload: bytes) -> EdgekitError:
        reason = protocol.REFUSALS.get(payload[1] if len(payload) > 1 else 0, "no reason given")
        if self._hello and self._hello.status:
            return self._closed(self._hello.status)
        return EdgekitError(
            "E608",
            f"board '{self.board.name}' refused the request '{type.decode()}': {reason}",
        )

    def _closed(self, status: int) -> EdgekitError:
        return EdgekitError(
            "E608",
            f"board '{self.board.name}' could not open its model: status {describe(status)}",
            help="compile and flash again with this version of edgekit",
        )

    def _fault(self, payload: bytes) -> EdgekitError:
        fault = protocol.Fault.parse(payload)
        known = fault.pc != 0xFFFFFFFF
        place = self.link.where(fault.pc & ~1) if known else "an unknown place"
        details = [f"sp {fault.sp:#010x}, cfsr {fault.cfsr:#010x}, hfsr {fault.hfsr:#010x}"]
        if fault.address != 0xFFFFFFFF:
            details.append(f"address {fault.address:#010x}")
        return EdgekitError(
            "E609",
            f"board '{self.board.name}' faulted at {place}: {', '.join(fault.kinds())}",
            details=details,
            help="a stacking failure means that the stack is too small",
        )

    # ---- the conversation

    def hello(self) -> Hello:
        """Ask the board what it is; the answer is kept for the session.

        Raises:
            EdgekitError: E612 where it speaks another protocol version.
        """
        if self._hello is not None:
            return self._hello
        payload = self.request(protocol.HELLO, bytes([protocol.VERSION]))
        if payload[:1] != bytes([protocol.VERSION]) or len(payload) < _HELLO.size:
            raise EdgekitError(
                "E612",
                f"board '{self.board.name}' speaks link protocol {payload[:1].hex() or '?'}, "
                f"this edgekit {protocol.VERSION}",
                help="compile and flash again with this version of edgekit",
            )
        (
            _,
            status,
            inputs,
            outputs,
            layers,
            chunk,
            arena,
            stack,
            hz,
            mask,
            overhead,
            model,
            build,
        ) = _HELLO.unpack_from(payload)
        texts = payload[_HELLO.size :].split(b"\0")
        version, mode, counter = (t.decode("ascii", "replace") for t in texts[:3])
        self._chunk = min(chunk, protocol.DATA)
        self._hello = Hello(
            protocol=payload[0],
            version=version,
            mode=mode,
            model_hash=model,
            status=status,
            inputs=inputs,
            outputs=outputs,
            layers=layers,
            arena_bytes=arena,
            stack_bytes=stack,
            counter=counter,
            counter_hz=hz,
            counter_mask=mask,
            overhead=overhead,
            build_id=build,
        )
        return self._hello

    def _open(self) -> Hello:
        hello = self.hello()
        if hello.status:
            raise self._closed(hello.status)
        return hello

    def sizes(self, kind: str) -> list[int]:
        """Bytes of each of the model's "inputs" or "outputs"."""
        hello = self._open()
        flag, count = (0, hello.inputs) if kind == "inputs" else (1, hello.outputs)
        answers = [self.request(protocol.SIZE, struct.pack("<BH", flag, i)) for i in range(count)]
        return [int.from_bytes(a, "little") for a in answers]

    def load(self, inputs: Sequence[bytes]) -> None:
        """Copy inputs to the board; raises EdgekitError E611 where number or sizes differ."""
        wanted = self.sizes("inputs")
        given = [len(data) for data in inputs]
        if given != wanted:
            raise EdgekitError(
                "E611",
                f"the model on '{self.board.name}' takes inputs of {wanted} B, got {given} B",
                help="is the right model flashed? edgekit flash OUT --board " + self.board.name,
            )
        for index, data in enumerate(inputs):
            for offset in range(0, len(data), self._chunk):
                head = struct.pack("<HI", index, offset)
                self.request(protocol.WRITE, head + data[offset : offset + self._chunk])

    def reset(self) -> None:
        """Give the model's states their initial content; raises E608 where that fails."""
        (status,) = struct.unpack("<i", self.request(protocol.RESET))
        self._check(status)

    def invoke(self) -> int:
        """Run the model once; returns counter ticks. Raises EdgekitError E608 where it fails."""
        payload = self.request(protocol.RUN, seconds=self.run_timeout)
        status, ticks = struct.unpack("<iQ", payload)
        self._check(status)
        return int(ticks)

    def outputs(self) -> list[bytes]:
        """Copy the model's outputs from the board."""
        results = []
        for index, size in enumerate(self.sizes("outputs")):
            data = b""
            while len(data) < size:
                count = min(self._chunk, size - len(data))
                head = struct.pack("<HI", index, len(data))
                payload = self.request(protocol.OUTPUT, head + struct.pack("<H", count))
                if payload[:6] != head or len(payload) != 6 + count:
                    raise EdgekitError(
                        "E607", f"board '{self.board.name}' answered with other data than asked for"
                    )
                data += payload[6:]
            results.append(data)
        return results

    def run(self, inputs: Sequence[bytes]) -> list[bytes]:
        """Run the model once on raw inputs and return its raw outputs."""
        self.load(inputs)
        self.invoke()
        return self.outputs()

    def profile(self, inputs: Sequence[bytes], repeat: int = 5) -> Profile:
        """Run `repeat` times (1 to 65535) on one set of inputs; the minimum of each layer.

        Raises:
            EdgekitError: E608 where the firmware was built without profiling, among others.
        """
        self.load(inputs)
        hello = self._open()
        payload = self.request(
            protocol.PROFILE, struct.pack("<H", repeat), seconds=self.run_timeout * repeat
        )
        status, total, count = struct.unpack("<iQH", payload)
        self._check(status)
        if count < hello.layers:
            raise EdgekitError(
                "E608",
                f"the firmware has room for the times of {count} layers, the model has "
                f"{hello.layers}",
                help="build with a larger max_layers",
            )
        ticks: list[int] = []
        while len(ticks) < count:
            part = self.request(protocol.LAYERS, struct.pack("<H", len(ticks)))
            ticks += struct.unpack(f"<{(len(part) - 2) // 8}Q", part[2:])
        return self._profile(ticks, total, hello, repeat)

    def _profile(self, ticks: Sequence[int], total: int, hello: Hello, repeat: int) -> Profile:
        per_instruction = self.board.ticks_per_instruction
        unit, hz = "ticks", hello.counter_hz
        if per_instruction is not None:
            unit, hz = "instructions", 0
        elif self.board.route == "virtual":
            counted = self.board.target.cycle_model == "instructions"
            unit = "instructions" if counted else "cycles (estimated)"
            hz = 0 if counted else hz
        scale = 1.0 if per_instruction is None else 1 / per_instruction
        layers = tuple(round(t * scale) for t in ticks)
        return Profile(
            layers, round(total * scale), unit, hello.counter, hz, repeat, self.board.name
        )

    def _check(self, status: int) -> None:
        if status:
            raise EdgekitError(
                "E608",
                f"the model on '{self.board.name}' stopped with status {describe(status)}",
            )

    def stack_used(self) -> tuple[int, int]:
        """Bytes of stack ever used since power-up, and bytes reserved."""
        used, size = struct.unpack("<II", self.request(protocol.STACK))
        return used, size


def connect(
    board: Board, *, port: str | None = None, elf: Path | None = None, timeout: float = 2.0
) -> Session:
    """Power the board up (or open its port) and start a session; use it in a ``with`` statement.

    Args:
        port: a serial port for real boards; None for emulated ones.
        elf: on emulated boards, a program to run instead of what was flashed, which stays.
        timeout: seconds that the board has for a short answer.

    Raises:
        EdgekitError: E606 nothing flashed, E602 and E603 no QEMU, E604 its stub misbehaves.
    """
    return Session(board, open_link(board, port, elf), timeout)
