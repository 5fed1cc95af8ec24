/* ek_library.c - instances of a library's model; see NAME.h for what each call does. */
#include "ek_library.h"

#include "ek_cpu.h"

static int same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        ++a;
        ++b;
    }
    return *a == *b;
}

/* The one called `target`, or where that is NULL the first that this CPU has everything for. */
static const ek_program_t *choose(const ek_library_t *library, const char *target)
{
    uint64_t has = 0;
    int asked = 0;
    for (uint32_t i = 0; i < library->program_count; ++i) {
        const ek_program_t *const program = &library->programs[i];
        if (target != NULL) {
            if (same(target, program->target)) {
                return program;
            }
            continue;
        }
        if (program->hwcaps != 0u && !asked) {
            has = ek_cpu_hwcap();
            asked = 1;
        }
        if ((program->hwcaps & has) == program->hwcaps) {
            return program;
        }
    }
    return NULL;
}

static uint8_t *arena_of(void *context) { return (uint8_t *)context + EK_CONTEXT_HEAD; }

const ek_program_t *ek_library_program(const ek_library_t *library, const void *context)
{
    const ek_context_t *const head = (const ek_context_t *)context;
    return head != NULL && head->library == library ? head->program : NULL;
}

ek_status_t ek_library_open(const ek_library_t *library, void *context, size_t nbytes,
                            const char *target)
{
    ek_context_t *const head = (ek_context_t *)context;
    if (context == NULL) {
        return EK_STATE;
    }
    if ((uintptr_t)context % EK_CONTEXT_ALIGN != 0u) {
        return EK_ALIGNMENT;
    }
    if (nbytes < library->context_bytes) {
        return EK_ARENA_TOO_SMALL;
    }
    head->library = NULL;
    head->program = choose(library, target);
    if (head->program == NULL) {
        return EK_CPU;
    }
    head->library = library;
    head->program->reset(arena_of(context));
    return EK_OK;
}

ek_status_t ek_library_close(const ek_library_t *library, void *context)
{
    if (ek_library_program(library, context) == NULL) {
        return EK_STATE;
    }
    ((ek_context_t *)context)->library = NULL;
    return EK_OK;
}

ek_status_t ek_library_reset(const ek_library_t *library, void *context)
{
    const ek_program_t *const program = ek_library_program(library, context);
    if (program == NULL) {
        return EK_STATE;
    }
    program->reset(arena_of(context));
    return EK_OK;
}

ek_status_t ek_library_run(const ek_library_t *library, void *context,
                           const ek_parallel_t *threads)
{
    const ek_program_t *const program = ek_library_program(library, context);
    if (program == NULL) {
        return EK_STATE;
    }
    program->run(arena_of(context), threads);
    return EK_OK;
}

static uint8_t *place(const ek_tensor_t *tensors, uint32_t count, const uint32_t *offsets,
                      void *context, uint32_t index, uint32_t *nbytes)
{
    if (nbytes != NULL) {
        *nbytes = index < count ? tensors[index].nbytes : 0u;
    }
    return index < count ? arena_of(context) + offsets[index] : NULL;
}

static uint8_t *nowhere(uint32_t *nbytes)
{
    if (nbytes != NULL) {
        *nbytes = 0u;
    }
    return NULL;
}

void *ek_library_input(const ek_library_t *library, void *context, uint32_t index,
                       uint32_t *nbytes)
{
    const ek_program_t *const program = ek_library_program(library, context);
    return program == NULL ? nowhere(nbytes)
                           : place(library->inputs, library->input_count, program->inputs, context,
                                   index, nbytes);
}

const void *ek_library_output(const ek_library_t *library, const void *context, uint32_t index,
                              uint32_t *nbytes)
{
    const ek_program_t *const program = ek_library_program(library, context);
    /* Only read through the result. */
    void *const memory = (void *)(uintptr_t)context;
    return program == NULL ? nowhere(nbytes)
                           : place(library->outputs, library->output_count, program->outputs,
                                   memory, index, nbytes);
}
