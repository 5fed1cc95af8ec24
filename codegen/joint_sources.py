"""The C files of several programs in one arena: kernels that they share are there once."""

from __future__ import annotations

from collections.abc import Sequence

from codegen.aot import aot_sources
from codegen.joint import Joint
from codegen.kernel import Kernel
from codegen.program import Program
from codegen.sources import CPLUSPLUS_BEGIN, CPLUSPLUS_END, banner_of, c_name, kernel_files

#: What a joint folder's sources are called beside the files of each model.
HEADER, SOURCE = "ek_models.h", "ek_models.c"
#: Names that generated files have: no model may be called so.
TAKEN = ("kernels", "registry", "model_config", "ek_models", "edgekit", "src")


def joint_sources(joint: Joint, hashes: Sequence[bytes]) -> dict[str, str]:
    """``kernels.h``, ``kernels.c``, ``registry.c``, the arena, and each program's ``NAME.h`` and
    ``NAME.c``; `hashes` are those of the programs' bundles."""
    names = [c_name(p.name) for p in joint.programs]
    whom = f"models {', '.join(names)} for {joint.programs[0].target}"
    files = kernel_files(joint_kernels(joint.programs), whom)
    files[HEADER] = _header(joint, whom)
    files[SOURCE] = (
        banner_of(whom, "Arena") + f'#include "{HEADER}"\n\n'
        "uint8_t ek_arena[EK_ARENA_BYTES] __attribute__((aligned(16)));\n"
    )
    for program, model_hash in zip(joint.programs, hashes, strict=True):
        files |= aot_sources(program, model_hash, shared_arena=HEADER)
    return files


def joint_kernels(programs: Sequence[Program]) -> list[Kernel]:
    """Each kernel of any of `programs` once, in the order of first use."""
    kernels = list({k.fingerprint: k for p in programs for k in p.kernels}.values())
    texts: dict[str, str] = {}
    for kernel in kernels:
        for name, text in ((kernel.name, kernel.text), *kernel.parts.items()):
            if texts.setdefault(name, text) != text:
                raise ValueError(f"two C functions are called '{name}'")
    return kernels


def _header(joint: Joint, whom: str) -> str:
    slots = "".join(
        f"#define {c_name(p.name).upper()}_KERNELS {len(p.kernels)}u\n" for p in joint.programs
    )
    return (
        banner_of(whom, "Arena and tables")
        + "#ifndef EK_MODELS_H\n#define EK_MODELS_H\n\n"
        + '#include <stdint.h>\n\n#include "edgekit.h"\n\n'
        + CPLUSPLUS_BEGIN
        + "\n/* All models in turns, 16-byte aligned; only states outlive another model's run. */\n"
        + f"#define EK_ARENA_BYTES {max(joint.arena_bytes, 1)}u\n"
        + "extern uint8_t ek_arena[EK_ARENA_BYTES];\n\n"
        + "/* For ek_open: the kernels of all models, and how many slots each model takes. */\n"
        + "extern const ek_kernel_t ek_kernels[];\nextern const uint32_t ek_kernel_count;\n"
        + slots
        + CPLUSPLUS_END
        + "\n#endif\n"
    )
