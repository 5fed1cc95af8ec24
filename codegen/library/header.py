"""``NAME.h`` of a library: the whole API in one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from codegen.library.members import HEAD_BYTES, Member, context_bytes, gpu_member
from codegen.program import Tensor
from codegen.sources import CPLUSPLUS_BEGIN, CPLUSPLUS_END, c_name

#: Headers of firmware/ that the API stands on, pasted with their guards: two libraries' headers
#: may meet in one program.
PASTED = ("ek_status.h", "ek_parallel.h", "ek_tensor.h")
#: The same of libraries for GPUs.
PASTED_FOR_GPU = (*PASTED, "ek_gpu_loader.h", "ek_gpu_settings.h")


def library_header(members: Sequence[Member], texts: Mapping[str, str]) -> str:
    """The C text; `texts` are those of `PASTED`, for GPUs of `PASTED_FOR_GPU`."""
    program = members[0].program
    name = c_name(program.name)
    upper = name.upper()
    guard = f"EK_LIBRARY_{upper}_H"
    targets = ", ".join(m.program.target for m in members)
    gpu = gpu_member(members) is not None
    api = (_API + _GPU_API * gpu).replace("UPPER", upper).replace("NAME", name)
    return "\n".join(
        [
            f"/* {name}.h - model '{name}' for {targets}. Generated.\n *\n{_EXAMPLE} */".replace(
                "UPPER", upper
            ).replace("NAME", name),
            f"#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n",
            *[_DLFCN] * gpu,
            *(_pasted(texts[file]) for file in (PASTED_FOR_GPU if gpu else PASTED)),
            CPLUSPLUS_BEGIN,
            f"/* Bytes of an instance, and the most threads that share in one inference. */\n"
            f"#define {upper}_CONTEXT_BYTES {context_bytes(members)}u\n"
            f"#define {upper}_CONTEXT_ALIGN {HEAD_BYTES}u\n"
            f"#define {upper}_THREADS {max(m.program.threads for m in members)}u\n",
            *[f"/* There is {name}_gpu_open. */\n#define {upper}_GPU 1\n"] * gpu,
            *_tensors(upper, "INPUT", program.inputs),
            *_tensors(upper, "OUTPUT", program.outputs),
            api + CPLUSPLUS_END + "\n#endif\n",
        ]
    )


def _pasted(text: str) -> str:
    """A header without its includes and the comment at its head."""
    text = re.sub(r"\A/\*.*?\*/\n", "", text, flags=re.DOTALL)
    return re.sub(r"^#include .*\n\n?", "", text, flags=re.MULTILINE)


def _tensors(upper: str, word: str, tensors: Sequence[Tensor]) -> list[str]:
    lines = []
    for i, tensor in enumerate(tensors):
        prefix = f"{upper}_{word}{'' if len(tensors) == 1 else i}"
        shape = "x".join(str(d) for d in tensor.shape)
        lines.append(
            f"/* {word.capitalize()} {i}, '{tensor.name.replace('*/', '')}', {shape} "
            f"{tensor.dtype}. */\n"
            f"#define {prefix}_BYTES {tensor.nbytes}u\n"
            f"#define {prefix}_SCALE {tensor.scale!r}f\n"
            f"#define {prefix}_ZERO_POINT ({tensor.zero_point})\n"
        )
    return lines


_EXAMPLE = """\
 *   static NAME_t model;
 *   uint32_t nbytes;
 *   if (NAME_open(&model, sizeof model, NULL) != EK_OK) { ... }
 *   memcpy(NAME_input(&model, 0, &nbytes), sample, UPPER_INPUT_BYTES);
 *   NAME_run(&model);
 *   ... NAME_output(&model, 0, &nbytes) ...
 *
 * Nothing is allocated. Instances know nothing of each other: each may be used by a thread of its
 * own; one instance by one thread at a time.
"""

_API = """\
/* An instance: the model's memory and which of the programs it runs. */
typedef struct {
    uint8_t opaque[UPPER_CONTEXT_BYTES];
} __attribute__((aligned(64))) NAME_t;

