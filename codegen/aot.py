"""A Program as plain C: the same kernels called one after the other, no interpreter, no bundle."""

from __future__ import annotations

import numpy as np

from codegen.bindings import bindings
from codegen.kernel import C_TYPES
from codegen.program import Argument, Call, Program, StateTensor, Tensor
from codegen.sources import CPLUSPLUS_BEGIN, CPLUSPLUS_END, banner, c_name

VALUES_PER_LINE = {
    "bool": 24, "int8": 24, "uint8": 24, "int16": 16, "int32": 8, "int64": 4, "float32": 6,
}  # fmt: skip


def aot_sources(program: Program, model_hash: bytes, shared_arena: str = "") -> dict[str, str]:
    """``NAME.h`` and ``NAME.c``, and for C++ and Rust ``NAME.hpp`` and ``NAME.rs``.

    Args:
        model_hash: the bundle's, for the handshake with a host.
        shared_arena: the header that declares ``ek_arena``, the arena of several programs; "" for
            an arena of the program's own.
    """
    name = c_name(program.name)
    return {
        f"{name}.h": _header(program, bool(shared_arena)),
        f"{name}.c": _source(program, model_hash, shared_arena),
        **bindings(program),
    }


def _signature(program: Program) -> str:
    name = c_name(program.name)
    inputs = [
        f"const {C_TYPES[t.dtype]} *{_argument('in', i, program.inputs)}"
        for i, t in enumerate(program.inputs)
    ]
    outputs = [
        f"{C_TYPES[t.dtype]} *{_argument('out', i, program.outputs)}"
        for i, t in enumerate(program.outputs)
    ]
    return f"void {name}_invoke({', '.join(inputs + outputs)})"


def _argument(word: str, index: int, tensors: tuple[Tensor, ...]) -> str:
    return word if len(tensors) == 1 else f"{word}{index}"


def _header(program: Program, shared: bool) -> str:
    name = c_name(program.name)
    guard = f"EK_AOT_{name.upper()}_H"
    lines = [
        banner(program, "Ahead-of-time entry points"),
        f'#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n#include "ek_status.h"\n',
        CPLUSPLUS_BEGIN,
        f"#define {name.upper()}_ARENA_BYTES {program.arena_bytes}u",
    ]
    if shared:
        lines.append(
            "/* They lie in ek_arena: inputs and outputs are there until another model runs, an\n"
            " * inference is over before another model's begins, and states stay. */"
        )
    for word, tensors in (("INPUT", program.inputs), ("OUTPUT", program.outputs)):
        for i, tensor in enumerate(tensors):
            prefix = f"{name.upper()}_{word}{'' if len(tensors) == 1 else i}"
            shape = "x".join(str(d) for d in tensor.shape)
            lines += [
                f"\n/* '{tensor.name}', {shape}: real = scale * ({tensor.dtype} - zero point). */",
                f"#define {prefix}_BYTES {tensor.nbytes}u",
                f"#define {prefix}_SCALE {tensor.scale!r}f",
                f"#define {prefix}_ZERO_POINT ({tensor.zero_point})",
            ]
    for i, state in enumerate(program.states):
        tensor, prefix = state.tensor, f"{name.upper()}_STATE{i}"
        shape = "x".join(str(d) for d in tensor.shape)
        lines += [
            f"\n/* State {i}, '{tensor.name}', {shape} {tensor.dtype}. */",
            f"#define {prefix}_BYTES {tensor.nbytes}u",
        ]
    lines += _plain_constants(name, program)
    lines += [
        "\n/* One inference: copies inputs into the static arena, runs, copies outputs out. */",
        f"{_signature(program)};\n",
        "/* The same without copies: fill the inputs in place, run, read the outputs. */",
        f"void *{name}_input(uint32_t index, uint32_t *nbytes);",
        f"const void *{name}_output(uint32_t index, uint32_t *nbytes);",
        f"void {name}_run(void);",
        f"/* One kernel of {name}_run per call: EK_MORE while others are left, EK_OK with the",
        " * last, EK_STATE where there is no such step. `run` is the caller's, all zero before the",
        " * first; until the last the arena belongs to this inference alone. */",
        f"ek_status_t {name}_step(ek_run_t *run);",
        "/* Give the states their initial content; call it once before the first inference. */",
        f"void {name}_reset(void);",
        "/* Where a state lies, to look at it or to carry it over; null where there is none. */",
        f"void *{name}_state(uint32_t index, uint32_t *nbytes);",
        f"extern const uint8_t {name}_hash[8];",
        CPLUSPLUS_END,
        "#endif\n",
    ]
    return "\n".join(lines)


