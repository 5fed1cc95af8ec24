"""What a target and a board are: plain frozen values, all sizes in bytes, all clocks in Hz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from targets.npu.config import Accelerator

EMULATORS = ("virtual", "qemu-gdb", "verilator")
TRANSPORTS = ("uart", "rtt", "semihosting", "usb")
#: Those of boards whose file names none.
USUAL_TRANSPORTS = TRANSPORTS[:3]
REGION_KINDS = ("flash", "ram")
KERNEL_OPTS = ("-O1", "-O2", "-O3", "-Os")
PORTS = ("cortex_m", "riscv", "linux")
TIMER_KINDS = ("cmsdk",)
COUNTERS = (
    "dwt",
    "cmsdk-timer",
    "systick",
    "mcycle",
    "mpccr",
    "ccount",
    "pmccntr",
    "cntvct",
    "clock",
    "emulator",
)
BOOT_IMAGES = ("rp2040", "rp2350", "imxrt", "esp32c3")
PACKAGES = ("arduino", "esp-idf")


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
    #: The accelerator that is on the CPU's bus.
    accelerator: Accelerator | None = None
    #: Features that programs under Linux ask the CPU for at start (`targets.linux.HWCAPS`).
    hwcaps: tuple[str, ...] = ()
    #: Other targets whose programs run on this CPU.
    runs_too: tuple[str, ...] = ()
    #: Whether bundles have a GPU section too, and programs are linked to load its driver.
    gpu: bool = False

    @property
    def architecture(self) -> str:
        """The first word of zig's triple: "thumb", "riscv32", "aarch64", "arm", "x86_64"."""
        return self.zig_triple.partition("-")[0]

    @property
    def features(self) -> tuple[str, ...]:
        """What the core has and kernels use: FPU, DSP (SIMD within a register), MVE, CFU, NEON and
        its dot products, GPU."""
        found = ["FPU"] if "eabihf" in self.zig_triple or self.port == "linux" else []
        for feature, families in (
            ("DSP", ("arm_dsp", "thumb_dsp")),
            ("MVE", ("arm_mve",)),
            ("CFU", ("rv_cfu",)),
            ("NEON", ("neon",)),
            ("dot product", ("a64_dot",)),
        ):
            if set(families) & set(self.families):
                found.append(feature)
        return (*found, *["GPU"] * self.gpu)

    @property
    def has_cfu(self) -> bool:
        """Whether the core has the custom function unit of `targets.cfu`."""
        return "rv_cfu" in self.families

    @property
    def estimates_cycles(self) -> bool:
        """Whether the virtual board has a cycle model of this CPU."""
        return self.cycle_model != "instructions"

    @property
    def estimate(self) -> str:
        """What estimated cycles assume, and how far off they may be."""
        if self.cycle_model == "vexriscv":
            percent = 20 if self.has_cfu else 5
            return f"with caches and a memory that takes 10 cycles to the first word, +-{percent} %"
        return "zero wait states, +-20 %"


@dataclass(frozen=True)
class Region:
    """A memory of a board; `kind` is "flash" or "ram". An access to it takes `wait_states` cycles
    longer than one to the fastest memory. `data_start` is where loads find a flash that code is
    fetched from at `start`, where those are two addresses; -1: the same."""

    name: str
    kind: str
    start: int
    size: int
    wait_states: int = 0
    data_start: int = -1

    @property
    def end(self) -> int:
        """First address after the region."""
        return self.start + self.size

    def holds(self, address: int, size: int = 1) -> bool:
        """Whether all of [address, address + size) lies in the region."""
        return self.start <= address and address + size <= self.end


@dataclass(frozen=True)
class Peripheral:
    """A UART or timer: `kind` names the driver, `base` is its address.

    `clock_hz` is what the peripheral counts, 0 where that is the core's clock; `baud` is the rate
    of a UART in bits per second. `tx_pin` and `rx_pin` are for UARTs that reach any pin, in the
    numbers of the chip's pin select registers; -1 where the pins are not the UART's matter.
    """

    kind: str
    base: int
    clock_hz: int = 0
    baud: int = 115_200
    tx_pin: int = -1
    rx_pin: int = -1


