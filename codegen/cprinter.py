"""Lowered PrimFunc to readable C99.

A visitor over TVM's object model that needs nothing of TVM's own code generators: it dispatches on
the class name of each node and raises `PrintError` on one that it does not know. What it prints
is one function:

* parameters are const unless the caller lists them as written, `restrict` unless listed as aliased;
* an allocation that is only ever indexed by constants becomes scalar locals, a small one a local
  array, any other a slice of the `scratch` parameter, so that its size is in the memory plan;
* vector loads and calls to extern functions become the inline functions of
  `firmware/include/ek_kernel.h` and `ek_dsp.h`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from codegen import rounds
from codegen.tvm_nodes import kind as kind_of
from codegen.tvm_nodes import walk

#: Bytes up to which an allocation stays on the stack: accumulator tiles do, tile buffers do not.
STACK_BYTES = 64
#: The same where the accumulators of eight pixels and four channels are registers of their own.
CFU_STACK_BYTES = 128
SCRATCH_ALIGN = 8

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
    "bool": "bool",
}
BYTES = {
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "bool": 1,
    "float32": 4,
}

# C's operators with their precedence, by node class and by the builtin's name.
BINARY = {
    "Add": ("+", 12),
    "Sub": ("-", 12),
    "Mul": ("*", 13),
    "Div": ("/", 13),
    "Mod": ("%", 13),
    # By other numbers than powers of two only sums of loop variables are divided, never negative
    # ones, so that floor division is C's.
    "FloorDiv": ("/", 13),
    "FloorMod": ("%", 13),
    "LT": ("<", 10),
    "LE": ("<=", 10),
    "GT": (">", 10),
    "GE": (">=", 10),
    "EQ": ("==", 9),
    "NE": ("!=", 9),
    "And": ("&&", 5),
    "Or": ("||", 4),
    "BitwiseAnd": ("&", 8),
    "BitwiseOr": ("|", 6),
    "BitwiseXor": ("^", 7),
    "LeftShift": ("<<", 11),
    "RightShift": (">>", 11),
    "LShift": ("<<", 11),
    "RShift": (">>", 11),
}
BUILTINS = {
    "tirx.shift_left": ("<<", 11),
    "tirx.shift_right": (">>", 11),
    "tirx.bitwise_and": ("&", 8),
    "tirx.bitwise_or": ("|", 6),
    "tirx.bitwise_xor": ("^", 7),
}


class PrintError(Exception):
    """The lowered function has a construct that the printer does not know: a bug of ours."""


@dataclass(frozen=True)
class Printed:
    """C text of one function, the bytes of `scratch` that it wants, and its parts
    (`codegen.kernel.Written`)."""

    text: str
    scratch_bytes: int
    units: int = 0


def print_function(
    func: Any,
    name: str,
    *,
    written: set[str],
    aliased: frozenset[str] | set[str] = frozenset(),
    words: bool = False,
    parts: bool = False,
) -> Printed:
    """Print `func` as a C function called `name`.

    Args:
        func: a PrimFunc as `codegen.tvm_api.lower` returns it.
        written: names of the parameters that the function writes to.
        aliased: names of the parameters that may share memory (in-place kernels).
        words: vectors are aligned words, as local arrays are then too, and accumulators of the
            custom function unit are local.
        parts: leave the bounds of the outermost loop to the caller, where its rounds depend on
            nothing that others do (`codegen.rounds`).
    """
    return Printer(func, written, frozenset(aliased), words).function(name, parts)


class Printer:
    """Prints one function; dialects of C override what they spell differently."""

    types = C_TYPES
    #: What loops count with.
    counter = "int32_t"
    least = "INT32_MIN"

    def __init__(
        self,
        func: Any,
        written: set[str],
        aliased: frozenset[str] = frozenset(),
        words: bool = False,
    ) -> None:
        self.func = func
        self.stack_bytes = CFU_STACK_BYTES if words else STACK_BYTES
        self.align = " __attribute__((aligned(4)))" if words else ""
        self.load, self.store = ("ek_lda", "ek_sta") if words else ("ek_ld", "ek_st")
        self.written = written
        self.aliased = aliased
        self.names: dict[Any, str] = {}
        self.used: set[str] = {"scratch"}
        self.views: dict[Any, Any] = {}
        self.variable_index: set[str] = set()
        self.scalars: set[str] = set()
        self.scratch = 0
        self.lines: list[str] = []
        self.depth = 1
        self.shared: Any = None

    # ---- function

    def function(self, name: str, parts: bool = False) -> Printed:
        for param in self.func.params:
            self.name(param)
        self._scan(self.func.body)
        if parts:
            self.used |= {"begin", "end"}
            self.shared = rounds.independent(
                self.func.body, lambda buffer: self.root(buffer) in self.written
            )
        units = int(self.shared.extent) if self.shared is not None else 0
        self.statement(self.func.body)
        params = [self._parameter(p) for p in self.func.params]
        body = "\n".join(self.lines)
        # An input goes unread where every window lies in the padding.
        names = (self.name(p) for p in self.func.params)
        head = [f"    (void){n};" for n in names if not re.search(rf"\b{n}\b", body)]
        if self.scratch:
            params.append("void *restrict scratch")
        if units:
            params += ["uint32_t begin", "uint32_t end"]
        text = f"void {name}({', '.join(params)})\n{{\n" + "\n".join(head + self.lines) + "\n}\n"
        return Printed(text, self.scratch, units)

    def _parameter(self, param: Any) -> str:
        name = self.name(param)
        const = "" if name in self.written else "const "
        restrict = "" if name in self.aliased else "restrict "
        return f"{const}{C_TYPES[dtype_of(param)]} *{restrict}{name}"

    def _scan(self, root: Any) -> None:
        """Find the views of buffers, and the buffers whose index is not always a constant."""
        for node in walk(root):
            kind = kind_of(node)
            if kind == "DeclBuffer":
                self.views[node.buffer] = node.data
            elif kind == "Bind" and _is_buffer(node.var):
                self.views[node.var] = node.value
        for node in walk(root):
            kind = kind_of(node)
            if kind in ("BufferStore", "TensorLoad", "BufferLoad"):
                buffer = node.buffer if kind == "BufferStore" else node.source
                if not all(kind_of(i) == "IntImm" for i in node.indices):
                    self.variable_index.add(self.root(buffer))
            elif kind == "Call" and op_of(node) == "tirx.address_of":
                self.variable_index.add(self.root(node.args[0].source))

    def root(self, buffer: Any) -> str:
        """Name of the parameter or allocation that `buffer` is a view of."""
        while buffer in self.views:
            buffer = _view_source(self.views[buffer])
        return self.name(buffer)

    def name(self, var: Any) -> str:
        if var not in self.names:
            base = re.sub(r"\W", "_", var.name) or "v"
            name, i = base, 1
            while name in self.used:
                name, i = f"{base}_{i}", i + 1
            self.used.add(name)
            self.names[var] = name
        return self.names[var]

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    # ---- statements

    def statement(self, node: Any) -> None:
        handler = getattr(self, f"_s_{kind_of(node)}", None)
        if handler is None:
            raise PrintError(f"no C for the statement {kind_of(node)}")
        handler(node)

    def _block(self, head: str, body: Any) -> None:
        self.emit(head + " {")
        self.depth += 1
        self.statement(body)
        self.depth -= 1

    def _s_SeqStmt(self, node: Any) -> None:
        for child in node.seq:
            self.statement(child)

    def _s_For(self, node: Any) -> None:
        if self.shared is not None and node.same_as(self.shared):
            var = self.name(node.loop_var)
            head = f"for (int32_t {var} = (int32_t)begin; {var} < (int32_t)end; ++{var})"
            self._block(head, node.body)
            self.emit("}")
            return
        var, low = self.name(node.loop_var), self.expr(node.min)
        if kind_of(node.min) == kind_of(node.extent) == "IntImm":
            high = str(int(node.min) + int(node.extent))
        else:
            high = f"{low} + {self.expr(node.extent, 12)}"
        self._block(f"for ({self.counter} {var} = {low}; {var} < {high}; ++{var})", node.body)
        self.emit("}")

    def _s_IfThenElse(self, node: Any) -> None:
        self._block(f"if ({self.expr(node.condition)})", node.then_case)
        if node.else_case is not None:
            self._block("} else", node.else_case)
        self.emit("}")

    def _s_AllocBuffer(self, node: Any) -> None:
        name, dtype = self.name(node.buffer), dtype_of(node.buffer)
        count = 1
        for extent in node.buffer.shape:
            count *= int(extent)
        nbytes = count * BYTES[dtype]
        if name not in self.variable_index and nbytes <= self.stack_bytes:
            self.scalars.add(name)
            self.emit(f"{C_TYPES[dtype]} {', '.join(f'{name}{i}' for i in range(count))};")
        elif nbytes <= self.stack_bytes:
            align = self.align if BYTES[dtype] < 4 else ""
            self.emit(f"{C_TYPES[dtype]} {name}[{count}]{align};")
        else:
            at = f"(uint8_t *)scratch + {self.scratch}" if self.scratch else "scratch"
            at = f"({at})" if self.scratch else at
            cast = f"({C_TYPES[dtype]} *)(void *)" if self.scratch else f"({C_TYPES[dtype]} *)"
            self.emit(f"{C_TYPES[dtype]} *const {name} = {cast}{at};")
            self.scratch += -(-nbytes // SCRATCH_ALIGN) * SCRATCH_ALIGN

    def _s_DeclBuffer(self, node: Any) -> None:
        """A view: it prints as what it views."""

    def _s_Bind(self, node: Any) -> None:
        if not _is_buffer(node.var):
            ctype = self.types[dtype_of(node.var)]
            self.emit(f"const {ctype} {self.name(node.var)} = {self.expr(node.value)};")

    def _s_BufferStore(self, node: Any) -> None:
        index = node.indices[0]
        if kind_of(index) == "Ramp":
            base, lanes = vector_of(dtype_of(node.value))
            address = self.address(node.buffer, index.base)
            self.emit(f"{self.store}_{base}x{lanes}({address}, {self.expr(node.value)});")
        else:
            self.emit(f"{self.element(node.buffer, index)} = {self.expr(node.value)};")

    def _s_Evaluate(self, node: Any) -> None:
        if kind_of(node.value) != "IntImm":
            self.emit(f"{self.expr(node.value)};")

    def _s_AttrStmt(self, node: Any) -> None:
        self.statement(node.body)

    # ---- expressions

    def expr(self, node: Any, parent: int = 0) -> str:
        kind = kind_of(node)
        if kind == "And" and self._never(node):
            return "false"
        if kind in ("FloorDiv", "FloorMod") and (shift := _power_of_two(node.b)) is not None:
            # Floor semantics for negative operands too: TVM may split a sum that is never negative
            # into parts that are.
            op, level = (">>", 11) if kind == "FloorDiv" else ("&", 8)
            right = shift if kind == "FloorDiv" else (1 << shift) - 1
            shifted = f"{self.expr(node.a, 14)} {op} {right}"  # sums want parentheses here
            return f"({shifted})" if level < parent else shifted
        if kind in BINARY:
            return self._binary(*BINARY[kind], node.a, node.b, parent)
        handler = getattr(self, f"_e_{kind}", None)
        if handler is None:
            raise PrintError(f"no C for the expression {kind}")
        text: str = handler(node, parent)
        return text

    def _never(self, conjunction: Any) -> bool:
        """Whether two conjuncts bound one expression to an empty range.

        Windows that lie in the padding whole give ``1 <= i && i < 1``, which compilers warn about.
        """
        lows: dict[str, int] = {}
        highs: dict[str, int] = {}

        def bound(text: str, low: int | None, high: int | None) -> None:
            if low is not None:
                lows[text] = max(low, lows.get(text, low))
            if high is not None:
                highs[text] = min(high, highs.get(text, high))

        waiting = [conjunction]
        while waiting:
            node = waiting.pop()
            kind = kind_of(node)
            if kind == "And":
                waiting += [node.a, node.b]
            elif kind == "LE" and kind_of(node.a) == "IntImm":
                bound(self.expr(node.b), int(node.a), None)
            elif kind == "LT" and kind_of(node.b) == "IntImm":
                bound(self.expr(node.a), None, int(node.b))
            elif kind == "EQ" and kind_of(node.b) == "IntImm":
                bound(self.expr(node.a), int(node.b), int(node.b) + 1)
        return any(low >= highs.get(text, low + 1) for text, low in lows.items())

    def _binary(self, op: str, level: int, a: Any, b: Any, parent: int) -> str:
        if op == "+" and kind_of(b) == "IntImm" and int(b) < 0:
            op, right = "-", str(-int(b))
        else:
            right = self.expr(b, level + 1)
        text = f"{self.expr(a, level)} {op} {right}"
        return f"({text})" if level < parent else text

    def _e_IntImm(self, node: Any, parent: int) -> str:
        value = int(node)
        if dtype_of(node) == "bool":
            return "true" if value else "false"
        if value == -(2**31):
            return self.least
        return str(value) if value >= 0 or parent == 0 else f"({value})"

    def _e_FloatImm(self, node: Any, parent: int) -> str:
        text = f"{float(node.value).hex()}f"  # exactly this number
        return f"({text})" if text.startswith("-") and parent else text

    def _e_Var(self, node: Any, parent: int) -> str:
        return self.name(node)

    def _e_Min(self, node: Any, parent: int) -> str:
        return f"ek_min({self.expr(node.a)}, {self.expr(node.b)})"

    def _e_Max(self, node: Any, parent: int) -> str:
        return f"ek_max({self.expr(node.a)}, {self.expr(node.b)})"

    def _e_Not(self, node: Any, parent: int) -> str:
        return f"!{self.expr(node.a, 15)}"

    def _e_Select(self, node: Any, parent: int) -> str:
        return self._ternary(node.condition, node.true_value, node.false_value)

    def _ternary(self, condition: Any, yes: Any, no: Any) -> str:
        return f"({self.expr(condition, 3)} ? {self.expr(yes, 3)} : {self.expr(no, 3)})"

    def _e_Broadcast(self, node: Any, parent: int) -> str:
        base, lanes = vector_of(dtype_of(node))
        return f"ek_dup_{base}x{lanes}({self.expr(node.value)})"

    def _e_Cast(self, node: Any, parent: int) -> str:
        source, target = dtype_of(node.value), dtype_of(node)
        if target == "int32" and source in ("int8", "uint8", "int16"):
            return self.expr(node.value, parent)  # C promotes
        return f"({self.types[target]}){self.expr(node.value, 15)}"

    def _e_TensorLoad(self, node: Any, parent: int) -> str:
        index = node.indices[0]
        if kind_of(index) == "Ramp":
            base, lanes = vector_of(dtype_of(node))
            return f"{self.load}_{base}x{lanes}({self.address(node.source, index.base)})"
        return self.element(node.source, index)

    _e_BufferLoad = _e_TensorLoad

    def _e_Call(self, node: Any, parent: int) -> str:
        op = op_of(node)
        if op in BUILTINS:
            return self._binary(*BUILTINS[op], node.args[0], node.args[1], parent)
        if op in ("tirx.call_extern", "tirx.call_pure_extern"):
            name, args = node.args[0].value, list(node.args)[1:]
            return f"{name}({', '.join(self.expr(a) for a in args)})"
        if op == "tirx.address_of":
            return self.address(node.args[0].source, node.args[0].indices[0])
        if op == "tirx.buffer_data":  # where the whole buffer begins, whatever part a view is of
            return self.root(node.args[0])
        if op in ("tirx.if_then_else", "prim.if_then_else"):
            return self._ternary(*node.args)
        if op == "tirx.likely":
            return self.expr(node.args[0], parent)
        raise PrintError(f"no C for the builtin {op}")

    def element(self, buffer: Any, index: Any) -> str:
        name = self.root(buffer)
        return f"{name}{int(index)}" if name in self.scalars else f"{name}[{self.expr(index)}]"

    def address(self, buffer: Any, index: Any) -> str:
        name = self.root(buffer)
        zero = kind_of(index) == "IntImm" and int(index) == 0
        return name if zero else f"{name} + {self.expr(index, 12)}"


# ---- TVM's object model


def dtype_of(node: Any) -> str:
    return str(node.ty.dtype)


def op_of(call: Any) -> str:
    return str(getattr(call.op, "name", ""))


def _power_of_two(node: Any) -> int | None:
    """log2 of an integer literal, where it has one."""
    value = int(node) if kind_of(node) == "IntImm" else 0
    return value.bit_length() - 1 if value > 0 and value & (value - 1) == 0 else None


def vector_of(dtype: str) -> tuple[str, int]:
    match = re.fullmatch(r"([a-z]+\d+)x(\d+)", dtype)
    if match is None:
        raise PrintError(f"{dtype} is not a vector type")
    return match[1], int(match[2])


def _is_buffer(var: Any) -> bool:
    from tvm import tirx

    return kind_of(var) == "Var" and bool(tirx.is_buffer_var(var))


def _view_source(expr: Any) -> Any:
    """The buffer below the casts and calls of a view's data expression."""
    while kind_of(expr) in ("Call", "Cast"):
        expr = expr.args[0] if kind_of(expr) == "Call" else expr.value
    return expr.source if kind_of(expr) in ("TensorLoad", "BufferLoad") else expr
