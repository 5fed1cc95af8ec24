"""Call one compiled C function on the virtual core: for kernel tests and for costing.

elf = link_functions(objects, board("virtual-cortex-m4"), ["ek_add"])
bench = Bench(elf, board("virtual-cortex-m4"))
done = bench.call("ek_add", [a.tobytes(), b.tobytes(), Out(64), 64])
done.outputs[0], done.instructions, done.cycles
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.emulators.machine import Machine
from edgekit.devices.firmware.image import load_elf, load_symbols
from edgekit.errors import EdgekitError
from edgekit.toolchain import find_compiler, link
from targets import Board, Region, board

_RETURN = Region("RETURN", "flash", 0x1FFF_F000, 0x1000)
_LIMIT = 2_000_000_000


@dataclass(frozen=True)
class Out:
    """A pointer argument to `size` bytes that the function writes, filled with `fill` before."""

    size: int
    align: int = 16
    fill: int = 0xA5


@dataclass(frozen=True)
class InOut:
    """A pointer argument to `data` that is also read back."""

    data: bytes
    align: int = 16


Argument = int | str | bytes | Out | InOut


@dataclass(frozen=True)
class CallCounts:
    """What a call did.

    Attributes:
        result: the first argument register afterwards, unsigned.
        instructions: exact executed instructions, the return included.
        cycles: estimated cycles, zero wait states.
        outputs: bytes of every `Out` and `InOut` argument in order.
        memory: bytes of every place in `read`, in order.
        functions: (instructions, cycles) per function.
    """

    result: int
    instructions: int
    cycles: int
    outputs: tuple[bytes, ...]
    memory: tuple[bytes, ...]
    functions: dict[str, tuple[int, int]]


def link_functions(
    objects: Sequence[Path], on: Board, functions: Sequence[str], compiler: str = "zig"
) -> Path:
    """Link objects to an ELF file that holds `functions` and what they need, without a main."""
    cc = find_compiler(compiler, on.target)
    return link(cc, objects, on, entry=functions[0], keep=functions)


class Bench:
    """An ELF file loaded once, its functions called many times; RAM persists between calls.

    With `strict`, unaligned LDRD, LDM, VLDR and their like fault as on a real core (slower).
    """

    def __init__(self, elf: Path, on: Board | None = None, strict: bool = False) -> None:
        self.board = on or board("virtual-cortex-m4")
        image = load_elf(elf)
        image.check_fits(self.board)
        self.symbols = load_symbols(elf)
        self.machine = Machine(self.board.target, (*self.board.regions, _RETURN), image.functions)
        for address, data in image.segments:
            self.machine.write(address, data)
        if strict:
            self.machine.check_alignment()
        self._start_data()

    def _start_data(self) -> None:
        start, end, load = (self.symbols[f"__data_{name}"] for name in ("start", "end", "load"))
        if end > start:
            self.machine.write(start, self.machine.read(load, end - start))

    def address(self, place: int | str) -> int:
        """An address, or that of a symbol."""
        if isinstance(place, int):
            return place
        if place not in self.symbols:
            raise EdgekitError("E506", f"the program has no symbol '{place}'")
        return self.symbols[place]

    def call(
        self,
        symbol: str,
        arguments: Sequence[Argument] = (),
        *,
        memory: Mapping[int | str, bytes] | None = None,
        read: Sequence[tuple[int | str, int]] = (),
    ) -> CallCounts:
        """Call ``symbol(*arguments)`` by the procedure call standard (integers and pointers).

        Args:
            arguments: integers, symbol names (their addresses), bytes (copied to RAM, passed by
                address), `Out` and `InOut` buffers.
            memory: bytes to write first, by address or symbol.
            read: (address or symbol, size) to read back afterwards.

        Raises:
            EdgekitError: E609 on a fault or where it does not return; E610 out of RAM.
        """
        machine = self.machine
        for place, data in (memory or {}).items():
            machine.write(self.address(place), data)
        values, buffers = self._place(arguments)
        core = machine.core
        rest = values[len(core.arguments) :]
        stack = self.symbols["__stack_end"] - 16 * ((len(rest) + 3) // 4)
        machine.write(stack, b"".join(struct.pack("<I", v) for v in rest))
        for register, value in zip(core.arguments, values, strict=False):
            machine.set_register(register, value)
        machine.set_register("sp", stack)
        machine.set_register(core.link, _RETURN.start | core.thumb)
        machine.new_flow()
        before, each = machine.counts, machine.by_function()
        if not machine.run(self.address(symbol), _RETURN.start, _LIMIT):
            raise EdgekitError("E609", f"'{symbol}' did not return in {_LIMIT} instructions")
        machine.end_of_flow()
        spent = machine.counts - before
        functions = {
            name: (c.instructions - b.instructions, c.cycles - b.cycles)
            for name, c in machine.by_function().items()
            if (b := each.get(name, type(c)(0, 0))) != c
        }
        return CallCounts(
            machine.register(core.arguments[0]),
            spent.instructions,
            spent.cycles,
            tuple(machine.read(address, size) for address, size in buffers),
            tuple(machine.read(self.address(place), size) for place, size in read),
            functions,
        )

    def _place(self, arguments: Sequence[Argument]) -> tuple[list[int], list[tuple[int, int]]]:
        """Argument words, and (address, size) of the buffers to read back."""
        values: list[int] = []
        buffers: list[tuple[int, int]] = []
        free = self.symbols["__bss_end"]
        for argument in arguments:
            if isinstance(argument, int | str):
                values.append(self.address(argument) & 0xFFFFFFFF)
                continue
            align = 16 if isinstance(argument, bytes) else argument.align
            if isinstance(argument, Out):
                data = bytes([argument.fill]) * argument.size
            else:
                data = argument if isinstance(argument, bytes) else argument.data
            start = -(-free // align) * align
            free = start + len(data)
            if not self.board.ram.holds(start, len(data)):
                raise EdgekitError(
                    "E610", f"the arguments need {free - self.board.ram.end} B more RAM"
                )
            self.machine.write(start, data)
            values.append(start)
            if not isinstance(argument, bytes):
                buffers.append((start, len(data)))
        return values, buffers


def call_function(
    elf: Path,
    symbol: str,
    arguments: Sequence[Argument] = (),
    memory: Mapping[int | str, bytes] | None = None,
    read: Sequence[tuple[int | str, int]] = (),
    on: Board | None = None,
) -> CallCounts:
    """Load an ELF file afresh and call one function; see `Bench.call`."""
    return Bench(elf, on).call(symbol, arguments, memory=memory, read=read)
