"""``NAME.hpp`` and ``NAME.rs``: a program's ahead-of-time entry points for C++ and Rust.

Both call the functions of ``NAME.h``; sizes and element types are part of their types, so that a
buffer of another size does not compile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from codegen.kernel import BYTES, C_TYPES
from codegen.program import Program, Tensor
from codegen.sources import banner, c_name

RUST_TYPES = {
    "bool": "u8", "int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "int64": "i64",
    "float32": "f32",
}  # fmt: skip
#: What a struct cannot be called: words of C++ that C does not have, and its own members.
_CPP_WORDS = """
    and and_eq asm bitand bitor catch class compl const_cast constexpr decltype delete dynamic_cast
    explicit export false friend mutable namespace new noexcept not not_eq nullptr operator or or_eq
    private protected public reinterpret_cast static_assert static_cast template this thread_local
    throw true try typeid typename using virtual wchar_t xor xor_eq
    arena_bytes invoke run step reset
"""
#: (name in front of the properties of a tensor, tensor, its function in C, its index there).
Port = tuple[str, Tensor, str, int]


def bindings(program: Program) -> dict[str, str]:
    """The two files by name."""
    name = c_name(program.name)
    return {f"{name}.hpp": _cpp(program), f"{name}.rs": _rust(program)}


def _ports(program: Program) -> Iterator[Port]:
    kept = tuple(state.tensor for state in program.states)
    for word, tensors in (("input", program.inputs), ("output", program.outputs), ("state", kept)):
        for i, tensor in enumerate(tensors):
            alone = len(tensors) == 1 and word != "state"
            yield (word if alone else f"{word}{i}"), tensor, word, i


def _elements(tensor: Tensor) -> int:
    return tensor.nbytes // BYTES[tensor.dtype]


def _what(tensor: Tensor, word: str) -> str:
    shape = "x".join(map(str, tensor.shape))
    text = f"'{tensor.name}', {shape} {tensor.dtype}".replace("*/", "")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if word == "state" else f"{text}: real = scale * (integer - zero point)"


def _float(value: float) -> str:
    """The shortest decimal that is this number in float32."""
    text = str(np.float32(value))
    return text if any(c in text for c in ".en") else f"{text}.0"


# ---- C++


def _cpp(program: Program) -> str:
    name = c_name(program.name)
    guard = f"EK_AOT_{name.upper()}_HPP"
    ports = list(_ports(program))
    lines = [
        banner(program, "Ahead-of-time entry points for C++")
        + f'#ifndef {guard}\n#define {guard}\n\n#include "edgekit.hpp"\n#include "{name}.h"\n',
        "namespace edgekit {\nnamespace models {\n",
        "/* All of it is static, as the arena is: a program has one such model. reset() comes once",
        " * before the first inference. */",
        f"struct {_cpp_name(name, ports)} {{",
        "    enum : uint32_t {",
        f"        arena_bytes = {program.arena_bytes}u,",
        *(f"        {port}_size = {_elements(t)}u," for port, t, _, _ in ports),
        "    };\n",
    ]
    for port, tensor, word, i in ports:
        ctype, const = C_TYPES[tensor.dtype], "const " if word == "output" else ""
        lines.append(f"    /* {_what(tensor, word)}. */")
        if word != "state":
            of = f"    static constexpr {{}} {port}_{{}}() {{{{ return {{}}; }}}}"
            lines.append(of.format("float", "scale", f"{_float(tensor.scale)}f"))
            lines.append(of.format("int32_t", "zero_point", tensor.zero_point))
        lines += [
            f"    static Span<{const}{ctype}> {port}()\n    {{",
            "        uint32_t nbytes = 0;",
            f"        {const}void *const at = {name}_{word}({i}u, &nbytes);",
            f"        return Span<{const}{ctype}>(static_cast<{const}{ctype} *>(at), {port}_size);",
            "    }\n",
        ]
    sides = [(port, t, word) for port, t, word, _ in ports if word != "state"]
    parameters = ", ".join(
        f"{'const ' if word == 'input' else ''}{C_TYPES[t.dtype]} (&{port}_data)[{port}_size]"
        for port, t, word in sides
    )
    arguments = ", ".join(f"{port}_data" for port, _, _ in sides)
    lines += [
        "    /* One inference; copies inputs into the arena and outputs out of it. */",
        f"    static void invoke({parameters})",
        f"    {{\n        {name}_invoke({arguments});\n    }}",
        "    /* Without copies: input(), run() or steps, output(). */",
        f"    static void run() {{ {name}_run(); }}",
        f"    static ek_status_t step(ek_run_t &run) {{ return {name}_step(&run); }}",
        f"    static void reset() {{ {name}_reset(); }}",
        "};\n",
        "} // namespace models\n} // namespace edgekit\n",
        "#endif\n",
    ]
    return "\n".join(lines)


def _cpp_name(name: str, ports: Sequence[Port]) -> str:
    members = {port for port, _, _, _ in ports}
    return f"{name}_" if name in members or name in _CPP_WORDS.split() else name


# ---- Rust


def _rust(program: Program) -> str:
    name, ports = c_name(program.name), list(_ports(program))
    sides = [(port, t, word) for port, t, word, _ in ports if word != "state"]
    return "\n".join(
        [
            _rust_head(program),
            *_rust_constants(program, ports),
            *_rust_externs(name, sides),
            *_rust_model(name, ports, sides),
        ]
    )


def _rust_head(program: Program) -> str:
    name = c_name(program.name)
    return f"""\
