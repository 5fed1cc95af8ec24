"""The C files of a Program that the interpreter needs: its kernels, and the table of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    "a64": "ek_a64.h",
    "a64_dot": "ek_a64.h",
    "a64_i8mm": "ek_a64.h",
    "neon": "ek_neon.h",
    "npu": "ek_npu.h",
    "rv_cfu": "ek_cfu.h",
}

#: Around the declarations of every header that a C++ program may include.
CPLUSPLUS_BEGIN = '#ifdef __cplusplus\nextern "C" {\n#endif\n'
CPLUSPLUS_END = "\n#ifdef __cplusplus\n}\n#endif\n"


def c_name(name: str) -> str:
    """A C identifier from a model's name."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII) or "model"
    return f"m_{text}" if text[0].isdigit() else text


def banner(program: Program, what: str) -> str:
    return banner_of(f"model '{c_name(program.name)}' for {program.target}", what)


def banner_of(whom: str, what: str) -> str:
    return f"/* {what} of {whom}. Generated. */\n"


def prototype(kernel: Kernel) -> str:
    """The kernel's declaration, as its definition has it but for `restrict`: to C it is the same
    function without it, and C++ does not know it."""
    match = re.search(r"^void [^{]*\)$", kernel.text, re.MULTILINE)
    assert match is not None, kernel.name
    return re.sub(r"\brestrict ?", "", match[0]) + ";"


def kernel_sources(program: Program) -> dict[str, str]:
    """``kernels.h``, ``kernels.c``, and ``registry.c`` with the interpreter's table."""
    whom = f"model '{c_name(program.name)}' for {program.target}"
    return {**kernel_files(program.kernels, whom), "model_config.h": _config(program)}


def kernel_files(kernels: Sequence[Kernel], whom: str) -> dict[str, str]:
    """The same for the `kernels` of any number of programs, each once; `whom` for the banner."""
    families = sorted({k.spec.family for k in kernels})
    headers = [FAMILY_HEADERS[f] for f in families]
    if any(k.spec.params.get("float") for k in kernels):
        headers.insert(0, "ek_float.h")  # first: it says how everything after it is compiled
    if any("ek_sparse_decode" in k.text for k in kernels):
        headers.append("ek_sparse.h")
    if any("ek_tile_" in k.text for k in kernels):
        headers.append("ek_tile.h")
    if any("ek_wide_" in k.text for k in kernels):
        headers.append("ek_wide.h")
    wanted = {h for k in kernels for h in k.spec.params.get("headers", ())}
    headers += sorted(wanted - set(headers))
    includes = "".join(f'#include "{header}"\n' for header in headers)
    declarations = "\n".join(prototype(k) for k in kernels)
    parts = {name: text for k in kernels for name, text in k.parts.items()}
    bodies = "\n".join([*parts.values(), *(k.text for k in kernels)])
    return {
        **_npu_config(kernels, whom),
        "kernels.h": banner_of(whom, "Kernels")
        + "#ifndef EK_MODEL_KERNELS_H\n#define EK_MODEL_KERNELS_H\n\n#include <stdint.h>\n\n"
        + f"{CPLUSPLUS_BEGIN}\n{declarations}\n{CPLUSPLUS_END}\n#endif\n",
        "kernels.c": banner_of(whom, "Kernels") + f'#include "kernels.h"\n\n{includes}\n' + bodies,
        "registry.c": _registry(kernels, whom),
    }


def _npu_config(kernels: Sequence[Kernel], whom: str) -> dict[str, str]:
    """``npu_config.h``: sizes of the accelerator that the kernels are for, where there is one."""
    for kernel in kernels:
        if sizes := kernel.spec.params.get("npu_config"):
            lines = [f"#define {name} {value}\n" for name, value in sizes.items()]
            head = banner_of(whom, "Sizes of the accelerator")
            guard = "#ifndef EK_NPU_CONFIG_H\n#define EK_NPU_CONFIG_H\n\n"
            return {"npu_config.h": f"{head}{guard}{''.join(lines)}\n#endif\n"}
    return {}


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


def _registry(kernels: Sequence[Kernel], whom: str) -> str:
    parts = [
        banner_of(whom, "Table of kernels"),
        '#include "edgekit.h"\n#include "kernels.h"\n',
        *(['#include "ek_npu.h"\n'] if any(k.check for k in kernels) else []),
        "extern const ek_kernel_t ek_kernels[];\nextern const uint32_t ek_kernel_count;\n",
    ]
    rows = []
    for kernel in kernels:
        operands = [(o.nbytes, ROLES[o.role]) for o in kernel.spec.operands]
        if kernel.scratch_bytes:
            operands.append((kernel.scratch_bytes, ROLES["scratch"]))
        arguments = ", ".join(f"a[{i}]" for i in range(len(operands)))
        if kernel.units:
            arguments += f", 0u, {kernel.units}u"
        table = ", ".join(f"{{{n}u, {role}}}" for n, role in operands)
        parts.append(
            f"static void call_{kernel.name}(void *const *a)\n{{\n"
            f"    {kernel.name}({arguments});\n}}\n"
            f"static const ek_operand_t operands_{kernel.name}[] = {{{table}}};\n"
        )
        check = "NULL"
        if body := kernel.check:
            check = f"check_{kernel.name}"
            parts.append(f"static ek_status_t {check}(void *const *a)\n{{\n{body}}}\n")
        rows.append(
            f"    {{UINT64_C(0x{kernel.fingerprint:016x}), call_{kernel.name}, "
            f"operands_{kernel.name}, {len(operands)}u, {check}}},\n"
        )
    parts.append(f"const ek_kernel_t ek_kernels[] = {{\n{''.join(rows)}}};\n")
    parts.append(f"const uint32_t ek_kernel_count = {len(rows)}u;\n")
    return "\n".join(parts)
