"""TOML files to `Target` and `Board`, every key checked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from targets import linux
from targets.model import (
    BOOT_IMAGES,
    COUNTERS,
    KERNEL_OPTS,
    PACKAGES,
    PORTS,
    REGION_KINDS,
    TIMER_KINDS,
    TRANSPORTS,
    USUAL_TRANSPORTS,
    Board,
    Peripheral,
    Qemu,
    Region,
    Step,
    Target,
    TargetFileError,
    Trigger,
)
from targets.npu.config import CONFIGURATIONS, SIZES, Accelerator
from targets.steps import parse_step

T = TypeVar("T")


class _Table:
    """One TOML table; whatever was not taken when `done` is called is an unknown key."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.data, self.where, self.taken = data, where, set[str]()

    def has(self, key: str) -> bool:
        return key in self.data

    def take(self, key: str, kind: type[T]) -> T:
        self.taken.add(key)
        if key not in self.data:
            raise TargetFileError(f"{self.where}: key '{key}' is missing")
        value = self.data[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TargetFileError(
                f"{self.where}: '{key}' must be {kind.__name__}, is {type(value).__name__}"
            )
        return value

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.take(key, str)
        if value not in allowed:
            raise TargetFileError(
                f"{self.where}: '{key}' is '{value}', must be one of: {', '.join(allowed)}"
            )
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.take(key, list)
        if not all(isinstance(item, str) for item in value):
            raise TargetFileError(f"{self.where}: '{key}' must be a list of strings")
        return tuple(value)

    def number(self, key: str, low: int, high: int) -> int:
        value = self.take(key, int)
        if not low <= value <= high:
            raise TargetFileError(f"{self.where}: '{key}' is {value}, must be {low} to {high}")
        return value

    def flag(self, key: str) -> bool:
        """A truth value that is false where the key is missing."""
        self.taken.add(key)
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise TargetFileError(f"{self.where}: '{key}' must be true or false")
        return value

    def table(self, key: str) -> _Table:
        return _Table(self.take(key, dict), f"{self.where} [{key}]")

    def done(self) -> None:
        unknown = sorted(set(self.data) - self.taken)
        if unknown:
            raise TargetFileError(f"{self.where}: unknown key '{unknown[0]}'")


def _open(path: Path) -> _Table:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TargetFileError(f"{path.name}: {error}") from error
    table = _Table(data, path.name)
    if table.take("name", str) != path.stem:
        raise TargetFileError(f"{path.name}: 'name' is '{data['name']}', must be '{path.stem}'")
    return table


def load_target(path: Path) -> Target:
    """Read one target file; raises `TargetFileError`."""
    top = _open(path)
    zig, gcc = top.table("zig"), top.table("gcc")
    found = Target(
        name=path.stem,
        description=top.take("description", str),
        families=top.texts("families"),
        default_board=top.take("default_board", str),
        port=top.one_of("port", PORTS),
        cycle_model=top.take("cycle_model", str),
        unicorn_cpu=top.take("unicorn_cpu", str),
        zig_triple=zig.take("triple", str),
        zig_cpu=zig.take("cpu", str),
        zig_flags=zig.texts("flags"),
        gcc_command=gcc.take("command", str),
        gcc_flags=gcc.texts("flags"),
        gcc_package=gcc.take("package", str),
        gcc_libraries=gcc.texts("libraries"),
        kernel_opt=top.one_of("kernel_opt", KERNEL_OPTS) if top.has("kernel_opt") else "-O2",
        accelerator=_accelerator(top, path.stem),
        hwcaps=_hwcaps(top, zig.take("triple", str).partition("-")[0]),
        runs_too=top.texts("runs_too") if top.has("runs_too") else (),
        gpu=top.flag("gpu"),
    )
    for table in (top, zig, gcc):
        table.done()
    if not found.families:
        raise TargetFileError(f"{path.name}: 'families' is empty")
    return found


def _accelerator(top: _Table, name: str) -> Accelerator | None:
    """Of the key's value: a configuration's name, or a table of sizes of one's own."""
    if not top.has("accelerator"):
        return None
    if not isinstance(top.data["accelerator"], dict):
        return CONFIGURATIONS[top.one_of("accelerator", tuple(CONFIGURATIONS))]
    table = top.table("accelerator")
    sizes = {key: table.take(key, int) for key in SIZES}
    tables = table.flag("tables") if table.has("tables") else True
    logic = table.flag("lut_multipliers")
    table.done()
    try:
        return Accelerator(name, **sizes, tables=tables, lut_multipliers=logic)
    except ValueError as error:
        raise TargetFileError(f"{table.where}: {error}") from None


def _hwcaps(top: _Table, architecture: str) -> tuple[str, ...]:
    names = top.texts("hwcaps") if top.has("hwcaps") else ()
    known = linux.HWCAPS.get(architecture, {})
    if unknown := [name for name in names if name not in known]:
        raise TargetFileError(
            f"{top.where}: 'hwcaps' has '{unknown[0]}', must be of: {', '.join(known) or 'none'}"
        )
    return names


def load_board(path: Path, targets: Mapping[str, Target]) -> Board:
    """Read one board file whose target is among `targets`; raises `TargetFileError`."""
    top = _open(path)
    name = top.one_of("target", (*targets, linux.THIS_MACHINE))
    target = targets[linux.this_machine() if name == linux.THIS_MACHINE else name]
    clock_hz, regions, uart = (_linux if target.port == linux.PORT else _bare)(top)
    found = Board(
        name=path.stem,
        description=top.take("description", str),
        target=target,
        clock_hz=clock_hz,
        regions=regions,
        uart=uart,
        counters=_counters(top),
        routes=_routes(top),
        tested=top.take("tested", str),
        notes=top.take("notes", str) if top.has("notes") else "",
        timer=_peripheral(top.table("timer"), TIMER_KINDS) if top.has("timer") else None,
        qemu=_qemu(top.table("qemu")) if top.has("qemu") else None,
        settings=_settings(top),
        chip=top.take("chip", str) if top.has("chip") else "",
        core=top.take("core", str) if top.has("core") else "",
        setup=_steps(top, "setup"),
        cold=_steps(top, "cold"),
        trigger=_trigger(top.table("trigger")) if top.has("trigger") else None,
        boot=top.one_of("boot", BOOT_IMAGES) if top.has("boot") else "",
        caches=top.flag("caches"),
        packages_only=top.one_of("packages_only", PACKAGES) if top.has("packages_only") else "",
        usb=_usb(top),
        transports=_transports(top),
        libc=_libc(top, target),
        usb_device=_usb_device(top),
        accelerator_base=_accelerator_base(top),
        **_flash_timing(top),
    )
    top.done()
    if "cmsdk-timer" in found.counters and found.timer is None:
        raise TargetFileError(f"{path.name}: counter 'cmsdk-timer' needs a table [timer]")
    if (found.accelerator_base >= 0) != bool(target.accelerator):
        raise TargetFileError(
            f"{path.name}: 'accelerator_base' and a target with an accelerator go together"
        )
    if (found.route == "qemu-gdb") != (found.qemu is not None):
        raise TargetFileError(f"{path.name}: table [qemu] and route 'qemu-gdb' go together")
    unknown = [name for name in found.settings if name not in found.routes]
    if unknown:
        raise TargetFileError(
            f"{path.name}: settings for '{unknown[0]}', which is not one of its routes, "
            f"{', '.join(found.routes) or 'none'}"
        )
    return found


def _libc(top: _Table, target: Target) -> str:
    """The C library of a board whose programs load a driver; "" of others."""
    if not target.gpu:
        return ""
    name = top.one_of("libc", tuple(linux.LIBCS)) if top.has("libc") else linux.GLIBC
    if target.architecture not in linux.LIBCS[name].loaders:
        raise TargetFileError(f"{top.where}: {name} has no loader for {target.architecture} here")
    return name


def _accelerator_base(top: _Table) -> int:
    return top.number("accelerator_base", 0, 2**32 - 4) if top.has("accelerator_base") else -1


def _bare(top: _Table) -> tuple[int, tuple[Region, ...], Peripheral]:
    """Clock, memories and UART of a microcontroller."""
    return top.number("clock_hz", 1, 2**32 - 1), _regions(top), _uart(top.table("uart"))


def _linux(top: _Table) -> tuple[int, tuple[Region, ...], Peripheral]:
    """The same of a board with Linux, which needs to be told its RAM only."""
    clock_hz = top.number("clock_hz", 1, 2**32 - 1) if top.has("clock_hz") else 0
    table = top.table("linux")
    regions = linux.memories(table.number("ram_mib", 16, 1 << 20))
    table.done()
    return clock_hz, regions, Peripheral(linux.PORT, 0)


def _routes(top: _Table) -> tuple[str, ...]:
    names = top.texts("routes")
    if not names and not top.has("packages_only"):
        raise TargetFileError(f"{top.where}: 'routes' is empty")
    if names and top.has("packages_only"):
        raise TargetFileError(f"{top.where}: 'packages_only' and 'routes' exclude each other")
    return names


def _settings(top: _Table) -> dict[str, dict[str, str | int]]:
    """``[settings.ROUTE]`` tables; the routes check what is in them."""
    if not top.has("settings"):
        return {}
    found: dict[str, dict[str, str | int]] = {}
    for route, table in top.take("settings", dict).items():
        whole = isinstance(table, dict)
        if not whole or not all(isinstance(v, str | int) for v in table.values()):
            raise TargetFileError(f"{top.where} [settings.{route}]: only texts and integers")
        found[route] = dict(table)
    return found


def _steps(top: _Table, key: str) -> tuple[Step, ...]:
    steps = []
    for number, text in enumerate(top.texts(key) if top.has(key) else (), 1):
        try:
            steps.append(parse_step(text))
        except ValueError as error:
            raise TargetFileError(f"{top.where}: '{key}' step {number}: {error}") from None
    return tuple(steps)


def _trigger(table: _Table) -> Trigger:
    found = Trigger(
        table.number("set", 0, 2**32 - 4),
        table.number("clear", 0, 2**32 - 4),
        table.number("mask", 1, 2**32 - 1),
        table.number("clear_shift", 0, 31) if table.has("clear_shift") else 0,
    )
    table.done()
    return found


def _transports(top: _Table) -> tuple[str, ...]:
    if not top.has("transports"):
        return USUAL_TRANSPORTS
    names = top.texts("transports")
    if not names or not set(names) <= set(TRANSPORTS) or len(set(names)) < len(names):
        raise TargetFileError(
            f"{top.where}: 'transports' must name some of {', '.join(TRANSPORTS)}, each once"
        )
    return names


def _usb_device(top: _Table) -> str:
    kind = top.take("usb_device", str) if top.has("usb_device") else ""
    if ("usb" in _transports(top)) != bool(kind):
        raise TargetFileError(f"{top.where}: 'usb_device' goes with the transport 'usb'")
    if kind and not _usb(top):
        raise TargetFileError(f"{top.where}: 'usb_device' needs an identifier in 'usb'")
    return kind


def _usb(top: _Table) -> tuple[str, ...]:
    identifiers = tuple(text.lower() for text in top.texts("usb")) if top.has("usb") else ()
    for text in identifiers:
        if not re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}", text):
            raise TargetFileError(
                f"{top.where}: 'usb' has '{text}', must be VID:PID such as '0483:374b'"
            )
    return identifiers