//! Model '{name}' for {program.target}, compiled ahead of time. Generated.
//!
//! A module beside `edgekit.rs`; link it with `{name}.c`, `kernels.c` and what these call.
#![allow(dead_code)]

use super::edgekit::{{step_of, Error, Run, Step}};
use core::marker::PhantomData;
"""


def _rust_constants(program: Program, ports: Sequence[Port]) -> Iterator[str]:
    yield f"pub const ARENA_BYTES: usize = {program.arena_bytes};"
    for port, tensor, word, _ in ports:
        upper = port.upper()
        shape = ", ".join(map(str, tensor.shape))
        yield f"\n/// {_what(tensor, word)}."
        yield f"pub type {port.capitalize()} = [{RUST_TYPES[tensor.dtype]}; {_elements(tensor)}];"
        yield f"pub const {upper}_SHAPE: [usize; {len(tensor.shape)}] = [{shape}];"
        if word != "state":
            yield f"pub const {upper}_SCALE: f32 = {_float(tensor.scale)};"
            yield f"pub const {upper}_ZERO_POINT: i32 = {tensor.zero_point};"


def _rust_externs(name: str, sides: Sequence[tuple[str, Tensor, str]]) -> Iterator[str]:
    pointers = ", ".join(
        f"{port}: *{'const' if word == 'input' else 'mut'} {RUST_TYPES[t.dtype]}"
        for port, t, word in sides
    )
    yield f"""
extern "C" {{
    fn {name}_invoke({pointers});
    fn {name}_run();
    fn {name}_step(run: *mut Run) -> u32;
    fn {name}_reset();
    fn {name}_input(index: u32, nbytes: *mut u32) -> *mut u8;
    fn {name}_output(index: u32, nbytes: *mut u32) -> *const u8;
    fn {name}_state(index: u32, nbytes: *mut u32) -> *mut u8;
}}
"""


def _rust_model(
    name: str, ports: Sequence[Port], sides: Sequence[tuple[str, Tensor, str]]
) -> Iterator[str]:
    parameters = "".join(
        f", {port}: &{'' if word == 'input' else 'mut '}{port.capitalize()}"
        for port, _, word in sides
    )
    arguments = ", ".join(
        f"{port}.as_{'' if word == 'input' else 'mut_'}ptr()" for port, _, word in sides
    )
    yield f"""\
/// The model with its arena. Both are static; this is the right to use them.
pub struct Model {{
    _alone: PhantomData<*mut u8>, // stays on the thread that made it
}}

impl Model {{
    /// The model, its states at their initial content.
    ///
    /// # Safety
    /// There is at most one at a time, and nobody else calls the C functions of this model. Where
    /// models share an arena (`edgekit join`), no reference into it is kept while another one is
    /// used, and all of them stay on one thread.
    pub unsafe fn new() -> Model {{
        {name}_reset();
        Model {{
            _alone: PhantomData,
        }}
    }}

    /// One inference: copies inputs into the arena and outputs out of it.
    pub fn invoke(&mut self{parameters}) {{
        unsafe {{ {name}_invoke({arguments}) }}
    }}

    /// One inference without copies, between `input_mut` and `output`.
    pub fn run(&mut self) {{
        unsafe {{ {name}_run() }}
    }}

    /// One kernel of an inference; `run` is `Run::default()` before the first.
    pub fn step(&mut self, run: &mut Run) -> Result<Step, Error> {{
        step_of(unsafe {{ {name}_step(run) }})
    }}

    /// Give the states their initial content.
    pub fn reset(&mut self) {{
        unsafe {{ {name}_reset() }}
    }}"""
    for port, _, word, i in ports:
        kind, read_only = port.capitalize(), word == "output"
        method = port if read_only else f"{port}_mut"
        yield f"""
    /// Where it lies in the arena{"" if word == "state" else ", until another inference"}.
    pub fn {method}(&{"" if read_only else "mut "}self) -> &{"" if read_only else "mut "}{kind} {{
        let mut nbytes = 0;
        unsafe {{ &{"" if read_only else "mut "}*({name}_{word}({i}, &mut nbytes) as *{
            "const" if read_only else "mut"
        } {kind}) }}
    }}"""
    yield "}\n"
