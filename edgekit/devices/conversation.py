"""Requests to the device program on a board, and what it answers: all but whole jobs.

One request at a time, each with a number. What is lost or damaged is asked for again; the device
answers a repeated request from memory, so that no model runs twice for one `run`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edgekit.devices import protocol
from edgekit.devices.gpu import Gpu, Timing
from edgekit.devices.links.link import Link
from edgekit.devices.status import GPU_LOST, describe
from edgekit.errors import EdgekitError
from targets import Board

_HELLO = struct.Struct("<BiHHHHIIIII8sQ")
_ATTEMPTS = 4
#: Seconds that a run of the model may take.
RUN = 60.0
#: And the first start on a GPU, which compiles every variant of every layer and tests it.
PREPARE = 900.0
#: Bytes of flash per request: 0.7 s of a core at 4 MHz, so that an answer comes in time.
_CHECKED = 65536


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


class Conversation:
    """Requests and their answers; `edgekit.devices.session.Session` is what others use.

    `timeout` is seconds per short request, `run_timeout` per run of the model.
    """

    def __init__(
        self, board: Board, link: Link, timeout: float = 2.0, run_timeout: float = RUN
    ) -> None:
        self.board, self.link = board, link
        self.timeout, self.run_timeout = timeout, run_timeout
        self._decoder = protocol.Decoder()
        self._seq = 0
        self._chunk = protocol.DATA
        self._hello: Hello | None = None
        self._sizes: dict[str, list[int]] = {}
        self._gpu: Gpu | None = None
        self.lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.link.close()

    # ---- requests

    def request(self, type: bytes, payload: bytes = b"", seconds: float | None = None) -> bytes:
        """Send a request until its answer arrives whole; returns the answer's payload.

        Raises:
            EdgekitError: E607 no answer, E608 refused, E609 the device reported a fault; E612 as
                for `hello`.
        """
        if type != protocol.HELLO and self._hello is None:
            # The device answers a request with the number of its last one from memory: of the
            # session before this one, where nothing has come between.
            self.hello()
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
        why = payload[1] if len(payload) > 1 else 0
        reason = protocol.REFUSALS.get(why, "no reason given")
        if self._hello and self._hello.status and why == protocol.CLOSED:
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
        if fault.accelerator:
            return EdgekitError(
                "E609",
                f"board '{self.board.name}' faulted at {place}: {', '.join(fault.kinds())}",
                details=[f"{fault.accelerator} (STATUS {fault.hfsr:#010x})"],
                help="docs/ACCELERATOR.md, 'Errors'; is the hardware of the model's configuration?",
            )
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

    def opened(self) -> Hello:
        """`hello` of a board whose model could be opened; raises EdgekitError E608 otherwise."""
        hello = self.hello()
        if hello.status:
            raise self._closed(hello.status)
        if self.board.target.gpu:
            self.gpu()
        return hello

    def gpu(self) -> Gpu:
        """What the program says of its GPU, which it prepares and tests when it is first asked.

        Raises:
            EdgekitError: E670 where it found none.
        """
        if self._gpu is None:
            lines: list[str] = []
            while text := self.request(
                protocol.GPU, struct.pack("<H", len(lines)), seconds=None if lines else PREPARE
            ):
                lines.append(text.decode("utf-8", "replace"))
            self._gpu = Gpu.parse(lines)
            self._gpu.check(self.board)
        return self._gpu

    def time_variant(
        self, layer: int, variant: int, sizes: Sequence[int], repeat: int = 5
    ) -> Timing:
        """Run one variant of a layer on the first golden sample with local sizes of choice.

        Args:
            variant: counted from the layer's first.
            sizes: of each launch, which of its local sizes.

        Raises:
            EdgekitError: E670 without a GPU, E607 where it does not answer in time.
        """
        self.gpu()
        payload = struct.pack("<3H", layer, variant, repeat) + bytes(sizes)
        answer = self.request(protocol.TIME, payload, seconds=self.run_timeout)
        return Timing(*struct.unpack("<IIQ", answer))

    def keep_tuning(self, text: bytes) -> None:
        """Have the program keep a tuning file, which it takes from its next start on.

        Raises:
            EdgekitError: E381 where it has no place for it, E670 without a GPU.
        """
        self.gpu()
        refused = EdgekitError(
            "E381",
            f"the program on '{self.board.name}' cannot keep a tuning file of {len(text)} B",
            help="it writes to ~/.cache/edgekit there, or to the folder EDGEKIT_GPU_FOLDER",
        )
        pieces = [(i, text[i : i + self._chunk]) for i in range(0, len(text), self._chunk)]
        for offset, piece in (*pieces, (len(text), b"")):
            answer = self.request(protocol.TUNING, struct.pack("<I", offset) + piece)
            if int.from_bytes(answer, "little") != 0:
                raise refused

    def notices(self) -> list[str]:
        """What a user has to know of the GPU; nothing on boards without one."""
        if not self.board.target.gpu:
            return []
        lost = ["GPU: it was lost meanwhile; the CPU did those inferences again"] * self.lost
        return [*self.gpu().notices(), *lost]

    def sizes(self, kind: str) -> list[int]:
        """Bytes of each of the model's "inputs" or "outputs"; asked for once."""
        hello = self.opened()
        if kind not in self._sizes:
            flag, count = (0, hello.inputs) if kind == "inputs" else (1, hello.outputs)
            answers = [
                self.request(protocol.SIZE, struct.pack("<BH", flag, i)) for i in range(count)
            ]
            self._sizes[kind] = [int.from_bytes(a, "little") for a in answers]
        return self._sizes[kind]

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
        self.check_status(status)

    def invoke(self) -> int:
        """Run the model once; returns counter ticks. Raises EdgekitError E608 where it fails."""
        payload = self.request(protocol.RUN, seconds=self.run_timeout)
        status, ticks = struct.unpack("<iQ", payload)
        self.check_status(status)
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

    def check_status(self, status: int) -> None:
        """Raises EdgekitError E608 for a status of the model that is an error."""
        if status == GPU_LOST:
            self.lost = True
        elif status:
            raise EdgekitError(
                "E608",
                f"the model on '{self.board.name}' stopped with status {describe(status)}",
            )

    def checksum(self, address: int, size: int) -> int:
        """CRC-32 (zlib's) of `size` bytes of the board's flash, as the program there computes it.

        Raises:
            EdgekitError: E608 where that is not all in the flash that the program was linked to.
        """
        crc = 0
        for offset in range(0, size, _CHECKED):
            part = struct.pack("<III", address + offset, min(_CHECKED, size - offset), crc)
            crc = int.from_bytes(self.request(protocol.CHECKSUM, part), "little")
        return crc

    def stack_used(self) -> tuple[int, int]:
        """Bytes of stack ever used since power-up, and bytes reserved."""
        used, size = struct.unpack("<II", self.request(protocol.STACK))
        return used, size
