"""A Cortex-M or RISC-V in unicorn with exact instruction counts and estimated cycles.

Only the core and its memories: peripherals are mapped by `virtual.py`. Counting runs in a small
library that is compiled with zig on first use (about 100 million instructions per second); Python
prices each basic block once.
"""

from __future__ import annotations

import bisect
import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unicorn

from edgekit.devices.emulators import cfu
from edgekit.devices.emulators.caches import Caches, Shared, caches
from edgekit.devices.emulators.cores import CORES, aligned_only
from edgekit.devices.emulators.cycles import CycleModel
from edgekit.devices.emulators.instructions import decode, name_of
from edgekit.devices.firmware.image import FunctionSymbol
from edgekit.errors import EdgekitError
from edgekit.toolchain import host_library
from targets import Region, Target

SLOTS = 1 << 16
NO_LIMIT = 2**64 - 1
_PAGE = 0x1000
#: csrr REGISTER, mcycle
_READS_CSR, _READS_MCYCLE = 0xFFFF_F07F, 0xB000_2073
#: VexRiscv's instruction that empties its data cache, which unicorn does not know.
_FLUSH = (0x500F).to_bytes(4, "little")


class Block(ctypes.Structure):
    """Mirrors block_t of native/virtual.c."""

    _fields_ = [
        ("address", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
        ("taken", ctypes.c_uint64),
        ("waited", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("instructions", ctypes.c_uint32),
        ("cycles", ctypes.c_uint32),
        ("refill", ctypes.c_int32),
        ("flash_bytes", ctypes.c_uint32),
        ("flushes", ctypes.c_uint32),
        ("accesses", ctypes.POINTER(ctypes.c_uint16)),
        ("access_count", ctypes.c_uint64),
    ]


FIRST_SEEN = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint32, ctypes.POINTER(Block))
_UNALIGNED = ctypes.CFUNCTYPE(None, ctypes.c_uint64)


class Counters(ctypes.Structure):
    """Mirrors counters_t of native/virtual.c."""

    _fields_ = [
        ("blocks", ctypes.POINTER(Block)),
        ("mask", ctypes.c_uint32),
        ("used", ctypes.c_uint32),
        ("instructions", ctypes.c_uint64),
        ("cycles", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("current", ctypes.POINTER(Block)),
        ("fallthrough", ctypes.c_uint64),
        ("request", ctypes.c_uint32),
        ("stopped", ctypes.c_uint32),
        ("full", ctypes.c_uint32),
        ("wait", ctypes.c_uint32),
        ("line_bytes", ctypes.c_uint32),
        ("pending", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("flash_start", ctypes.c_uint64),
        ("flash_end", ctypes.c_uint64),
        ("first_seen", FIRST_SEEN),
        ("stop", ctypes.c_void_p),
        ("caches", ctypes.POINTER(Caches)),
    ]


@dataclass(frozen=True)
class Counts:
    """Work done: exact instructions, and cycles estimated with zero wait states.

    As in QEMU, an instruction that an IT block skips counts as executed.
    """

    instructions: int
    cycles: int

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.instructions - other.instructions, self.cycles - other.cycles)


@functools.cache
def native() -> ctypes.CDLL:
    """The native helper library, compiled on first use."""
    folder = Path(__file__).parent / "native"
    sources = [folder / "virtual.c", folder / "memory.c"]
    return ctypes.CDLL(str(host_library(sources, include=[folder], flags=["-ffreestanding"])))


def add_hook(engine: Any, type: int, function: Any, state: Any) -> None:
    """Let unicorn call a function of the native library for every address."""
    hook = ctypes.c_size_t()
    status = _uclib().uc_hook_add(
        engine._uch,
        ctypes.byref(hook),
        ctypes.c_int(type),
        ctypes.cast(function, ctypes.c_void_p),
        ctypes.byref(state),
        ctypes.c_uint64(1),  # begin > end: every address
        ctypes.c_uint64(0),
    )
    if status:
        raise RuntimeError(f"unicorn refused a hook of type {type}: status {status}")


def counters(first_seen: Any) -> Counters:
    """Counters of blocks and instructions for the hook ``ek_virtual_block``.

    `first_seen` (a `FIRST_SEEN` that the caller keeps alive) fills a block in when it first runs.
    """
    table = (Block * SLOTS)()
    return Counters(
        blocks=ctypes.cast(table, ctypes.POINTER(Block)),
        mask=SLOTS - 1,
        limit=NO_LIMIT,
        first_seen=first_seen,
        stop=ctypes.cast(_uclib().uc_emu_stop, ctypes.c_void_p),
    )


class Machine:
    """A core with memories mapped; `symbols` name addresses in faults and in `by_function`."""

    def __init__(
        self, target: Target, regions: Sequence[Region], symbols: Sequence[FunctionSymbol] = ()
    ) -> None:
        if target.unicorn_cpu not in CORES:
            raise EdgekitError(
                "E603", f"target '{target.name}' has no virtual CPU '{target.unicorn_cpu}'"
            )
        self.core = CORES[target.unicorn_cpu]
        self.symbols = sorted(symbols, key=lambda s: s.address)
        self._starts = [s.address for s in self.symbols]
        self.model = CycleModel(target.cycle_model, self.core.thumb)
        self._flushes = target.accelerator is not None
        self.engine: Any = unicorn.Uc(*self.core.engine)
        self.engine.ctl_set_cpu_model(self.core.model)
        self._memories: list[tuple[Region, Any]] = []
        for region in regions:
            rights = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
            if region.kind == "ram":
                rights |= unicorn.UC_PROT_WRITE
            memory = ctypes.create_string_buffer(region.size)
            self.engine.mem_map_ptr(region.start, region.size, rights, ctypes.addressof(memory))
            self._memories.append((region, memory))
        self._exception: int | None = None
        self._failure: BaseException | None = None
        #: Called at a breakpoint instruction; True where it was a call, and execution goes on.
        self.on_breakpoint: Callable[[], bool] | None = None
        self._paused = False
        #: The custom function unit of targets that have one.
        self.cfu: cfu.Unit | None = None
        if target.has_cfu:
            self.cfu = cfu.unit(_uclib(), lambda number: self._interrupt(None, number, None))
            self._hook(unicorn.UC_HOOK_INTR, cfu.native().ek_virtual_cfu, self.cfu)
        else:
            self.engine.hook_add(unicorn.UC_HOOK_INTR, self._interrupt)
        self._install_counters()

    def _install_counters(self) -> None:
        self._seen: list[Block] = []
        self._first_seen = FIRST_SEEN(self._price)
        self._counters = counters(self._first_seen)
        self._hook(unicorn.UC_HOOK_BLOCK, native().ek_virtual_block, self._counters)
        self._accesses: list[Any] = []
        self._caches: Caches | None = None
        if self.model.caches is not None:
            self._caches = caches(self.model.caches)
            self._counters.caches = ctypes.pointer(self._caches)
            kinds = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
            self._hook(kinds, native().ek_virtual_cached, self._counters)

    def _hook(self, type: int, function: Any, state: Any) -> None:
        add_hook(self.engine, type, function, state)

    def charge_wait_states(self, flash: Region, states: int, line_bytes: int) -> None:
        """From now on, count `states` cycles for each line of `flash` that has to be waited for.

        That is where a branch leads to another line, and for each line of data that a block reads
        (docs/CYCLES.md). A model that counts instructions stays one.
        """
        if states == 0 or self.model.name == "instructions":
            return
        counters = self._counters
        counters.wait, counters.line_bytes = states, line_bytes
        counters.flash_start, counters.flash_end = flash.start, flash.end

    def _flash_bytes(self, code: bytes, address: int) -> int:
        """Bytes of data that a block reads from flash, as far as its first run shows.

        That is called before the block runs: a load's base is known where the block has not
        calculated it. A literal counts as a line of its own.
        """
        counters, total = self._counters, 0
        calculated: set[int] = set()
        for instruction in decode(code, address):
            if instruction.literal:
                total += int(counters.line_bytes)
            elif instruction.kind in ("load", "load many") and not instruction.address & calculated:
                places = [self.register(name_of(r)) for r in instruction.address]
                if any(counters.flash_start <= p < counters.flash_end for p in places):
                    total += instruction.data_bytes
            if not instruction.memory:
                calculated |= instruction.writes
            else:
                calculated |= instruction.writes - instruction.address
        return total

    def check_alignment(self) -> None:
        """From now on, fault where a real core does for an unaligned LDRD, LDM, VLDR and so on.

        Unicorn itself performs them. Every access is looked at: about 15 times slower.
        """
        self._alignment = _UNALIGNED(self._unaligned)
        kinds = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
        self._hook(kinds, native().ek_virtual_access, self._alignment)

    def _unaligned(self, address: int) -> None:
        try:
            pc = self.register("pc") & ~self.core.thumb
            name = aligned_only(self.read(pc, 4), self.core)
            if name:
                self._fail(self._fault(f"unaligned access to {address:#010x} by {name}"))
        except BaseException as error:
            self._fail(error)

    @property
    def stop_request(self) -> int:
        """Address of a word: native peripherals set it to 1 to stop before the next block."""
        return ctypes.addressof(self._counters) + Counters.request.offset

    def _price(self, address: int, size: int, block: Any) -> None:
        try:
            code = self.read(address, size)
            cost = self.model.block(code, address)
            entry = block.contents
            if self._counters.wait:
                entry.flash_bytes = self._flash_bytes(code, address)
            entry.instructions, entry.cycles = cost.instructions, cost.cycles
            entry.refill, entry.flushes = cost.refill, cost.flushes
            if cost.accesses:
                offsets = (ctypes.c_uint16 * len(cost.accesses))(*cost.accesses)
                self._accesses.append(offsets)
                entry.accesses = ctypes.cast(offsets, ctypes.POINTER(ctypes.c_uint16))
                entry.access_count = len(cost.accesses)
            self._seen.append(entry)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Remember what went wrong in a callback; `run` raises it."""
        self._failure = self._failure or error
        self.engine.emu_stop()

    def guarded(self, function: Callable[..., int | None]) -> Callable[..., int]:
        """Wrap a peripheral's callback: exceptions come out of `run`, not into the engine."""

        def call(*arguments: Any) -> int:
            try:
                return function(*arguments) or 0
            except BaseException as error:
                self._fail(error)
                return 0

        return call

    def pause(self) -> None:
        """For `on_breakpoint`: `run` returns, and the same call comes again when it goes on."""
        self._paused = True
        self.engine.emu_stop()

    def _interrupt(self, _engine: Any, number: int, _user: Any) -> None:
        try:
            if self._flushes and self.read(self.register("pc") - 4, 4) == _FLUSH:
                return
            stopped = self.core.exceptions.get(number) == "breakpoint"
            if stopped and self.on_breakpoint and self.on_breakpoint():
                return
        except BaseException as error:
            self._fail(error)
            return
        self._exception = number
        self.engine.emu_stop()

    # ---- memory and registers

    def write(self, address: int, data: bytes) -> None:
        """Write memory, flash included (as a debugger would)."""
        self.engine.mem_write(address, bytes(data))

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes of memory."""
        return bytes(self.engine.mem_read(address, size))

    def host_memory(self, address: int) -> tuple[int, int] | None:
        """Where this process has the byte at `address`, and how many follow in that memory; None
        where the machine has no memory there. For peripherals that read and write by themselves."""
        for region, memory in self._memories:
            if region.holds(address):
                offset = address - region.start
                return ctypes.addressof(memory) + offset, region.size - offset
        return None

    def register(self, name: str) -> int:
        """A core register by its name in assembly, such as r0 or a0, sp, pc."""
        return int(self.engine.reg_read(self.core.register(name)))

    def set_register(self, name: str, value: int) -> None:
        """Set a core register by name."""
        self.engine.reg_write(self.core.register(name), value & 0xFFFFFFFF)

    # ---- counting

    @property
    def counts(self) -> Counts:
        """Totals so far. Exact between runs; within a callback the current block counts in full."""
        return Counts(self._counters.instructions, self._counters.cycles)

    def cycles_now(self) -> int:
        """Cycles up to the current instruction; for peripherals' callbacks."""
        return int(self._caches.now) if self._caches else self._cycles_at_pc()

    def _cycles_at_pc(self) -> int:
        counters = self._counters
        if not counters.current:
            return int(counters.cycles)
        block = counters.current.contents
        done = self.register("pc") - block.address
        if not 0 <= done < block.size:
            return int(counters.cycles)
        part = self.model.block(self.read(block.address, done), block.address) if done else None
        return int(counters.cycles) - block.cycles + (part.cycles if part else 0)

    def count_mcycle(self, address: int, code: bytes) -> None:
        """Let the reads of mcycle in a RISC-V program at `address` give the estimated cycles.

        The engine's own counter follows the host's clock. What is not code and looks like such a
        read does no harm: it does not run.
        """
        for at in range(0, len(code) - 3, 4):
            word = int.from_bytes(code[at : at + 4], "little")
            if word & _READS_CSR == _READS_MCYCLE:
                self._after(address + at + 4, f"x{word >> 7 & 31}")

    def _after(self, address: int, register: str) -> None:
        def count(_engine: Any, _address: int, _size: int, _user: Any) -> None:
            self.set_register(register, self._cycles_at_pc())

        hook = unicorn.UC_HOOK_CODE
        self.engine.hook_add(hook, self.guarded(count), begin=address, end=address)

    @property
    def memory_busy(self) -> tuple[int, int]:
        """When the words of the last burst began to move, and when the memory is free; 0 where
        bursts are not counted."""
        found = self._caches
        return (int(found.first), int(found.free)) if found else (0, 0)

    def share_memory(self, burst: Callable[[int, int], int] | None, busy: tuple[int, int]) -> None:
        """Let another master's model say when bursts of the caches are over.

        Args:
            burst: takes the cycle and the words, gives the cycle after the last one; None: the
                memory is the caches' own again.
            busy: as `memory_busy`, where it is.
        """
        if self._caches is None:
            return
        if burst is not None:
            self._shared = Shared(self.guarded(burst))
        # The old one may be what calls this: it stays alive.
        self._caches.shared = self._shared if burst is not None else Shared()
        self._caches.first, self._caches.free = busy

    def end_of_flow(self) -> None:
        """Close the books after a function returned: its last branch was taken."""
        counters = self._counters
        if counters.current:
            block = counters.current.contents
            block.taken += 1
            counters.cycles += block.refill
        self.new_flow()

    def new_flow(self) -> None:
        """Forget the last block: what runs next was not branched to from there."""
        self._counters.current = ctypes.POINTER(Block)()

    def by_function(self) -> dict[str, Counts]:
        """Totals per function of the symbol table, most instructions first."""
        totals: dict[str, list[int]] = {}
        for block in self._seen:
            total = totals.setdefault(self.where(block.address, offset=False), [0, 0])
            total[0] += block.count * block.instructions
            total[1] += block.count * block.cycles + block.taken * block.refill + block.waited
        ordered = sorted(totals.items(), key=lambda item: -item[1][0])
        return {name: Counts(*total) for name, total in ordered}

    def where(self, address: int, *, offset: bool = True) -> str:
        """``function+0x12`` for an address, or the bare number where no function is known."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0 and address < self.symbols[index].address + self.symbols[index].size:
            symbol = self.symbols[index]
            beyond = address - symbol.address
            return f"{symbol.name}+{beyond:#x}" if offset and beyond else symbol.name
        return f"{address:#010x}"

    # ---- running

    def run(self, start: int, until: int = 0xFFFFFFFE, limit: int | None = None) -> bool:
        """Execute from `start` until `until`, a callback's stop, or `limit` more instructions.

        Returns:
            False where the limit stopped it, True otherwise.

        Raises:
            EdgekitError: E609 on a fault, with the instruction's place.
        """
        counters = self._counters
        begin = counters.instructions
        counters.limit = NO_LIMIT if limit is None else begin + limit
        counters.stopped = 0
        self._paused = False
        while True:
            try:
                self.engine.emu_start(start | self.core.thumb, until)
                break
            except unicorn.UcError as error:
                # Unicorn knows RISC-V's semihosting call, and then not what to do with it.
                called = not self.core.thumb and self.on_breakpoint and self.on_breakpoint()
                if not called:
                    raise self._fault(str(error)) from None
                if self._paused:
                    break
                start = self.register("pc")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._exception is not None:
            number, self._exception = self._exception, None
            raise self._fault(self.core.exceptions.get(number, f"exception {number}"))
        if counters.full:
            raise RuntimeError("the virtual board's block table is full")
        return not counters.stopped

    def _fault(self, kind: str) -> EdgekitError:
        pc, lr = self.register("pc"), self.register(self.core.link) & ~self.core.thumb
        return EdgekitError(
            "E609",
            f"the virtual CPU stopped at {self.where(pc)}: {kind}",
            details=[
                f"pc {pc:#010x} ({self.where(pc)}), lr {lr:#010x} ({self.where(lr)})",
                ", ".join(f"{r} {self.register(r):#010x}" for r in self.core.arguments[:4]),
            ],
            help="an address outside every memory often means a stack or buffer that is too small",
        )


@functools.cache
def _uclib() -> Any:
    from unicorn.unicorn_py3.unicorn import uclib

    return uclib


def map_native_mmio(machine: Machine, base: int, read: Any, write: Any, state: Any) -> None:
    """Map a page at `base` whose accesses call two functions of the native library."""
    pointer = ctypes.cast(ctypes.byref(state), ctypes.c_void_p)
    status = _uclib().uc_mmio_map(
        machine.engine._uch,
        ctypes.c_uint64(base),
        ctypes.c_size_t(_PAGE),
        ctypes.cast(read, ctypes.c_void_p),
        pointer,
        ctypes.cast(write, ctypes.c_void_p),
        pointer,
    )
    if status:
        raise RuntimeError(f"unicorn refused the peripheral at {base:#x}: status {status}")
