"""A client of the GDB remote serial protocol: memory, flash, reset, run.

Speaks to QEMU's stub and to the servers of debug probes. What a server offers is asked for, never
assumed. Reference: "Debugging with GDB", appendix E.
"""

from __future__ import annotations

import time
import zlib
from types import TracebackType
from xml.etree import ElementTree

from edgekit.devices.clients.gdb_packets import Packets, escape, shown
from edgekit.devices.clients.gdb_wire import SocketWire, Wire
from edgekit.devices.verify import compare
from targets import Region

#: Seconds that erasing a large sector, or programming all that was collected, may take.
FLASH_SECONDS = 120.0
_LARGEST_MAP = 1 << 20
_BITS_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


class GdbClient(Packets):
    """A connection to a GDB server that has stopped its target.

    Args:
        address: (host, port), or a wire that is open.
        timeout: seconds to wait for the connection and for each answer.

    Raises:
        EdgekitError: E604, here and in every method: no server, a broken connection or no answer;
            E640 an answer that refuses.
    """

    def __init__(self, address: tuple[str, int] | Wire, timeout: float = 10.0) -> None:
        wire = SocketWire(*address, timeout) if isinstance(address, tuple) else address
        self._binary: bool | None = None
        self._continue = b"c"
        super().__init__(wire, timeout)

    def __enter__(self) -> GdbClient:
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()

    # ---- memory

    def write(self, address: int, data: bytes) -> None:
        """Write memory, in binary (``X``) where the server takes it and in hexadecimal where not.

        Some servers accept that for flash and do nothing, so read back.
        """
        if self._binary is None:  # as GDB asks: a write of nothing
            self._binary = self.command(f"X{address:x},0:") == b"OK"
        done = 0
        while done < len(data):
            at = address + done
            if self._binary:
                packed, count = escape(data[done:][: self.packet_size], self.packet_size - 32)
                answer = self.command(f"X{at:x},{count:x}:".encode() + packed)
            else:
                part = data[done : done + (self.packet_size - 32) // 2]
                count = len(part)
                answer = self.command(f"M{at:x},{count:x}:{part.hex()}")
            if answer != b"OK":
                raise self.refused(f"to write {count} B at {at:#x}", answer)
            done += count

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
                raise self.refused(f"to read {wanted} B at {at:#x}", answer)
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

    def checksum(self, address: int, size: int) -> int | None:
        """`crc32` of memory as the server computes it; None where it does not offer that."""
        answer = self.command(f"qCRC:{address:x},{size:x}", FLASH_SECONDS)
        try:
            return int(answer[1:], 16) if answer[:1] == b"C" else None
        except ValueError:
            raise self.error(f"answered qCRC with {shown(answer)}") from None

    # ---- flash

    def flash_regions(self) -> tuple[tuple[Region, int], ...]:
        """Flash memories of the target's memory map, each with the size of its erase blocks.

        Empty where the server has no memory map, or names no flash in it.
        """
        if self.features.get("qXfer:memory-map:read") != "+":
            return ()
        text = self._transfer("memory-map")
        found = []
        try:
            for number, memory in enumerate(ElementTree.fromstring(text).iter("memory")):
                if memory.get("type") != "flash":
                    continue
                start, size = int(memory.get("start", ""), 0), int(memory.get("length", ""), 0)
                block = next(p for p in memory.iter("property") if p.get("name") == "blocksize")
                found.append((Region(f"{number}", "flash", start, size), int(block.text or "", 0)))
        except (ElementTree.ParseError, ValueError, StopIteration) as error:
            raise self.refused("a memory map that can be read", text) from error
        return tuple((region, block) for region, block in found if block > 0 and region.size > 0)

    def _transfer(self, what: str) -> bytes:
        """A whole object by ``qXfer`` (E.4)."""
        text = b""
        step = self.packet_size - 16
        while len(text) < _LARGEST_MAP:
            answer = self.command(f"qXfer:{what}:read::{len(text):x},{step:x}")
            if answer[:1] not in (b"m", b"l"):
                break
            text += answer[1:]
            if answer[:1] == b"l":
                return text
        raise self.refused(f"its {what}", answer)

    def flash_erase(self, address: int, size: int) -> None:
        """Erase whole blocks (``vFlashErase``)."""
        answer = self.command(f"vFlashErase:{address:x},{size:x}", FLASH_SECONDS)
        if answer != b"OK":
            raise self.refused(f"to erase {size} B of flash at {address:#x}", answer)

    def flash_write(self, address: int, data: bytes) -> None:
        """Program erased flash (``vFlashWrite``); servers may collect it until `flash_done`."""
        done = 0
        while done < len(data):
            at = address + done
            packed, count = escape(data[done:][: self.packet_size], self.packet_size - 32)
            answer = self.command(f"vFlashWrite:{at:x}:".encode() + packed, FLASH_SECONDS)
            if answer != b"OK":
                raise self.refused(f"to program {count} B of flash at {at:#x}", answer)
            done += count

    def flash_done(self) -> None:
        """Program what was collected (``vFlashDone``)."""
        answer = self.command("vFlashDone", FLASH_SECONDS)
        if answer != b"OK":
            raise self.refused("to finish programming flash", answer)

    # ---- control

    def monitor(self, command: str) -> str:
        """Run a server's own command (``qRcmd``) and return what it prints."""
        answer = self.command("qRcmd," + command.encode().hex(), FLASH_SECONDS)
        printed = b""
        while answer[:1] == b"O" and answer != b"OK":
            try:
                printed += bytes.fromhex(answer[1:].decode("ascii"))
            except ValueError:
                raise self.error(f"answered '{command}' with {shown(answer)}") from None
            answer = self.answer(FLASH_SECONDS)
        if answer not in (b"OK", b""):
            # What a command prints may also be the answer itself (E.4, qRcmd).
            try:
                return printed.decode(errors="replace") + _from_hex(answer)
            except ValueError:
                raise self.refused(f"the command '{command}'", answer) from None
        if not answer:
            raise self.refused(f"the command '{command}'", answer)
        return printed.decode(errors="replace")

    def attached(self) -> bool:
        """Whether the server has a target, and holds it stopped."""
        self.send(b"?")
        found = self.receive()[:1] not in (b"W", b"X", b"")
        # Also makes sure that no stop reply is still on its way.
        actions = self.command("vCont?").split(b";")
        self._continue = b"vCont;c" if actions[0] == b"vCont" and b"c" in actions else b"c"
        return found

    def attach(self, number: int) -> None:
        """Take one of the targets that a probe has found (``vAttach``, extended mode)."""
        self.command("!")
        self.send(f"vAttach;{number:x}".encode())
        self._stopped(f"to attach to target {number}")

    def _stopped(self, what: str) -> None:
        answer = self.receive(FLASH_SECONDS)
        if answer[:1] not in (b"S", b"T"):
            raise self.refused(what, answer)

    def restart(self) -> None:
        """Start the target over and stop it (``vRun``, extended mode)."""
        self.send(b"vRun;")
        self._stopped("to start its target over (vRun)")

    def resume(self) -> None:
        """Let the target run; there is no answer until it stops."""
        self.send(self._continue)

    def wait(self, seconds: float) -> bool:
        """Whether the running target stops by itself within `seconds`.

        Raises:
            EdgekitError: E640 where it has ended, as a program may that has an operating system.
        """
        end = time.monotonic() + seconds
        while self.pending(max(0.0, end - time.monotonic())):
            answer = self.receive()
            if answer[:1] in (b"S", b"T"):
                return True
            if answer[:1] in (b"W", b"X"):
                raise self.refused("to go on: the target ended", answer)
        return False

    def halt(self) -> None:
        """Stop the running target (0x03)."""
        self.send_raw(b"\x03")
        if not self.wait(self.timeout):
            raise self.error(f"did not stop the target within {self.timeout:g} s")

    def detach(self) -> None:
        """Leave the target, which runs on where the server is set up so."""
        self.command("D")


def crc32(data: bytes) -> int:
    """The checksum of ``qCRC``: polynomial 0x04C11DB7, most significant bit first, from
    0xFFFFFFFF, not inverted at the end ("CRC-32/MPEG-2"): zlib's with all bits mirrored."""
    mirrored = zlib.crc32(data.translate(_BITS_REVERSED)) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _from_hex(answer: bytes) -> str:
    if answer[:1] == b"E" and len(answer) == 3:
        raise ValueError("an error number")
    return bytes.fromhex(answer.decode("ascii")).decode(errors="replace")
