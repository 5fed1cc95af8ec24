"""Lowered PrimFunc with thread bindings to OpenCL C 1.2.

What `codegen.cprinter` prints, in another dialect of C:

* parameters are ``__global`` pointers; buffers of scope "shared" are ``__local`` arrays, declared
  before everything else, as the language wants it, and all others belong to one item;
* vectors are the language's own: buffers may have elements of char4, char16, int4 ..., and a ramp
  of elements is ``vload4``, ``vload16``, ``vstore4``;
* a loop that is bound to ``blockIdx`` and one to ``threadIdx`` of the same letter are the number of
  the group and of the item in it. Where only ``blockIdx`` is bound, it is the item's number in all:
  such functions give the same bytes with every local size, and items beyond the end return.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from codegen.cprinter import (
    BYTES,
    Printer,
    PrintError,
    dtype_of,
    op_of,
    vector_of,
)
from codegen.tvm_nodes import kind as kind_of
from codegen.tvm_nodes import walk

C_TYPES = {
    "int8": "char",
    "uint8": "uchar",
    "int16": "short",
    "uint16": "ushort",
    "int32": "int",
    "uint32": "uint",
    "int64": "long",
    "float16": "half",
    "float32": "float",
    "bool": "bool",
}
LANES = (2, 4, 8, 16)
WIDTHS = BYTES | {"uint16": 2, "float16": 2}
#: Names that mean something to OpenCL C and could be those of tensors.
RESERVED = ("constant", "dot", "global", "half", "kernel", "local", "max", "min", "private", "step")


def c_type(dtype: str) -> str:
    """What ``int8x4`` and the like are called in OpenCL C."""
    if dtype in C_TYPES:
        return C_TYPES[dtype]
    base, lanes = vector_of(dtype)
    if lanes not in LANES or base == "bool":
        raise PrintError(f"OpenCL C has no vector {dtype}")
    return f"{C_TYPES[base]}{lanes}"


def nbytes_of(dtype: str) -> int:
    if dtype in WIDTHS:
        return WIDTHS[dtype]
    base, lanes = vector_of(dtype)
    return WIDTHS[base] * lanes


@dataclass(frozen=True)
class PrintedKernel:
    """The text of a ``__kernel`` function and what its launch must know.

    `groups` and `items` are the extents of blockIdx and threadIdx by letter; where `items` is empty
    `groups` are items. `private` lists the arrays that an item holds, as (dtype, count).
    """

    text: str
    groups: dict[str, int]
    items: dict[str, int]
    local_bytes: int
    private: tuple[tuple[str, int], ...]


def print_kernel(func: Any, name: str, *, written: set[str]) -> PrintedKernel:
    """Print `func` as a kernel called `name` that writes to the parameters `written`.

    Args:
        func: a PrimFunc as `codegen.tvm_api.lower_gpu` returns it.
    """
    return _Kernel(func, written).kernel(name)


class _Types(dict[str, str]):
    def __missing__(self, dtype: str) -> str:
        return c_type(dtype)


class _Kernel(Printer):
    types = _Types(C_TYPES)
    counter = "int"
    least = "INT_MIN"

    def __init__(self, func: Any, written: set[str]) -> None:
        super().__init__(func, written)
        self.used |= set(RESERVED)
        self.used |= {f"{which}_{d}" for which in ("global", "group", "local") for d in "xyz"}
        self.locals: list[str] = []
        self.local_bytes = 0
        self.private: list[tuple[str, int]] = []
        self.groups: dict[str, int] = {}
        self.items: dict[str, int] = {}

    def kernel(self, name: str) -> PrintedKernel:
        for param in self.func.params:
            self.name(param)
        self._scan(self.func.body)
        self._find_threads(self.func.body)
        self.statement(self.func.body)
        params = ", ".join(self._parameter(p) for p in self.func.params)
        body = "\n".join([*self.locals, *self.lines])
        text = f"__kernel void {name}({params})\n{{\n{body}\n}}\n"
        return PrintedKernel(text, self.groups, self.items, self.local_bytes, tuple(self.private))

    def _parameter(self, param: Any) -> str:
        name = self.name(param)
        const = "" if name in self.written else "const "
        return f"__global {const}{c_type(dtype_of(param))} *restrict {name}"

    # ---- threads

    def _find_threads(self, root: Any) -> None:
        """Extents of all thread axes; they are the same wherever one is bound again."""
        for node in walk(root):
            if kind_of(node) == "AttrStmt" and node.attr_key == "thread_extent":
                tag, extent = str(node.node.thread_tag), int(node.value)
                where = self.groups if tag.startswith("blockIdx.") else self.items
                if where.setdefault(tag[-1], extent) != extent:
                    raise PrintError(f"{tag} has the extents {where[tag[-1]]} and {extent}")

    def _s_AttrStmt(self, node: Any) -> None:
        if node.attr_key == "thread_extent":
            self._bind_thread(node.node)
        self.statement(node.body)

    def _bind_thread(self, axis: Any) -> None:
        tag, var = str(axis.thread_tag), axis.var
        if var in self.names:
            return
        letter = tag[-1]
        dim = "xyz".index(letter)
        which = "local" if tag.startswith("threadIdx.") else "group" if self.items else "global"
        name, function = f"{which}_{letter}", f"get_{which}_id"
        self.names[var] = name
        self.emit(f"const int {name} = (int){function}({dim});")
        if not self.items:
            self.emit(f"if ({name} >= {self.groups[letter]}) return;")

    # ---- memory

    def _s_AllocBuffer(self, node: Any) -> None:
        name, dtype = self.name(node.buffer), dtype_of(node.buffer)
        count = prod(int(extent) for extent in node.buffer.shape)
        if str(node.buffer.scope()).startswith("shared"):
            self.locals.append(f"    __local {c_type(dtype)} {name}[{count}];")
            self.local_bytes += count * nbytes_of(dtype)
            return
        self.private.append((dtype, count))
        if name not in self.variable_index:
            self.scalars.add(name)
            self.emit(f"{c_type(dtype)} {', '.join(f'{name}{i}' for i in range(count))};")
        else:
            self.emit(f"{c_type(dtype)} {name}[{count}];")

    def _s_BufferStore(self, node: Any) -> None:
        index = node.indices[0]
        if kind_of(index) != "Ramp":
            super()._s_BufferStore(node)
            return
        _, lanes = vector_of(dtype_of(node.value))
        address = self.address(node.buffer, index.base)
        self.emit(f"vstore{lanes}({self.expr(node.value)}, 0, {address});")

    def _e_TensorLoad(self, node: Any, parent: int) -> str:
        index = node.indices[0]
        if kind_of(index) == "Ramp":
            _, lanes = vector_of(dtype_of(node))
            return f"vload{lanes}(0, {self.address(node.source, index.base)})"
        return self.element(node.source, index)

    _e_BufferLoad = _e_TensorLoad

    # ---- expressions

    def _e_IntImm(self, node: Any, parent: int) -> str:
        text = super()._e_IntImm(node, parent)
        return f"{int(node)}L" if dtype_of(node) == "int64" else text

    def _e_Broadcast(self, node: Any, parent: int) -> str:
        return f"({c_type(dtype_of(node))})({self.expr(node.value)})"

    def _e_Cast(self, node: Any, parent: int) -> str:
        target = dtype_of(node)
        if target in C_TYPES:
            return super()._e_Cast(node, parent)
        return f"convert_{c_type(target)}({self.expr(node.value)})"

    def _e_Min(self, node: Any, parent: int) -> str:
        return self._extreme("min", node)

    def _e_Max(self, node: Any, parent: int) -> str:
        return self._extreme("max", node)

    def _extreme(self, function: str, node: Any) -> str:
        # Built-in functions are overloaded: an int and a char that C would promote are no match.
        prefix = "ek_" if dtype_of(node) == "int32" else "f" if "float" in dtype_of(node) else ""
        return f"{prefix}{function}({self.expr(node.a)}, {self.expr(node.b)})"

    def _e_Call(self, node: Any, parent: int) -> str:
        if op_of(node) == "tirx.tvm_storage_sync":
            return "barrier(CLK_LOCAL_MEM_FENCE)"
        return super()._e_Call(node, parent)
