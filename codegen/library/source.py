"""``NAME.c`` of a library: its programs as functions of an arena, and its tables."""

from __future__ import annotations

from collections.abc import Sequence

from codegen.kernel import C_TYPES
from codegen.library.members import (
    Constants,
    GpuPart,
    Member,
    arena_end,
    context_bytes,
    gpu_member,
)
from codegen.program import Argument, Call, Program, Tensor
from codegen.sources import c_name

#: Multiply-accumulates, or bytes where there are none, below which waking threads takes longer
#: than the kernel.
WORTH_SHARING = 16384


def library_source(members: Sequence[Member], constants: Constants) -> str:
    """The C text; `constants` gets what the programs read."""
    first = members[0].program
    name = c_name(first.name)
    targets = ", ".join(m.program.target for m in members)
    gpu = gpu_member(members)
    if gpu is not None:
        _, member = gpu
        assert member.gpu is not None
        constants.place_bundle(member.gpu, member.program.constants, _pieces(member.program))
    return "\n".join(
        [
            f"/* Library of model '{name}' for {targets}. Generated. */",
            f'#include "{name}.h"\n\n#include <string.h>\n\n'
            f'#include "{"ek_library_gpu.h" if gpu else "ek_library.h"}"\n'
            '#include "ek_share.h"\n#include "kernels.h"\n',
            'extern const uint8_t ek_constants[] __attribute__((visibility("hidden")));\n',
            *(_Programs(i, m, constants).text() for i, m in enumerate(members)),
            _tables(members),
            *([_gpu_table(members, *gpu)] if gpu else []),
            _functions(name, gpu is not None),
        ]
    )


def _pieces(program: Program) -> list[tuple[int, int]]:
    """Offset and bytes of every piece of the constants that the program reads."""
    read = [
        (a.offset, a.nbytes) for c in program.calls for a in c.arguments if a.role == "constant"
    ]
    states = [(s.initial, s.tensor.nbytes) for s in program.states if s.fill is None]
    return read + states


class _Programs:
    """The functions of program `index`."""

    def __init__(self, index: int, member: Member, constants: Constants) -> None:
        self.index, self.program, self.hash = index, member.program, member.hash
        self.by_layer = member.gpu is not None
        self.constants = constants

    def text(self) -> str:
        parts: list[str] = []
        layers: list[str] = []
        for j, call in enumerate(self.program.calls):
            comment = f"/* {call.layer.replace('*/', '')} */"
            if call.kernel.units and self.program.threads > 1 and _worth(call):
                name = f"part{self.index}_{j}"
                parts.append(self._part(name, call))
                units = call.kernel.units
                what = f"ek_share(threads, {self.program.threads}u, {name}, arena, {units}u);"
            else:
                what = self._whole(call)
            layers.append(f"{comment}\n    {what}")
        return "\n".join(
            [
                f"/* ---- {self.program.target} */\n",
                *parts,
                self._run_by_layer(layers) if self.by_layer else self._run(layers),
                self._reset(),
                _offsets(f"inputs{self.index}", self.program.inputs),
                _offsets(f"outputs{self.index}", self.program.outputs),
                f"static const uint8_t hash{self.index}[8] = "
                f"{{{', '.join(f'0x{b:02x}' for b in self.hash)}}};\n",
            ]
        )

    def _run(self, layers: Sequence[str]) -> str:
        body = "".join(f"    {layer}\n" for layer in layers)
        return (
            f"static void run{self.index}(uint8_t *arena, const ek_parallel_t *threads)\n{{\n"
            f"    (void)arena;\n    (void)threads;\n{body}}}\n"
        )

    def _run_by_layer(self, layers: Sequence[str]) -> str:
        """The same as a function that runs one layer, which GPUs' CPU asks for."""
        cases = "".join(f"    case {i}u: {text}\n        break;\n" for i, text in enumerate(layers))
        parameters = "uint8_t *arena, const ek_parallel_t *threads"
        return (
            f"static void layer{self.index}({parameters}, uint32_t index)\n{{\n"
            f"    (void)arena;\n    (void)threads;\n    switch (index) {{\n{cases}"
            "    default:\n        break;\n    }\n}\n\n"
            f"static void run{self.index}({parameters})\n{{\n"
            f"    for (uint32_t i = 0; i < {len(layers)}u; ++i) {{\n"
            f"        layer{self.index}(arena, threads, i);\n    }}\n}}\n"
        )

    def _whole(self, call: Call) -> str:
        arguments = [self._pointer(call, j) for j in range(len(call.arguments))]
        if call.kernel.units:
            arguments += ["0u", f"{call.kernel.units}u"]
        return f"{call.kernel.name}({', '.join(arguments)});"

    def _part(self, name: str, call: Call) -> str:
        arguments, body = [], ""
        for j, argument in enumerate(call.arguments):
            text = self._pointer(call, j)
            if argument.role == "scratch":
                text += f" + worker * {argument.nbytes // self.program.threads}u"
            arguments.append(text)
        if not any(a.role == "scratch" for a in call.arguments):
            body = "    (void)worker;\n"
        return (
            f"static void {name}(uint8_t *arena, uint32_t worker, uint32_t begin, uint32_t end)\n"
            f"{{\n{body}    {call.kernel.name}({', '.join([*arguments, 'begin', 'end'])});\n}}\n"
        )

    def _pointer(self, call: Call, j: int) -> str:
        argument: Argument = call.arguments[j]
        if argument.role == "scratch":
            return f"arena + {argument.offset}"
        ctype = C_TYPES[call.kernel.spec.operands[j].dtype]
        if argument.role == "constant":
            return f"(const {ctype} *)(const void *){self._bytes(argument.offset, argument.nbytes)}"
        const = "const " if argument.role == "input" else ""
        return f"({const}{ctype} *)(void *)(arena + {argument.offset})"

    def _bytes(self, offset: int, nbytes: int) -> str:
        placed = self.constants.place(self.program.constants[offset : offset + nbytes])
        return f"(ek_constants + {placed})"

    def _reset(self) -> str:
        lines = [f"static void reset{self.index}(uint8_t *arena)\n{{", "    (void)arena;"]
        for state in self.program.states:
            place, nbytes = f"arena + {state.tensor.offset}", state.tensor.nbytes
            if state.fill is None:
                source = self._bytes(state.initial, nbytes)
                lines.append(f"    memcpy({place}, {source}, {nbytes}u);")
            else:
                lines.append(f"    memset({place}, {state.fill}, {nbytes}u);")
        return "\n".join([*lines, "}\n"])