@dataclass(frozen=True)
class Step:
    """What the firmware does to a 32-bit register before it opens its UART.

    `op` is "write" (the bits of `mask` become those of `value`), "set" and "clear" (the bits of
    `value`), or "wait" (until the bits of `mask` are those of `value`). `comment` begins with the
    register's name, ``PERIPHERAL.REGISTER``, where it is known.
    """

    op: str
    address: int
    value: int
    mask: int
    comment: str = ""

    @property
    def register(self) -> str:
        """``PERIPHERAL.REGISTER`` from the comment, or ""."""
        name = self.comment.split(":")[0].strip()
        return name if "." in name and " " not in name else ""


@dataclass(frozen=True)
class Trigger:
    """A pin that the profiler moves for a power analyser: `mask` is written to address `set` to
    raise it, and shifted to the left by `clear_shift` to `clear` to lower it."""

    set: int
    clear: int
    mask: int
    clear_shift: int = 0


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
    """A board: its target, memories, UART, cycle counters in the order to try, and its routes.

    `routes` are ways to its flash, the first is the default; `settings` has a table for each route
    that needs one. `tested` says against what the file was tested. `clock_hz` is 0 on boards with
    Linux of which it is unknown.

    `chip` is the part number; `core` names its core where `target` only stands in for it. `setup`
    are the steps that bring clocks and pins up, `cold` those that empty the flash accelerator
    before a run that is to be cold; `caches` says that the core has caches of Armv7-M, which the
    firmware turns on. `boot` names what the chip's ROM wants in front of the program
    (edgekit/devices/firmware/boot.py). `packages_only` names the form of `edgekit export` that is
    the only way to a board that edgekit cannot flash.

    Where the flash has wait states, the cycle model charges them for each line of
    `flash_line_bytes` that has to be waited for (docs/CYCLES.md says when).

    `transports` are the ways between host and program that the board has; the first is taken unless
    another one is asked for.

    `usb` are the identifiers "vid:pid" (hexadecimal, lower case) of its USB serial port.
    `usb_device` names the driver of the chip's own USB controller, for the transport "usb"; the
    program then is the first of `usb`.
    """

    name: str
    description: str
    target: Target
    clock_hz: int
    regions: tuple[Region, ...]
    uart: Peripheral
    counters: tuple[str, ...]
    routes: tuple[str, ...]
    tested: str
    notes: str = ""
    timer: Peripheral | None = None
    qemu: Qemu | None = None
    flash_line_bytes: int = 16
    chip: str = ""
    core: str = ""
    setup: tuple[Step, ...] = ()
    cold: tuple[Step, ...] = ()
    trigger: Trigger | None = None
    boot: str = ""
    caches: bool = False
    packages_only: str = ""
    usb: tuple[str, ...] = ()
    transports: tuple[str, ...] = USUAL_TRANSPORTS
    usb_device: str = ""
    settings: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    #: The C library of a board with Linux whose programs load a driver (`targets.linux.LIBCS`).
    libc: str = ""
    #: Where the target's accelerator has its registers; -1 where it has none.
    accelerator_base: int = -1

    @property
    def route(self) -> str:
        """The route that is taken unless another one is asked for; "" where packages are the only
        way."""
        return self.routes[0] if self.routes else ""

    @property
    def emulated(self) -> bool:
        """Whether the board is a program on this machine, whose flash is a file."""
        return self.route in EMULATORS

    @property
    def linux(self) -> bool:
        """Whether the program is a process under Linux (`targets.linux`)."""
        return self.target.port == "linux"

    @property
    def runner(self) -> str:
        """The command that emulates the CPU for a program of Linux; "" where it is real."""
        return str(self.settings.get("local", {}).get("runner", ""))

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