/* Make an instance in `nbytes` of the caller's memory, its states at their initial content. The
 * program is the one called `target`, or where that is NULL the best that this CPU can run, which
 * Linux says in /proc/self/auxv. A program of another CPU than this one ends in SIGILL.
 *
 * EK_STATE: `model` is NULL. EK_ALIGNMENT: it is not aligned to UPPER_CONTEXT_ALIGN.
 * EK_ARENA_TOO_SMALL: it is less than NAME_context_bytes(). EK_CPU: there is no such program. */
ek_status_t NAME_open(NAME_t *model, size_t nbytes, const char *target);

/* One inference, on the caller's thread. EK_STATE where the instance is not open. Inputs may be
 * overwritten. */
ek_status_t NAME_run(NAME_t *model);

/* The same on the threads of a pool too, at most NAME_threads() of them: the same bytes. */
ek_status_t NAME_run_parallel(NAME_t *model, const ek_parallel_t *threads);

/* Give the states their initial content again. EK_STATE where the instance is not open. */
ek_status_t NAME_reset(NAME_t *model);

/* From here on every call answers EK_STATE or NULL; the memory is the caller's again. */
ek_status_t NAME_close(NAME_t *model);

/* Where input or output `index` lies, NULL where there is none or the instance is not open; its
 * size goes to `nbytes` unless that is NULL. */
void *NAME_input(NAME_t *model, uint32_t index, uint32_t *nbytes);
const void *NAME_output(const NAME_t *model, uint32_t index, uint32_t *nbytes);

/* The target of the program that the instance runs, the most threads that share in an inference of
 * it, and the eight bytes that its bundle is known by; NULL, 0 and NULL where it is not open. */
const char *NAME_target(const NAME_t *model);
uint32_t NAME_threads(const NAME_t *model);
const uint8_t *NAME_hash(const NAME_t *model);

/* Of the library: name, type, shape, scale and zero point of input or output `index`, and the
 * targets that there are programs for, the best first; NULL past the last. */
const ek_tensor_t *NAME_input_info(uint32_t index);
const ek_tensor_t *NAME_output_info(uint32_t index);
const char *NAME_program(uint32_t index);
size_t NAME_context_bytes(void);
"""

_DLFCN = """\
#ifndef EK_GPU_NO_DLFCN /* define it where there is none: NAME_gpu_open_with takes any loader */
#include <dlfcn.h>
#endif
"""

_GPU_API = """
/* Find a device for an open instance, which then computes on it. NAME_run and NAME_run_parallel
 * give the same bytes as before; layers that the device cannot compute are the CPU's. The first
 * start on a device builds programs and tests every layer against the CPU, which takes seconds;
 * later ones, with a folder in the settings, a fraction of that. Inputs and outputs are elsewhere
 * then: ask NAME_input and NAME_output again. `settings` NULL: the first GPU, nothing is kept.
 *
 * EK_OK: the device computes layers. EK_GPU_NONE: none does, NAME_gpu_summary says why and the CPU
 * computes as before. EK_STATE: the instance is not open, or has a device already, maybe one that
 * was lost: close it and open it again. EK_ARENA_TOO_SMALL: the instance's memory is.
 *
 * Where a device is lost during an inference that one is done again on the CPU: NAME_run then says
 * EK_GPU_LOST, once, and the result is right. All later ones are the CPU's.
 *
 * Memory beyond UPPER_CONTEXT_BYTES that NAME_open is told of is room to keep larger programs. An
 * instance with a device is closed before it is opened again. */
ek_status_t NAME_gpu_open_with(NAME_t *model, const ek_gpu_loader_t *loader,
                               const ek_gpu_settings_t *settings);

#ifndef EK_GPU_NO_DLFCN
/* The same with dlopen and dlsym of the program that calls it. */
static inline ek_status_t NAME_gpu_open(NAME_t *model, const ek_gpu_settings_t *settings)
{
    static const ek_gpu_loader_t loader = {ek_gpu_dlopen, ek_gpu_dlsym};
    return NAME_gpu_open_with(model, &loader, settings);
}
#endif

/* The device of an instance, or why it has none. EK_STATE where the instance is not open. */
ek_status_t NAME_gpu_summary(const NAME_t *model, ek_gpu_summary_t *summary);

/* Who computes layer `index` and why. EK_STATE past the last, or where the instance is not open. */
ek_status_t NAME_gpu_layer(const NAME_t *model, uint32_t index, ek_gpu_layer_summary_t *layer);
"""