def _worth(call: Call) -> bool:
    return max(call.macs, sum(a.nbytes for a in call.arguments)) >= WORTH_SHARING


def _offsets(name: str, tensors: Sequence[Tensor]) -> str:
    return f"static const uint32_t {name}[] = {{{', '.join(f'{t.offset}u' for t in tensors)}}};\n"


def _tables(members: Sequence[Member]) -> str:
    program = members[0].program
    rows = ",\n".join(
        f'    {{"{m.program.target}", UINT64_C({m.hwcaps:#x}), hash{i}, {m.program.threads}u, '
        f"inputs{i}, outputs{i}, run{i}, reset{i}}}"
        for i, m in enumerate(members)
    )
    return (
        f"static const ek_program_t programs[] = {{\n{rows}}};\n\n"
        + _tensors("inputs", program.inputs)
        + _tensors("outputs", program.outputs)
        + f"static const ek_library_t library = {{programs, {len(members)}u, inputs, "
        f"{len(program.inputs)}u, outputs, {len(program.outputs)}u, {context_bytes(members)}u}};\n"
    )


def _gpu_table(members: Sequence[Member], index: int, member: Member) -> str:
    """What `ek_library_gpu_t` asks of the program that was compiled for GPUs."""
    part = member.gpu
    assert isinstance(part, GpuPart)
    calls = member.program.calls
    layers = [f"    {{{_string(c.layer)}, {_string(c.op)}}}" for c in calls] or ["    {NULL, NULL}"]
    return (
        "static const char *const layers[][2] = {\n" + ",\n".join(layers) + "};\n\n"
        f"static const ek_library_gpu_t gpu = {{&library, &programs[{index}], ek_constants, "
        f"{len(part.bundle)}u, layer{index}, layers, {len(calls)}u, {arena_end(members)}u}};\n"
    )


def _tensors(name: str, tensors: Sequence[Tensor]) -> str:
    rows = []
    for t in tensors:
        shape = ", ".join(f"{d}u" for d in t.shape)
        rows.append(
            f"    {{{_string(t.name)}, {_string(t.dtype)}, {_string(t.layout)}, {t.scale!r}f, "
            f"{t.zero_point}, {t.nbytes}u, {len(t.shape)}u, {{{shape}}}}}"
        )
    return f"static const ek_tensor_t {name}[] = {{\n" + ",\n".join(rows) + "};\n\n"


