/* ek_runtime.c - binds a verified bundle to kernels and an arena, and walks its calls. */
#include "ek_bundle.h"
#include "ek_profile.h"
#include "ek_yield.h"

#include <string.h>

static const ek_kernel_t *find(const ek_kernel_t *kernels, uint32_t count, const uint8_t *ref)
{
    const uint64_t fingerprint = (uint64_t)ek_get32(ref + 4) << 32 | ek_get32(ref);
    for (uint32_t i = 0; i < count; ++i) {
        if (kernels[i].fingerprint == fingerprint) {
            return &kernels[i];
        }
    }
    return NULL;
}

/* One argument against what the kernel will do with it. */
static ek_status_t check_argument(const ek_model_t *m, ek_argument_t a, const ek_operand_t *operand)
{
    const uint32_t space =
        operand->role == (uint32_t)EK_CONSTANT ? EK_SPACE_CONSTANTS : EK_SPACE_ARENA;
    const uint32_t size = space == EK_SPACE_CONSTANTS ? m->constant_bytes : m->arena_bytes;
    if (a.space != space || a.nbytes < operand->nbytes || a.offset > size ||
        a.nbytes > size - a.offset) {
        return EK_BOUNDS;
    }
    return a.offset % EK_ARGUMENT_ALIGN == 0u ? EK_OK : EK_ALIGNMENT;
}

/* What the kernel itself asks of its constants; its other arguments have no place yet. */
static ek_status_t check_constants(const ek_model_t *m, ek_call_t call, const ek_kernel_t *kernel)
{
    if (kernel->check == NULL) {
        return EK_OK;
    }
    void *pointers[EK_MAX_ARGUMENTS];
    for (uint32_t j = 0; j < call.argument_count; ++j) {
        const ek_argument_t a = ek_get_argument(m, call.first_argument + j);
        pointers[j] = a.space == EK_SPACE_CONSTANTS
                          ? (void *)(uintptr_t)(m->constants + a.offset) : NULL;
    }
    return kernel->check(pointers);
}

static ek_status_t check_calls(ek_model_t *m)
{
    for (uint32_t i = 0; i < m->call_count; ++i) {
        const ek_call_t call = ek_get_call(m, i);
        m->detail = i; /* stays where this is the one that is wrong */
        if (call.kernel >= m->kernel_count || call.first_argument > m->argument_count ||
            call.argument_count > m->argument_count - call.first_argument) {
            return EK_MALFORMED;
        }
        const ek_kernel_t *kernel = m->kernels[call.kernel];
        if (call.argument_count != kernel->operand_count) {
            return EK_MALFORMED;
        }
        if (call.argument_count > EK_MAX_ARGUMENTS) {
            return EK_TOO_MANY_CALLS;
        }
        for (uint32_t j = 0; j < call.argument_count; ++j) {
            const ek_argument_t a = ek_get_argument(m, call.first_argument + j);
            const ek_status_t status = check_argument(m, a, &kernel->operands[j]);
            if (status != EK_OK) {
                return status;
            }
        }
        const ek_status_t status = check_constants(m, call, kernel);
        if (status != EK_OK) {
            return status;
        }
    }
    m->detail = 0u;
    return EK_OK;
}

static ek_status_t bind(ek_model_t *m, const ek_kernel_t *kernels, uint32_t kernel_count,
                        const ek_kernel_t **slots, uint32_t slot_count)
{
    if (m->kernel_count > slot_count) {
        return EK_TOO_MANY_CALLS;
    }
    for (uint32_t i = 0; i < m->kernel_count; ++i) {
        slots[i] = find(kernels, kernel_count, m->fingerprints + EK_KERNEL_REF_BYTES * i);
        if (slots[i] == NULL) {
            m->detail = i;
            return EK_KERNEL_MISSING;
        }
    }
    m->kernels = slots;
    return check_calls(m);
}