def _uart(table: _Table) -> Peripheral:
    """`kind` names a file of firmware/ports; whether it exists shows when firmware is built."""
    found = Peripheral(
        table.take("kind", str),
        table.number("base", 0, 2**32 - 1),
        table.number("clock_hz", 1, 2**32 - 1) if table.has("clock_hz") else 0,
        table.number("baud", 1200, 12_000_000) if table.has("baud") else Peripheral.baud,
        *(table.number(pin, 0, 255) if table.has(pin) else -1 for pin in ("tx_pin", "rx_pin")),
    )
    table.done()
    if (found.tx_pin < 0) != (found.rx_pin < 0):
        raise TargetFileError(f"{table.where}: 'tx_pin' and 'rx_pin' go together")
    return found


def _counters(top: _Table) -> tuple[str, ...]:
    names = top.texts("counters")
    wrong = [n for n in names if n not in COUNTERS]
    if wrong or not (names or top.has("packages_only")):
        raise TargetFileError(
            f"{top.where}: 'counters' must name some of {', '.join(COUNTERS)}"
            + (f", not '{wrong[0]}'" if wrong else "")
        )
    return names


def _peripheral(table: _Table, kinds: tuple[str, ...]) -> Peripheral:
    found = Peripheral(table.one_of("kind", kinds), table.number("base", 0, 2**32 - 1))
    table.done()
    return found


