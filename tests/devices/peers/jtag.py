"""JTAG bit by bit, for OpenOCD: its adapter "remote_bitbang" asks for edges over a socket.

One character is one change of the wires (OpenOCD's doc/manual/jtag/drivers/remote_bitbang.txt). The
states are those of IEEE 1149.1, the registers those of a JTAG-DP (ADIv5.2, B3).
"""

from __future__ import annotations

import socket

from .adiv5 import Dap
from .chip import BusFault, Chip
from .listener import Listener

#: Where a rising edge leads from each state, by TMS.
_NEXT = {
    "reset": ("idle", "reset"),
    "idle": ("idle", "select-dr"),
    **{
        state: follow
        for k, other in (("dr", "select-ir"), ("ir", "reset"))
        for state, follow in {
            f"select-{k}": (f"capture-{k}", other),
            f"capture-{k}": (f"shift-{k}", f"exit1-{k}"),
            f"shift-{k}": (f"shift-{k}", f"exit1-{k}"),
            f"exit1-{k}": (f"pause-{k}", f"update-{k}"),
            f"pause-{k}": (f"pause-{k}", f"exit2-{k}"),
            f"exit2-{k}": (f"shift-{k}", f"update-{k}"),
            f"update-{k}": ("idle", "select-dr"),
        }.items()
    },
}
_ABORT, _DPACC, _APACC, _IDCODE = 0x8, 0xA, 0xB, 0xE
_ID = 0x4BA0_0477
_OK = 2
_IR_BITS, _ACCESS_BITS = 4, 35
_STICKY_ERROR = 1 << 5


class Tap:
    """The test access port of a chip, with a JTAG-DP behind it."""

    def __init__(self, dap: Dap) -> None:
        self._dap = dap
        self._state, self._instruction = "reset", _IDCODE
        self._shift = self._length = self._result = self._sticky = 0

    @property
    def tdo(self) -> int:
        return self._shift & 1

    def clock(self, tms: int, tdi: int) -> None:
        """A rising edge of TCK."""
        state = self._state
        if state == "capture-ir":
            self._shift, self._length = 1, _IR_BITS
        elif state == "capture-dr":
            self._capture()
        elif state in ("shift-ir", "shift-dr"):
            self._shift = self._shift >> 1 | tdi << self._length - 1
        self._state = _NEXT[state][tms]
        if self._state == "update-ir":
            self._instruction = self._shift
        elif self._state == "update-dr":
            self._update()
        elif self._state == "reset":
            self._instruction = _IDCODE

    def _capture(self) -> None:
        if self._instruction in (_DPACC, _APACC, _ABORT):
            self._shift, self._length = self._result << 3 | _OK, _ACCESS_BITS
        elif self._instruction == _IDCODE:
            self._shift, self._length = _ID, 32
        else:
            self._shift, self._length = 0, 1  # bypass

    def _update(self) -> None:
        if self._instruction not in (_DPACC, _APACC):
            return
        read, register, value = self._shift & 1, self._shift << 1 & 0xC, self._shift >> 3
        try:
            if self._instruction == _APACC and self._sticky:
                return  # nothing more until the debugger has seen the error
            if self._instruction == _APACC:
                self._access_port(bool(read), register, value)
            else:
                self._debug_port(bool(read), register, value)
        except BusFault:
            self._sticky = _STICKY_ERROR

    def _access_port(self, read: bool, register: int, value: int) -> None:
        if read:
            self._result = self._dap.read_ap(register)
        else:
            self._dap.write_ap(register, value)

    def _debug_port(self, read: bool, register: int, value: int) -> None:
        if read:
            found = self._dap.read_dp(register)
            self._result = found | self._sticky if register == 4 else found
            return
        if register == 4 and value & _STICKY_ERROR:
            self._sticky = 0
        self._dap.write_dp(register, value)


class BitbangServer:
    """What OpenOCD connects to; serves one connection after another."""

    def __init__(self, chip: Chip) -> None:
        self._tap = Tap(Dap(chip))
        self._listener = Listener(self._talk)
        self.port = self._listener.port

    def close(self) -> None:
        self._listener.close()

    def _talk(self, connection: socket.socket) -> None:
        clock, tap = 0, self._tap
        while data := connection.recv(65536):
            answers = bytearray()
            for code in data:
                if 0x30 <= code <= 0x37:  # 0 to 7: TCK, TMS, TDI
                    if code & 4 and not clock:
                        tap.clock(code >> 1 & 1, code & 1)
                    clock = code & 4
                elif code == 0x52:  # R: sample TDO
                    answers.append(0x30 | tap.tdo)
            if answers:
                connection.sendall(answers)