def _string(text: str) -> str:
    """A C string of the text's UTF-8; octal escapes end after three digits."""
    plain = "".join(
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}"
        for b in text.encode("utf-8", "replace")
    )
    return f'"{plain}"'


def _functions(name: str, gpu: bool) -> str:
    lines = []
    functions = {call: (result, call, *rest) for result, call, *rest in _FUNCTIONS}
    if gpu:
        functions |= {call: (result, call, *rest) for result, call, *rest in _GPU_FUNCTIONS}
    for result, call, parameters, body in functions.values():
        text = f"{result}NAME_{call}({parameters})\n{{\n    {body}\n}}\n"
        lines.append("EK_API " + text.replace("NAME", name))
    return '#define EK_API __attribute__((visibility("default")))\n\n' + "\n".join(lines)


_STATUS = "ek_status_t "
_FUNCTIONS = (
    (_STATUS, "open", "NAME_t *model, size_t nbytes, const char *target",
     "return ek_library_open(&library, model, nbytes, target);"),
    (_STATUS, "run", "NAME_t *model", "return ek_library_run(&library, model, NULL);"),
    (_STATUS, "run_parallel", "NAME_t *model, const ek_parallel_t *threads",
     "return ek_library_run(&library, model, threads);"),
    (_STATUS, "reset", "NAME_t *model", "return ek_library_reset(&library, model);"),
    (_STATUS, "close", "NAME_t *model", "return ek_library_close(&library, model);"),
    ("void *", "input", "NAME_t *model, uint32_t index, uint32_t *nbytes",
     "return ek_library_input(&library, model, index, nbytes);"),
    ("const void *", "output", "const NAME_t *model, uint32_t index, uint32_t *nbytes",
     "return ek_library_output(&library, model, index, nbytes);"),
    ("const char *", "target", "const NAME_t *model",
     "const ek_program_t *const program = ek_library_program(&library, model);\n"
     "    return program == NULL ? NULL : program->target;"),
    ("uint32_t ", "threads", "const NAME_t *model",
     "const ek_program_t *const program = ek_library_program(&library, model);\n"
     "    return program == NULL ? 0u : program->threads;"),
    ("const uint8_t *", "hash", "const NAME_t *model",
     "const ek_program_t *const program = ek_library_program(&library, model);\n"
     "    return program == NULL ? NULL : program->hash;"),
    ("const ek_tensor_t *", "input_info", "uint32_t index",
     "return index < library.input_count ? &inputs[index] : NULL;"),
    ("const ek_tensor_t *", "output_info", "uint32_t index",
     "return index < library.output_count ? &outputs[index] : NULL;"),
    ("const char *", "program", "uint32_t index",
     "return index < library.program_count ? programs[index].target : NULL;"),
    ("size_t ", "context_bytes", "void", "return library.context_bytes;"),
)  # fmt: skip
CALLS = tuple(call for _, call, _, _ in _FUNCTIONS)
#: In libraries for GPUs: other bodies of some, and further functions.
_GPU_FUNCTIONS = (
    (_STATUS, "open", "NAME_t *model, size_t nbytes, const char *target",
     "return ek_library_gpu_open(&gpu, model, nbytes, target);"),
    (_STATUS, "run", "NAME_t *model", "return ek_library_gpu_run(&gpu, model, NULL);"),
    (_STATUS, "run_parallel", "NAME_t *model, const ek_parallel_t *threads",
     "return ek_library_gpu_run(&gpu, model, threads);"),
    (_STATUS, "close", "NAME_t *model", "return ek_library_gpu_close(&gpu, model);"),
    (_STATUS, "gpu_open_with",
     "NAME_t *model, const ek_gpu_loader_t *loader, const ek_gpu_settings_t *settings",
     "return ek_library_gpu_attach(&gpu, model, loader, settings);"),
    (_STATUS, "gpu_summary", "const NAME_t *model, ek_gpu_summary_t *summary",
     "return ek_library_gpu_summary(&gpu, model, summary);"),
    (_STATUS, "gpu_layer", "const NAME_t *model, uint32_t index, ek_gpu_layer_summary_t *layer",
     "return ek_library_gpu_layer(&gpu, model, index, layer);"),
)  # fmt: skip
GPU_CALLS = tuple(dict.fromkeys((*CALLS, *(call for _, call, _, _ in _GPU_FUNCTIONS))))