def _qemu(table: _Table) -> Qemu:
    found = Qemu(
        table.take("command", str),
        table.take("machine", str),
        table.number("icount_shift", 0, 10),
        table.texts("arguments") if table.has("arguments") else (),
        table.take("package", str) if table.has("package") else Qemu.package,
    )
    table.done()
    return found


def _flash_timing(top: _Table) -> dict[str, int]:
    """The optional keys that the cycle model reads."""
    found = {}
    if top.has("flash_line_bytes"):
        found["flash_line_bytes"] = size = top.number("flash_line_bytes", 4, 64)
        if size & (size - 1):
            raise TargetFileError(f"{top.where}: 'flash_line_bytes' is {size}, not a power of 2")
    return found


def _regions(top: _Table) -> tuple[Region, ...]:
    regions = []
    for index, data in enumerate(top.take("regions", list)):
        table = _Table(data, f"{top.where} [[regions]] {index}")
        regions.append(
            Region(
                table.take("name", str),
                table.one_of("kind", REGION_KINDS),
                table.number("start", 0, 2**32 - 1),
                table.number("size", 1, 2**32),
                table.number("wait_states", 0, 255) if table.has("wait_states") else 0,
                table.number("data_start", 0, 2**32 - 1) if table.has("data_start") else -1,
            )
        )
        table.done()
        if regions[-1].start % 4096 or regions[-1].size % 4096:
            raise TargetFileError(f"{table.where}: start and size must be multiples of 4096")
    for kind in REGION_KINDS:
        if not any(r.kind == kind for r in regions):
            raise TargetFileError(f"{top.where}: no region of kind '{kind}'")
    if len({r.name for r in regions}) != len(regions):
        raise TargetFileError(f"{top.where}: two regions have the same name")
    for low, high in pairwise(sorted(regions, key=lambda r: r.start)):
        if low.end > high.start:
            raise TargetFileError(
                f"{top.where}: region '{low.name}' ends at {low.end:#x} and overlaps "
                f"'{high.name}' that starts at {high.start:#x}"
            )
    return tuple(regions)