def _plain_constants(name: str, program: Program) -> list[str]:
    """The macros once more as names that a debugger and generators of bindings see."""
    integers, floats = [f"    {name}_arena_bytes = {name.upper()}_ARENA_BYTES,"], []
    for word, tensors in (("input", program.inputs), ("output", program.outputs)):
        for i, _ in enumerate(tensors):
            lower = f"{name}_{word}{'' if len(tensors) == 1 else i}"
            for what in ("bytes", "zero_point"):
                integers.append(f"    {lower}_{what} = {lower.upper()}_{what.upper()},")
            floats.append(f"static const float {lower}_scale = {lower.upper()}_SCALE;")
    for i, _ in enumerate(program.states):
        lower = f"{name}_state{i}_bytes"
        integers.append(f"    {lower} = {lower.upper()},")
    return ["\n/* The same as constants, for debuggers and bindings. */", "enum {", *integers, "};",
            *floats]  # fmt: skip


def _source(program: Program, model_hash: bytes, shared_arena: str) -> str:
    name = c_name(program.name)
    arena = f"static uint8_t arena[{max(program.arena_bytes, 1)}] __attribute__((aligned(16)));\n"
    if shared_arena:
        arena = f'#include "{shared_arena}"\n\n#define arena ek_arena\n'
    parts = [
        banner(program, "Ahead-of-time entry points"),
        f'#include "{name}.h"\n\n#include <stddef.h>\n#include <string.h>\n\n'
        f'#include "ek_profile.h"\n#include "ek_yield.h"\n#include "kernels.h"\n',
        f"const uint8_t {name}_hash[8] = {{{', '.join(f'0x{b:02x}' for b in model_hash)}}};\n",
        _constants(program),
        arena,
    ]
    calls = _calls(program)
    parts += [_run(name, calls), _step(name, calls)]
    parts.append(_reset(name, program))
    parts.append(_access(name, "void *", "input", program.inputs))
    parts.append(_access(name, "const void *", "output", program.outputs))
    kept = tuple(state.tensor for state in program.states)
    parts.append(_access(name, "void *", "state", kept))
    body = [
        f"    memcpy(arena + {t.offset}, {_argument('in', i, program.inputs)}, {t.nbytes});"
        for i, t in enumerate(program.inputs)
    ]
    body.append(f"    {name}_run();")
    body += [
        f"    memcpy({_argument('out', i, program.outputs)}, arena + {t.offset}, {t.nbytes});"
        for i, t in enumerate(program.outputs)
    ]
    parts.append(f"{_signature(program)}\n{{\n" + "\n".join(body) + "\n}\n")
    return "\n".join(parts)


def _calls(program: Program) -> list[tuple[str, str]]:
    """Every call: a comment with its layer's name, and the statement."""
    seen: dict[int, str] = {}
    texts = []
    for i, call in enumerate(program.calls):
        pointers = ", ".join(_pointer(i, call, j, seen) for j in range(len(call.arguments)))
        if call.kernel.units:
            pointers += f", 0u, {call.kernel.units}u"
        comment = f"/* {call.layer.replace('*/', '')} */"
        texts.append((comment, f"{call.kernel.name}({pointers});"))
    return texts


def _run(name: str, calls: list[tuple[str, str]]) -> str:
    lines = [f"void {name}_run(void)\n{{", "EK_EDGE(0u);"]
    for i, (comment, statement) in enumerate(calls, 1):
        lines += [comment, statement, f"EK_EDGE({i}u);"]
        if i < len(calls):
            lines.append(f"EK_YIELD({i}u);")
    return "\n    ".join(lines) + "\n}\n"