ek_status_t ek_open(ek_model_t *model, const void *bundle, size_t bundle_bytes,
                    const ek_kernel_t *kernels, uint32_t kernel_count, const ek_kernel_t **slots,
                    uint32_t slot_count, void *arena, size_t arena_bytes)
{
    /* A caller may read any field after a refusal, and the model may lie on its stack. */
    memset(model, 0, sizeof *model);
    ek_status_t status = ek_verify(model, (const uint8_t *)bundle, bundle_bytes);
    if (status == EK_OK) {
        status = bind(model, kernels, kernel_count, slots, slot_count);
    }
    if (status == EK_OK && model->arena_bytes > arena_bytes) {
        status = EK_ARENA_TOO_SMALL;
    }
    if (status == EK_OK && (uintptr_t)arena % EK_BUNDLE_ALIGN != 0u) {
        status = EK_ALIGNMENT;
    }
    if (status == EK_OK) {
        model->arena = (uint8_t *)arena;
        status = ek_reset(model);
    }
    return status;
}

ek_status_t ek_reset(const ek_model_t *m)
{
    if (m->arena == NULL) {
        return EK_STATE;
    }
    for (uint32_t i = 0; i < m->state_count; ++i) {
        ek_place_t p;
        (void)ek_get_place(m, m->states, i, &p); /* ek_open has seen that it is whole */
        if (p.initial_space == (uint32_t)EK_SPACE_CONSTANTS) {
            memcpy(m->arena + p.offset, m->constants + p.initial, p.nbytes);
        } else {
            memset(m->arena + p.offset, (int)(p.initial & 0xFFu), p.nbytes);
        }
    }
    return EK_OK;
}

/* In line, so that neither of its two callers pays for the other. */
static inline __attribute__((always_inline)) void run_call(const ek_model_t *m, uint32_t index)
{
    const ek_call_t call = ek_get_call(m, index);
    void *pointers[EK_MAX_ARGUMENTS];
    for (uint32_t j = 0; j < call.argument_count; ++j) {
        const ek_argument_t a = ek_get_argument(m, call.first_argument + j);
        const uint8_t *base = a.space == EK_SPACE_CONSTANTS ? m->constants : m->arena;
        /* Kernels take constants as const again; check_argument has seen to the roles. */
        pointers[j] = (void *)(uintptr_t)(base + a.offset);
    }
    m->kernels[call.kernel]->run(pointers);
}

ek_status_t ek_invoke(const ek_model_t *m)
{
    if (m->arena == NULL) {
        return EK_STATE;
    }
    EK_EDGE(0u);
    for (uint32_t i = 0; i < m->call_count; ++i) {
        run_call(m, i);
        EK_EDGE(i + 1u);
        if (i + 1u < m->call_count) {
            EK_YIELD(i + 1u);
        }
    }
    return EK_OK;
}

ek_status_t ek_step(const ek_model_t *m, ek_run_t *run)
{
    /* A model without calls has one step, which does nothing. */
    if (m->arena == NULL || run->next > m->call_count ||
        (run->next == m->call_count && m->call_count != 0u)) {
        return EK_STATE;
    }
    if (run->next < m->call_count) {
        run_call(m, run->next);
        run->next += 1u;
    }
    if (run->next < m->call_count) {
        return EK_MORE;
    }
    run->next = 0u;
    return EK_OK;
}

static uint8_t *place_of(const ek_model_t *m, const uint8_t *tables, uint32_t count,
                         uint32_t index, uint32_t *nbytes)
{
    ek_place_t p;
    if (m->arena == NULL || index >= count || !ek_get_place(m, tables, index, &p)) {
        return NULL;
    }
    if (nbytes != NULL) {
        *nbytes = p.nbytes;
    }
    return m->arena + p.offset;
}

uint8_t *ek_input(const ek_model_t *m, uint32_t index, uint32_t *nbytes)
{
    return place_of(m, m->inputs, m->input_count, index, nbytes);
}

const uint8_t *ek_output(const ek_model_t *m, uint32_t index, uint32_t *nbytes)
{
    return place_of(m, m->outputs, m->output_count, index, nbytes);
}

uint8_t *ek_state(const ek_model_t *m, uint32_t index, uint32_t *nbytes)
{
    return place_of(m, m->states, m->state_count, index, nbytes);
}
