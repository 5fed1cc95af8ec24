"""A static program for Linux on Arm in unicorn: what the device program asks of a kernel, no more.

    python -m edgekit.devices.emulators.linux_process CPU PROGRAM

runs it with this process's standard input and output; CPU is one of `CPUS`. Instructions are
counted exactly, and the program reads their number from the same descriptor as in qemu-user with
its plugin (`edgekit.devices.emulators.counting`). Nothing but pip packages is needed.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm64_const, arm_const

from edgekit.devices.emulators.cycles import count_instructions
from edgekit.devices.emulators.machine import FIRST_SEEN, Block, add_hook, counters, native
from edgekit.devices.firmware.counter import DESCRIPTOR
from targets.linux import HWCAPS

_PAGE = 4096
_STACK_TOP, _STACK_BYTES = 0x7FF0_0000, 0x1_0000
_AT_PAGESZ, _AT_HWCAP = 6, 16
_EBADF, _ENOSYS = 9, 38
#: QEMU's numbers of exceptions.
_UNDEFINED, _SUPERVISOR_CALL = 1, 2
_THUMB = 1 << 5  # of CPSR
_NO_END = 0xFFFF_FFFE


@dataclass(frozen=True)
class _Architecture:
    """Numbers of an instruction set and of Linux on it (firmware/linux/ek_linux.h)."""

    engine: tuple[int, int]
    word: int
    #: Unicorn's numbers: the one with a call's number, those with its arguments, sp, pc, lr.
    number: int
    arguments: tuple[int, ...]
    sp: int
    pc: int
    lr: int
    calls: dict[int, str]
    #: Where a ucontext_t has lr, sp and pc, and a siginfo_t the address (firmware/ports/linux/
    #: startup.c).
    context: tuple[int, int, int]
    address: int


def _registers(module: Any, prefix: str, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(getattr(module, prefix + name)) for name in names)


_A64 = _Architecture(
    (unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM),
    8,
    arm64_const.UC_ARM64_REG_X8,
    _registers(arm64_const, "UC_ARM64_REG_", ("X0", "X1", "X2", "X3")),
    arm64_const.UC_ARM64_REG_SP,
    arm64_const.UC_ARM64_REG_PC,
    arm64_const.UC_ARM64_REG_LR,
    {
        63: "read", 64: "write", 94: "exit", 113: "clock", 132: "signal_stack", 134: "sigaction",
        167: "ignore", 226: "mprotect",
    },
    (424, 432, 440),
    16,
)  # fmt: skip
_A32 = _Architecture(
    (unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM),
    4,
    arm_const.UC_ARM_REG_R7,
    _registers(arm_const, "UC_ARM_REG_", ("R0", "R1", "R2", "R3")),
    arm_const.UC_ARM_REG_SP,
    arm_const.UC_ARM_REG_PC,
    arm_const.UC_ARM_REG_LR,
    {
        3: "read", 4: "write", 125: "mprotect", 172: "ignore", 174: "sigaction",
        186: "signal_stack", 248: "exit", 263: "clock", 0xF0002: "ignore",
    },
    (88, 84, 92),
    12,
)  # fmt: skip


@dataclass(frozen=True)
class _Cpu:
    """A CPU: unicorn's number of it, and the features that the kernel shows programs."""

    architecture: _Architecture
    model: int
    features: int


def _hwcap(architecture: str, *names: str) -> int:
    return sum(HWCAPS[architecture][name] for name in names)


#: Unicorn's newest CPU stands for those with dot product: it has no Cortex-A76.
CPUS = {
    "cortex-a53": _Cpu(_A64, arm64_const.UC_CPU_ARM64_A53, _hwcap("aarch64", "asimd")),
    "cortex-a76": _Cpu(_A64, arm64_const.UC_CPU_ARM64_MAX, _hwcap("aarch64", "asimd", "asimddp")),
    "cortex-a9": _Cpu(_A32, arm_const.UC_CPU_ARM_CORTEX_A9, _hwcap("arm", "neon")),
}


