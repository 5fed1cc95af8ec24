"""What a function takes of a GPU, and whether the classes of GPUs that we build for have it.

Checked when a layer is compiled, without a device: local memory, items of a group, and 32-bit
registers of an item, which are estimated from the lowered function (`registers`). docs/GPU.md,
"Limits", has the sources of the figures and how far the estimate is from what a compiler takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from codegen.gpu.kernel import Launch, Variant

#: What a call of the prelude needs besides its operands and its result: the halves of a product
#: of 64 bits and its shifted copy.
CALL_REGISTERS = 4
#: An element's address while it is loaded or stored.
ADDRESS_REGISTERS = 2
#: Items of an Adreno's wave, and waves that share one share of the register file.
WAVE, WAVES_TOGETHER = 64, 2


@dataclass(frozen=True)
class DeviceClass:
    """Limits of a class of GPUs, those of its smallest member.

    `registers` is what an item may hold before values are spilled to memory. `full` are the
    registers up to which a core holds its `most_items`; a group has to fit into one core, since
    its items wait for each other.
    """

    name: str
    local_bytes: int
    registers: int
    most_items: int
    full: int
    #: Registers of 16 bytes for one item of each wave; 0 where occupancy only halves once.
    file: int = 0

    def group(self, registers: int) -> int:
        """Items that a group can have where each holds so many registers."""
        if self.file:
            waves = self.file // max(1, -(-registers // 4)) * WAVES_TOGETHER
            return min(self.most_items, waves * WAVE)
        return self.most_items if registers <= self.full else self.most_items // 2


#: docs/GPU.md, "Limits".
CLASSES = (
    DeviceClass("Mali-G76", local_bytes=32768, registers=64, most_items=384, full=32),
    DeviceClass("Adreno 6xx", local_bytes=32768, registers=192, most_items=1024, full=24, file=48),
)


def excess(variant: Variant, classes: tuple[DeviceClass, ...] = CLASSES) -> list[str]:
    """What of a variant is beyond the limits of a class, in words; empty where nothing is."""
    return [why for launch in variant.launches for c in classes for why in _excess(launch, c)]


def _excess(launch: Launch, limit: DeviceClass) -> Iterator[str]:
    f = launch.function
    if f.local_bytes > limit.local_bytes:
        yield f"{f.name}: {f.local_bytes} B of local memory, {limit.name} has {limit.local_bytes} B"
    if f.registers > limit.registers:
        yield f"{f.name}: ~{f.registers} registers, {limit.name} has {limit.registers} for an item"
    for size in (launch.local_size, *launch.others):
        if prod(size) > (most := limit.group(f.registers)):
            yield (
                f"{f.name}: groups of {prod(size)} items with ~{f.registers} registers, "
                f"{limit.name} holds {most}"
            )


def within_limits(variants: list[Variant]) -> tuple[list[Variant], list[str]]:
    """Variants that every class has room for, and why the others are not offered."""
    kept, refused = [], []
    for variant in variants:
        if why := excess(variant):
            refused.append(f"{variant.name}: {'; '.join(why)}")
        else:
            kept.append(variant)
    return kept, refused


def registers(func: Any) -> int:
    """32-bit registers that an item of a lowered function holds at its peak, estimated.

    Values count from where they are computed to their last use: private arrays (accumulators, rows
    of operands), bound values, loop counters, item numbers, and what an expression holds while
    it is evaluated in the order that needs the fewest. Bytes of a vector or private array lie four
    to a register. Pointers to buffers are uniform and cost nothing. A compiler may take more, where
    it loads ahead, and less, where it shares address arithmetic.
    """
    return _Estimate().peak(func.body, 0)


class _Estimate:
    def peak(self, node: Any, live: int) -> int:
        """Most registers at once within a statement, with `live` ones held around it."""
        kind = type(node).__name__
        if kind == "SeqStmt":
            return self._sequence(list(node.seq), live)
        if kind == "For":
            return max(live + self.need(node.extent), self.peak(node.body, live + 1))
        if kind == "AttrStmt":
            thread = "thread" in str(node.attr_key) and int(_literal(node.value, 2)) > 1
            return self.peak(node.body, live + thread)
        if kind == "IfThenElse":
            parts = [self.peak(node.then_case, live), live + self.need(node.condition)]
            if node.else_case is not None:
                parts.append(self.peak(node.else_case, live))
            return max(parts)
        if kind == "BufferStore":
            address = ADDRESS_REGISTERS if _in_memory(node.buffer) else 0
            # The value first, then where it goes.
            value = self.need(node.value)
            indices = max((self.need(i) for i in node.indices), default=0)
            return live + max(value, _words(str(node.value.ty.dtype)) + max(indices, address))
        if kind in ("Evaluate", "Bind"):
            return live + self.need(node.value)
        return live

    def _sequence(self, statements: list[Any], live: int) -> int:
        """Statements one after the other; what they bind or allocate lives to its last use."""
        used = [set(_names(s)) for s in statements]
        held: list[tuple[Any, int]] = []
        most = live
        for i, statement in enumerate(statements):
            held = [(v, n) for v, n in held if any(v in later for later in used[i:])]
            now = live + sum(n for _, n in held)
            most = max(most, self.peak(statement, now))
            kind = type(statement).__name__
            if kind == "AllocBuffer" and not _in_memory(statement.buffer):
                held.append((statement.buffer, _array_words(statement.buffer)))
            elif kind == "Bind" and not _is_pointer(statement.var):
                held.append((statement.var, _words(str(statement.var.ty.dtype))))
        return most

    def need(self, node: Any) -> int:
        """Registers that evaluating an expression takes beyond those of the variables it reads."""
        kind = type(node).__name__
        if kind in ("IntImm", "FloatImm", "StringImm", "Var"):
            return 0
        dtype = str(node.ty.dtype) if hasattr(node, "ty") else "int32"
        width = _words(dtype)
        if kind in ("TensorLoad", "BufferLoad"):
            index = max((self.need(i) for i in node.indices), default=0)
            if not _in_memory(node.source):
                return index
            return max(index, width, ADDRESS_REGISTERS)
        if kind == "Call":
            parts = [a for a in node.args if type(a).__name__ != "StringImm"]
            extra = CALL_REGISTERS if "extern" in str(getattr(node.op, "name", "")) else 0
            return max(self._together(parts) + extra, width)
        parts = [
            child
            for name in (
                *("a", "b", "value", "condition", "true_value", "false_value"),
                *("base", "stride"),
            )
            if (child := getattr(node, name, None)) is not None and not isinstance(child, int)
        ]
        return max(self._together(parts), width)

    def _together(self, parts: list[Any]) -> int:
        """Operands that are all held at the end, those that need most first (Sethi and Ullman)."""
        costs = [(self.need(p), self._held(p)) for p in parts]
        held = most = 0
        for need, result in sorted(costs, key=lambda c: c[0] - c[1], reverse=True):
            most = max(most, held + need)
            held += result
        return max(most, held)

    @staticmethod
    def _held(node: Any) -> int:
        """Registers of a value by itself: those of variables and private arrays are counted."""
        kind = type(node).__name__
        if kind in ("IntImm", "FloatImm", "StringImm", "Var"):
            return 0
        if kind in ("TensorLoad", "BufferLoad") and not _in_memory(node.source):
            return 0
        return _words(str(node.ty.dtype))


def _names(node: Any) -> Iterator[Any]:
    """Variables and buffers that a statement or expression uses."""
    from codegen.tvm_nodes import walk

    for n in walk(node):
        kind = type(n).__name__
        if kind == "Var":
            yield n
        elif kind in ("TensorLoad", "BufferLoad"):
            yield n.source
        elif kind in ("BufferStore", "DeclBuffer"):
            yield n.buffer


def _literal(node: Any, other: int) -> int:
    return int(node) if type(node).__name__ == "IntImm" else other


def _in_memory(buffer: Any) -> bool:
    """Whether a buffer is not an item's own."""
    scope = getattr(buffer, "scope", None)
    return str(scope() if callable(scope) else scope) != "local"


def _is_pointer(var: Any) -> bool:
    return not hasattr(getattr(var, "ty", None), "dtype")


def _array_words(buffer: Any) -> int:
    count = prod(int(extent) for extent in buffer.shape)
    return -(-count * _bits(str(buffer.ty.dtype)) // 32)


def _words(dtype: str) -> int:
    """Registers of a value; a byte alone takes one."""
    return max(1, -(-_bits(dtype) // 32))


def _bits(dtype: str) -> int:
    base, _, lanes = dtype.partition("x")
    digits = "".join(c for c in base if c.isdigit())
    return (8 if base == "bool" or not digits else int(digits)) * int(lanes or 1)
