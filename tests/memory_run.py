"""The checker that executes: a Program call by call on this machine, all dead bytes poisoned.

Which bytes are dead follows from the calls alone, backwards and byte by byte: a byte is alive
before a call if the call reads it, or if it is alive afterwards and the call does not write it.
Before every call all others (scratch and what the output will replace among them) are filled with a
pattern. Where a plan lets a kernel destroy what is still needed, or a kernel reads what nobody
wrote, results differ from the reference, or between two patterns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from codegen.program import Call, Program

PATTERNS = (0xA5, 0x3C)
_BASE_ALIGN = 16


def live_before(program: Program) -> list[np.ndarray]:
    """For every call, bool [arena bytes]: which bytes hold something that is read later."""
    alive = np.zeros(program.arena_bytes, bool)
    for tensor in (*program.outputs, *(state.tensor for state in program.states)):
        alive[tensor.offset : tensor.offset + tensor.nbytes] = True
    result = []
    for call in reversed(program.calls):
        for role, value in (("output", False), ("scratch", False), ("input", True)):
            for a in call.arguments:
                if a.role == role:
                    alive[a.offset : a.offset + a.nbytes] = value
        result.append(alive.copy())
    return result[::-1]


class PoisonedRun:
    """`program` with its kernels in `library`, a shared library of this machine."""

    def __init__(self, program: Program, library: Path) -> None:
        self.program = program
        self.library = ctypes.CDLL(str(library))
        self.live = live_before(program)
        self.arena = _aligned(program.arena_bytes)
        self.constants = _aligned(len(program.constants))
        self.constants[:] = np.frombuffer(program.constants, np.uint8)

    def run(self, feeds: Mapping[str, np.ndarray], pattern: int) -> dict[str, np.ndarray]:
        """Outputs by name for raw `feeds` of the inputs' dtypes; shapes are the tensors'. States
        are what they are in front of the first inference."""
        self.arena[:] = pattern
        for state in self.program.states:
            t = state.tensor
            initial = self.constants[state.initial : state.initial + t.nbytes]
            place = slice(t.offset, t.offset + t.nbytes)
            self.arena[place] = initial if state.fill is None else state.fill
        for t in self.program.inputs:
            data = np.ascontiguousarray(feeds[t.name])
            assert (str(data.dtype), data.nbytes) == (t.dtype, t.nbytes), t
            self.arena[t.offset : t.offset + t.nbytes] = data.reshape(-1).view(np.uint8)
        for call, live in zip(self.program.calls, self.live, strict=True):
            self.arena[~live] = pattern
            self._call(call)
        return {
            t.name: self.arena[t.offset : t.offset + t.nbytes].copy().view(t.dtype).reshape(t.shape)
            for t in self.program.outputs
        }

    def _call(self, call: Call) -> None:
        function = getattr(self.library, call.kernel.name)
        function.restype = None
        function(*self._pointers(call))

    def _pointers(self, call: Call) -> Iterator[ctypes.c_void_p]:
        for a in call.arguments:
            memory = self.arena if a.in_arena else self.constants
            yield ctypes.c_void_p(memory.ctypes.data + a.offset)


def _aligned(nbytes: int) -> np.ndarray:
    """uint8 [nbytes] that starts at a multiple of 16, as the firmware's memories do."""
    memory = np.zeros(nbytes + _BASE_ALIGN, np.uint8)
    start = -memory.ctypes.data % _BASE_ALIGN
    return memory[start : start + nbytes]