def _step(name: str, calls: list[tuple[str, str]]) -> str:
    lines = [f"ek_status_t {name}_step(ek_run_t *run)\n{{"]
    if not calls:
        lines.append("    return run->next == 0u ? EK_OK : EK_STATE;")
    else:
        lines.append("    switch (run->next) {")
        for i, (comment, statement) in enumerate(calls):
            lines.append(f"    case {i}u: {comment}\n        {statement}\n        break;")
        lines += [
            "    default:\n        return EK_STATE;\n    }",
            f"    run->next += 1u;\n    if (run->next < {len(calls)}u) {{",
            "        return EK_MORE;\n    }\n    run->next = 0u;\n    return EK_OK;",
        ]
    return "\n".join([*lines, "}\n"])


def _constants(program: Program) -> str:
    """One array per packed constant, in the order of use; equal ones once."""
    seen: dict[int, str] = {}
    arrays = []
    for i, call in enumerate(program.calls):
        for operand, argument in zip(call.kernel.spec.operands, call.arguments, strict=False):
            if operand.role != "constant" or argument.offset in seen:
                continue
            seen[argument.offset] = _constant_name(i, operand.name)
            raw = program.constants[argument.offset : argument.offset + argument.nbytes]
            data = np.frombuffer(raw, operand.dtype)
            arrays.append(_array(f"{call.layer}: {operand.name}", seen[argument.offset], data))
    for i, state in enumerate(program.states):
        if state.fill is None:
            arrays.append(_initial(i, state, program.constants))
    return "\n".join(arrays)


def _reset(name: str, program: Program) -> str:
    lines = []
    for i, state in enumerate(program.states):
        place = f"arena + {state.tensor.offset}"
        if state.fill is None:
            lines.append(f"    memcpy({place}, initial{i}, {state.tensor.nbytes}u);")
        else:
            lines.append(f"    memset({place}, {state.fill}, {state.tensor.nbytes}u);")
    body = "\n".join(lines)
    return f"void {name}_reset(void)\n{{\n{body}\n}}\n"


def _initial(i: int, state: StateTensor, constants: bytes) -> str:
    """What a state holds first, as an array."""
    raw = constants[state.initial : state.initial + state.tensor.nbytes]
    return _array(f"state '{state.tensor.name}'", f"initial{i}", np.frombuffer(raw, np.uint8))


def _array(what: str, name: str, data: np.ndarray) -> str:
    dtype = str(data.dtype)
    if dtype == "bool":
        data = data.astype(np.uint8)
    width = VALUES_PER_LINE[dtype]
    rows = [
        "    " + ", ".join(_literal(v) for v in data[k : k + width].tolist())
        for k in range(0, data.size, width)
    ]
    return (
        f"/* {what.replace('*/', '')} */\n"
        f"static const {C_TYPES[dtype]} {name}[{data.size}] "
        "__attribute__((aligned(8))) = {\n" + ",\n".join(rows) + "\n};\n"
    )


def _literal(value: int | float) -> str:
    if isinstance(value, float):
        return f"{value.hex()}f"  # exactly this number
    return "INT32_MIN" if value == -(2**31) else str(value)


def _constant_name(call: int, operand: str) -> str:
    return f"c{call}_{operand}"


def _pointer(i: int, call: Call, j: int, seen: dict[int, str]) -> str:
    argument: Argument = call.arguments[j]
    if argument.role == "constant":
        return seen.setdefault(
            argument.offset, _constant_name(i, call.kernel.spec.operands[j].name)
        )
    if argument.role == "scratch":
        return f"arena + {argument.offset}"
    const = "const " if argument.role == "input" else ""
    ctype = C_TYPES[call.kernel.spec.operands[j].dtype]
    return f"({const}{ctype} *)(void *)(arena + {argument.offset})"


def _access(name: str, ctype: str, word: str, tensors: tuple[Tensor, ...]) -> str:
    rows = "".join(
        f"    if (index == {i}u) {{\n        *nbytes = {t.nbytes}u;\n"
        f"        return arena + {t.offset};\n    }}\n"
        for i, t in enumerate(tensors)
    )
    rows = rows or "    (void)index;\n"
    return (
        f"{ctype}{name}_{word}(uint32_t index, uint32_t *nbytes)\n{{\n{rows}"
        "    *nbytes = 0u;\n    return NULL;\n}\n"
    )