class Process:
    """A program that has been loaded; `run` returns its exit status.

    Raises:
        OSError, ValueError: where the program cannot be read, or is none.
    """

    def __init__(self, cpu: str, program: Path) -> None:
        self._cpu = CPUS[cpu]
        self._about = self._cpu.architecture
        self.engine: Any = unicorn.Uc(*self._about.engine)
        self.engine.ctl_set_cpu_model(self._cpu.model)
        self._status: int | None = None
        self._failure: BaseException | None = None
        self._handlers: dict[int, int] = {}
        self._signal_stack = 0
        self._invalid, self._illegal = 0, False
        self._enable_floats()
        self._entry = self._load(program)
        self._prepare_stack()
        self._first_seen = FIRST_SEEN(self._seen)
        self._counters = counters(self._first_seen)
        add_hook(self.engine, unicorn.UC_HOOK_BLOCK, native().ek_virtual_block, self._counters)
        self.engine.hook_add(unicorn.UC_HOOK_INTR, self._interrupt)
        self.engine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._remember)

    @property
    def instructions(self) -> int:
        """Executed so far; exact at a system call and at the end."""
        return int(self._counters.instructions)

    # ---- memory and the first registers

    def _enable_floats(self) -> None:
        """What a kernel has done before a program starts."""
        if self._about is _A64:
            self.engine.reg_write(arm64_const.UC_ARM64_REG_CPACR_EL1, 3 << 20)
        else:
            self.engine.reg_write(arm_const.UC_ARM_REG_C1_C0_2, 0xF << 20)
            self.engine.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)

    def _load(self, program: Path) -> int:
        """Map the program's segments; returns where it starts."""
        pages: dict[int, int] = {}
        with program.open("rb") as file:
            elf = ELFFile(file)
            segments = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
            for s in segments:
                # PF_R, PF_W and PF_X in the order of unicorn's.
                rights = (s["p_flags"] & 4) >> 2 | s["p_flags"] & 2 | (s["p_flags"] & 1) << 2
                start, end = s["p_vaddr"], s["p_vaddr"] + s["p_memsz"]
                for page in range(start // _PAGE, -(-end // _PAGE)):
                    pages[page] = pages.get(page, 0) | rights
            for first, count, rights in _runs(pages):
                self.engine.mem_map(first * _PAGE, count * _PAGE, rights)
            for s in segments:
                self.engine.mem_write(s["p_vaddr"], s.data())
            return int(elf.header["e_entry"])

    def _prepare_stack(self) -> None:
        """Arguments, environment and auxiliary vector, as the kernel leaves them."""
        writable = unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
        self.engine.mem_map(_STACK_TOP - _STACK_BYTES, _STACK_BYTES, writable)
        name = _STACK_TOP - 16
        self.engine.mem_write(name, b"program\0")
        words = [1, name, 0, 0, _AT_HWCAP, self._cpu.features, _AT_PAGESZ, _PAGE, 0, 0]
        sp = (name - len(words) * self._about.word) & ~15
        for i, word in enumerate(words):
            self._write_word(sp + i * self._about.word, word)
        self.engine.reg_write(self._about.sp, sp)

    def _read_word(self, address: int) -> int:
        return int.from_bytes(self.engine.mem_read(address, self._about.word), "little")

    def _write_word(self, address: int, value: int) -> None:
        self.engine.mem_write(address, value.to_bytes(self._about.word, "little"))

    # ---- what unicorn calls

    def _seen(self, address: int, size: int, block: Any) -> None:
        """Count a block's instructions, the first time that it runs."""
        entry: Block = block.contents
        entry.instructions = size // 4
        if self._thumb():
            entry.instructions = count_instructions(bytes(self.engine.mem_read(address, size)))

    def _thumb(self) -> bool:
        return self._about is _A32 and bool(
            self.engine.reg_read(arm_const.UC_ARM_REG_CPSR) & _THUMB
        )

    def _remember(
        self, _engine: Any, _kind: int, address: int, _size: int, _value: int, _user: Any
    ) -> bool:
        self._invalid = address
        return False

    def _interrupt(self, _engine: Any, number: int, _user: Any) -> None:
        try:
            if number == _UNDEFINED:
                self._illegal = True
                self.engine.emu_stop()
                return
            if number != _SUPERVISOR_CALL:
                raise RuntimeError(f"unicorn stopped with exception {number}")
            call = self._about.calls.get(self.engine.reg_read(self._about.number), "unknown")
            values = [self.engine.reg_read(r) for r in self._about.arguments]
            result = getattr(self, f"_call_{call}")(*values)
            mask = (1 << 8 * self._about.word) - 1
            self.engine.reg_write(self._about.arguments[0], result & mask)
        except BaseException as error:  # out of unicorn, and on in `run`
            self._failure = error
            self.engine.emu_stop()

    # ---- system calls: arguments as the kernel takes them, a negative errno where they fail

    def _call_unknown(self, *_: int) -> int:
        return -_ENOSYS

    def _call_ignore(self, *_: int) -> int:
        return 0

    def _call_exit(self, status: int, *_: int) -> int:
        self._status = status & 0xFF
        self.engine.emu_stop()
        return 0

    def _call_read(self, descriptor: int, buffer: int, size: int, _: int) -> int:
        try:
            if descriptor == DESCRIPTOR and size == 8:
                data = self.instructions.to_bytes(8, "little")
            elif descriptor == 0:
                data = os.read(descriptor, size)
            else:
                return -_EBADF
        except OSError as error:
            return -int(error.errno or 1)
        self.engine.mem_write(buffer, data)
        return len(data)

    def _call_write(self, descriptor: int, buffer: int, size: int, _: int) -> int:
        if descriptor not in (1, 2):
            return -_EBADF
        try:
            return os.write(descriptor, bytes(self.engine.mem_read(buffer, size)))
        except OSError as error:
            return -int(error.errno or 1)

    def _call_clock(self, _clock: int, result: int, *_: int) -> int:
        seconds, rest = divmod(time.monotonic_ns(), 10**9)
        self._write_word(result, seconds)
        self._write_word(result + self._about.word, rest)
        return 0

    def _call_mprotect(self, address: int, size: int, rights: int, _: int) -> int:
        self.engine.mem_protect(address, -(-size // _PAGE) * _PAGE, rights)
        return 0

    def _call_signal_stack(self, given: int, *_: int) -> int:
        base, size = self._read_word(given), self._read_word(given + 2 * self._about.word)
        self._signal_stack = base + size
        return 0

    def _call_sigaction(self, number: int, action: int, *_: int) -> int:
        self._handlers[number] = self._read_word(action)
        return 0

    # ---- running

    def run(self) -> int:
        """Run to the end; a signal without a handler ends this process as it would that one."""
        at = self._entry
        while self._status is None:
            try:
                self.engine.emu_start(at, _NO_END)
            except unicorn.UcError as error:
                if error.errno == unicorn.UC_ERR_INSN_INVALID:
                    self._illegal = True
                else:
                    self._signal(signal.SIGSEGV)
            if self._illegal:
                self._illegal = False
                self._signal(signal.SIGILL)
            if self._failure is not None:
                raise self._failure
            if self._counters.full:
                raise RuntimeError("the table of blocks is full")
            at = self.engine.reg_read(self._about.pc) | self._thumb()
        return self._status

    def _signal(self, number: signal.Signals) -> None:
        """Go on in the handler of a signal, with what it is told in its arguments."""
        about, handler = self._about, self._handlers.get(number, 0)
        if not handler:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        context = (self._signal_stack - 1024) & ~15
        information = context - 128
        for place, register in zip(about.context, (about.lr, about.sp, about.pc), strict=True):
            self._write_word(context + place, self.engine.reg_read(register))
        self._write_word(information + about.address, self._invalid)
        for register, value in zip(about.arguments, (number, information, context), strict=False):
            self.engine.reg_write(register, value)
        self.engine.reg_write(about.sp, information)
        self.engine.reg_write(about.pc, handler)


def _runs(pages: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    """First page, number and rights of neighbouring pages with the same rights."""
    keys = enumerate(sorted(pages))
    for (_, rights), group in itertools.groupby(keys, lambda k: (k[1] - k[0], pages[k[1]])):
        found = [page for _, page in group]
        yield found[0], len(found), rights


def main(arguments: Sequence[str]) -> int:
    cpu, program = arguments
    return Process(cpu, Path(program)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
