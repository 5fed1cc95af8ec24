"""What a target and a board are: plain frozen values, all sizes in bytes, all clocks in Hz."""

from __future__ import annotations

from dataclasses import dataclass

ROUTES = ("virtual", "qemu-gdb")
REGION_KINDS = ("flash", "ram")
KERNEL_OPTS = ("-O1", "-O2", "-O3", "-Os")
PORTS = ("cortex_m", "riscv")
UART_KINDS = ("cmsdk", "nrf51", "ns16550")
TIMER_KINDS = ("cmsdk",)
COUNTERS = ("dwt", "cmsdk-timer", "systick", "mcycle")


class TargetFileError(ValueError):
    """A target or board file breaks the rules; the message names the file and the key."""


class UnknownName(LookupError):
    """No target or board of that name.

    Attributes:
        kind: "target" or "board".
        name: what was asked for.
        known: the names that exist.
    """

    def __init__(self, kind: str, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"unknown {kind} '{name}'; known: {', '.join(known)}")
        self.kind, self.name, self.known = kind, name, known


@dataclass(frozen=True)
class Target:
    """A CPU: which kernels it can run and how compilers are told about it.

    `families` are kernel families, best first. `port` is the folder of firmware/ports with the
    start-up code. `cycle_model` and `unicorn_cpu` name the entries that the virtual board uses; the
    model "instructions" says that no cycles are estimated. `gcc_package` is what to install where
    `gcc_command` is missing, `gcc_libraries` are linked last.
    `kernel_opt` is the optimisation level of kernels and runtime.
    """

    name: str
    description: str
    families: tuple[str, ...]
    default_board: str
    port: str
    cycle_model: str
    unicorn_cpu: str
    zig_triple: str
    zig_cpu: str
    zig_flags: tuple[str, ...]
    gcc_command: str
    gcc_flags: tuple[str, ...]
    gcc_package: str
    gcc_libraries: tuple[str, ...]
    kernel_opt: str = "-O2"

    @property
    def estimates_cycles(self) -> bool:
        """Whether the virtual board has a cycle model of this CPU."""
        return self.cycle_model != "instructions"


@dataclass(frozen=True)
class Region:
    """A memory of a board; `kind` is "flash" or "ram". An access to it takes `wait_states` cycles
    longer than one to the fastest memory."""

    name: str
    kind: str
    start: int
    size: int
    wait_states: int = 0

    @property
    def end(self) -> int:
        """First address after the region."""
        return self.start + self.size

    def holds(self, address: int, size: int = 1) -> bool:
        """Whether all of [address, address + size) lies in the region."""
        return self.start <= address and address + size <= self.end


@dataclass(frozen=True)
class Peripheral:
    """A UART or timer: `kind` names the driver, `base` is its address."""

    kind: str
    base: int


@dataclass(frozen=True)
class Qemu:
    """How QEMU is started; an instruction takes 2**icount_shift ns of virtual time.

    `arguments` are further ones of the command line, `package` is the Debian package of `command`.
    """

    command: str
    machine: str
    icount_shift: int
    arguments: tuple[str, ...] = ()
    package: str = "qemu-system-arm"


@dataclass(frozen=True)
class Board:
    """A board: its target, memories, UART, cycle counters in the order to try, and its route.

    Where the flash has wait states, the cycle model charges them for each line of
    `flash_line_bytes` that has to be waited for (docs/CYCLES.md says when).
    """

    name: str
    description: str
    target: Target
    clock_hz: int
    regions: tuple[Region, ...]
    uart: Peripheral
    counters: tuple[str, ...]
    route: str
    notes: str
    timer: Peripheral | None = None
    qemu: Qemu | None = None
    flash_line_bytes: int = 16

    def region(self, kind: str) -> Region:
        """The first region of that kind; every board has a flash and a ram region."""
        return next(r for r in self.regions if r.kind == kind)

    @property
    def flash_wait_states(self) -> int:
        """Wait states of the flash that code and constants lie in."""
        return self.flash.wait_states

    @property
    def flash(self) -> Region:
        return self.region("flash")

    @property
    def ram(self) -> Region:
        return self.region("ram")

    @property
    def ticks_per_instruction(self) -> float | None:
        """Counter ticks per executed instruction where time is emulated (QEMU -icount)."""
        return self.clock_hz * 2**self.qemu.icount_shift / 1e9 if self.qemu else None
