"""The C files of a Program that the interpreter needs: its kernels, and the table of them."""

from __future__ import annotations

import re

from codegen.kernel import Kernel
from codegen.program import Program

ROLES = {
    "input": "EK_INPUT",
    "constant": "EK_CONSTANT",
    "output": "EK_OUTPUT",
    "scratch": "EK_SCRATCH",
}
#: What the kernels of a family include.
FAMILY_HEADERS = {
    "c99": "ek_kernel.h",
    "arm_dsp": "ek_dsp.h",
    "thumb_dsp": "ek_thumb.h",
    "arm_mve": "ek_mve.h",
}


def c_name(name: str) -> str:
    """A C identifier from a model's name."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII) or "model"
    return f"m_{text}" if text[0].isdigit() else text


def banner(program: Program, what: str) -> str:
    return f"/* {what} of model '{c_name(program.name)}' for {program.target}. Generated. */\n"


def prototype(kernel: Kernel) -> str:
    """The kernel's declaration, as its definition has it."""
    match = re.search(r"^void [^{]*\)$", kernel.text, re.MULTILINE)
    assert match is not None, kernel.name
    return match[0] + ";"


def kernel_sources(program: Program) -> dict[str, str]:
    """``kernels.h``, ``kernels.c``, and ``registry.c`` with the interpreter's table."""
    families = sorted({k.spec.family for k in program.kernels})
    headers = [FAMILY_HEADERS[f] for f in families]
    if any(k.spec.params.get("float") for k in program.kernels):
        headers.insert(0, "ek_float.h")  # first: it says how everything after it is compiled
    if any("ek_sparse_decode" in k.text for k in program.kernels):
        headers.append("ek_sparse.h")
    if any("ek_tile_" in k.text for k in program.kernels):
        headers.append("ek_tile.h")
    if any("ek_wide_" in k.text for k in program.kernels):
        headers.append("ek_wide.h")
    wanted = {h for k in program.kernels for h in k.spec.params.get("headers", ())}
    headers += sorted(wanted - set(headers))
    includes = "".join(f'#include "{header}"\n' for header in headers)
    declarations = "\n".join(prototype(k) for k in program.kernels)
    parts = {name: text for k in program.kernels for name, text in k.parts.items()}
    bodies = "\n".join([*parts.values(), *(k.text for k in program.kernels)])
    return {
        "kernels.h": banner(program, "Kernels")
        + "#ifndef EK_MODEL_KERNELS_H\n#define EK_MODEL_KERNELS_H\n\n#include <stdint.h>\n\n"
        + declarations
        + "\n\n#endif\n",
        "kernels.c": banner(program, "Kernels") + f'#include "kernels.h"\n\n{includes}\n' + bodies,
        "model_config.h": _config(program),
        "registry.c": _registry(program),
    }


def _config(program: Program) -> str:
    return (
        banner(program, "Sizes")
        + "#ifndef EK_MODEL_CONFIG_H\n#define EK_MODEL_CONFIG_H\n\n"
        + f"#define EK_MODEL_KERNELS {len(program.kernels)}u\n"
        + f"#define EK_MODEL_CALLS {len(program.calls)}u\n"
        + f"#define EK_MODEL_ARENA_BYTES {program.arena_bytes}u\n"
        + f'#define EK_MODEL_AOT_HEADER "{c_name(program.name)}.h"\n'
        + f"#define EK_MODEL_AOT(x) {c_name(program.name)}_##x\n"
        + "\n#endif\n"
    )


def _registry(program: Program) -> str:
    parts = [
        banner(program, "Table of kernels"),
        '#include "edgekit.h"\n#include "kernels.h"\n',
        "extern const ek_kernel_t ek_kernels[];\nextern const uint32_t ek_kernel_count;\n",
    ]
    rows = []
    for kernel in program.kernels:
        operands = [(o.nbytes, ROLES[o.role]) for o in kernel.spec.operands]
        if kernel.scratch_bytes:
            operands.append((kernel.scratch_bytes, ROLES["scratch"]))
        arguments = ", ".join(f"a[{i}]" for i in range(len(operands)))
        table = ", ".join(f"{{{n}u, {role}}}" for n, role in operands)
        parts.append(
            f"static void call_{kernel.name}(void *const *a)\n{{\n"
            f"    {kernel.name}({arguments});\n}}\n"
            f"static const ek_operand_t operands_{kernel.name}[] = {{{table}}};\n"
        )
        rows.append(
            f"    {{UINT64_C(0x{kernel.fingerprint:016x}), call_{kernel.name}, "
            f"operands_{kernel.name}, {len(operands)}u}},\n"
        )
    parts.append(f"const ek_kernel_t ek_kernels[] = {{\n{''.join(rows)}}};\n")
    parts.append(f"const uint32_t ek_kernel_count = {len(rows)}u;\n")
    return "\n".join(parts)
