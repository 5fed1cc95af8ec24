"""TOML files to `Target` and `Board`, every key checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from targets.model import (
    COUNTERS,
    KERNEL_OPTS,
    PORTS,
    REGION_KINDS,
    ROUTES,
    TIMER_KINDS,
    UART_KINDS,
    Board,
    Peripheral,
    Qemu,
    Region,
    Target,
    TargetFileError,
)

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
    )
    for table in (top, zig, gcc):
        table.done()
    if not found.families:
        raise TargetFileError(f"{path.name}: 'families' is empty")
    return found


def load_board(path: Path, targets: Mapping[str, Target]) -> Board:
    """Read one board file whose target is among `targets`; raises `TargetFileError`."""
    top = _open(path)
    found = Board(
        name=path.stem,
        description=top.take("description", str),
        target=targets[top.one_of("target", tuple(targets))],
        clock_hz=top.number("clock_hz", 1, 2**32 - 1),
        regions=_regions(top),
        uart=_peripheral(top.table("uart"), UART_KINDS),
        counters=_counters(top),
        route=top.one_of("route", ROUTES),
        notes=top.take("notes", str),
        timer=_peripheral(top.table("timer"), TIMER_KINDS) if top.has("timer") else None,
        qemu=_qemu(top.table("qemu")) if top.has("qemu") else None,
        **_flash_timing(top),
    )
    top.done()
    if "cmsdk-timer" in found.counters and found.timer is None:
        raise TargetFileError(f"{path.name}: counter 'cmsdk-timer' needs a table [timer]")
    if (found.route == "qemu-gdb") != (found.qemu is not None):
        raise TargetFileError(f"{path.name}: table [qemu] and route 'qemu-gdb' go together")
    return found


def _counters(top: _Table) -> tuple[str, ...]:
    names = top.texts("counters")
    wrong = [n for n in names if n not in COUNTERS]
    if wrong or not names:
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
