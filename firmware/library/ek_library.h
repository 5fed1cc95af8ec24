/* ek_library.h - what the functions of a library (NAME.h) stand on: tables of its programs, and an
 * instance in memory of the caller's. */
#ifndef EK_LIBRARY_H
#define EK_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "ek_parallel.h"
#include "ek_status.h"
#include "ek_tensor.h"

/* A model for one CPU. `hwcaps` are the bits of `ek_cpu_hwcap` that it needs, `hash` the eight bytes
 * of its bundle's, `inputs` and `outputs` offsets in the arena. */
typedef struct {
    const char *target;
    uint64_t hwcaps;
    const uint8_t *hash;
    uint32_t threads;
    const uint32_t *inputs;
    const uint32_t *outputs;
    void (*run)(uint8_t *arena, const ek_parallel_t *threads);
    void (*reset)(uint8_t *arena);
} ek_program_t;

/* The same model for several CPUs, the best first. */
typedef struct {
    const ek_program_t *programs;
    uint32_t program_count;
    const ek_tensor_t *inputs;
    uint32_t input_count;
    const ek_tensor_t *outputs;
    uint32_t output_count;
    size_t context_bytes;
} ek_library_t;

/* The start of a context; the arena follows at EK_CONTEXT_HEAD. */
typedef struct {
    const ek_library_t *library; /* another value: not open */
    const ek_program_t *program;
} ek_context_t;

enum { EK_CONTEXT_HEAD = 64, EK_CONTEXT_ALIGN = 64 };

ek_status_t ek_library_open(const ek_library_t *library, void *context, size_t nbytes,
                            const char *target);
ek_status_t ek_library_close(const ek_library_t *library, void *context);
ek_status_t ek_library_reset(const ek_library_t *library, void *context);
ek_status_t ek_library_run(const ek_library_t *library, void *context,
                           const ek_parallel_t *threads);
void *ek_library_input(const ek_library_t *library, void *context, uint32_t index,
                       uint32_t *nbytes);
const void *ek_library_output(const ek_library_t *library, const void *context, uint32_t index,
                              uint32_t *nbytes);
/* The program of an open context, else NULL. */
const ek_program_t *ek_library_program(const ek_library_t *library, const void *context);

#endif
