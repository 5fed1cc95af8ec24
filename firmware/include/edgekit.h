/* edgekit.h - the runtime that executes a bundle (model.ekb): open once, then invoke.
 *
 *   static ek_model_t model;
 *   static const ek_kernel_t *slots[EK_MODEL_KERNELS];
 *   static uint8_t arena[EK_MODEL_ARENA_BYTES] __attribute__((aligned(16)));
 *
 *   ek_status_t s = ek_open(&model, bundle, bundle_bytes, ek_kernels, ek_kernel_count,
 *                           slots, EK_MODEL_KERNELS, arena, sizeof arena);
 *   memcpy(ek_input(&model, 0, NULL), sample, sample_bytes);
 *   s = ek_invoke(&model);
 *   ... ek_output(&model, 0, NULL) ...
 *
 * Every buffer comes from the caller; nothing is allocated and there is no global state. The
 * bundle is verified before anything in it is believed and is then read in place.
 */
#ifndef EDGEKIT_H
#define EDGEKIT_H

#include <stddef.h>
#include <stdint.h>

/* Bundle format: the verifier accepts EK_FORMAT_OLDEST to EK_FORMAT_VERSION. */
#define EK_FORMAT_VERSION 2u
#define EK_FORMAT_OLDEST 1u

/* Most arguments of one kernel; each costs a pointer of stack in ek_invoke. */
#define EK_MAX_ARGUMENTS 16u

typedef enum {
    EK_OK = 0,
    EK_TRUNCATED = 1,       /* shorter than its own footer says */
    EK_MAGIC = 2,           /* not a bundle */
    EK_VERSION = 3,         /* a format that this runtime does not read */
    EK_CHECKSUM = 4,        /* damaged */
    EK_MALFORMED = 5,       /* a table or vector leaves the file */
    EK_BOUNDS = 6,          /* an argument leaves the arena or the constants */
    EK_ALIGNMENT = 7,       /* an argument, the bundle or the arena is not aligned */
    EK_KERNEL_MISSING = 8,  /* this firmware was built for another model */
    EK_ARENA_TOO_SMALL = 9, /* model.arena_bytes says what it needs */
    EK_TOO_MANY_CALLS = 10, /* more kernels than slots, or arguments than EK_MAX_ARGUMENTS */
    EK_STATE = 11           /* invoked before a successful open */
} ek_status_t;

/* What a kernel does with an argument. */
enum { EK_INPUT = 0, EK_CONSTANT = 1, EK_OUTPUT = 2, EK_SCRATCH = 3 };

typedef struct {
    uint32_t nbytes;
    uint32_t role;
} ek_operand_t;

/* A kernel of this firmware; the table of them is generated with the kernels. */
typedef struct {
    uint64_t fingerprint;
    void (*run)(void *const *arguments);
    const ek_operand_t *operands;
    uint32_t operand_count;
} ek_kernel_t;

/* An opened bundle. Fields are for reading; `detail` is the index of what an error is about. */
typedef struct {
    const uint8_t *bundle;
    const uint8_t *calls;
    const uint8_t *arguments;
    const uint8_t *constants;
    const uint8_t *fingerprints;
    const uint8_t *inputs;
    const uint8_t *outputs;
    const uint8_t *states;
    const ek_kernel_t *const *kernels;
    uint8_t *arena;
    uint32_t bundle_bytes;
    uint32_t call_count;
    uint32_t argument_count;
    uint32_t constant_bytes;
    uint32_t arena_bytes;
    uint32_t kernel_count;
    uint32_t input_count;
    uint32_t output_count;
    uint32_t state_count;
    uint32_t detail;
    uint8_t hash[8];
} ek_model_t;

/* Verify `bundle` and bind it to kernels and arena; states get their initial content. `bundle` and
 * `arena` are 16-byte aligned and outlive the model. On an error the model stays closed. */
ek_status_t ek_open(ek_model_t *model, const void *bundle, size_t bundle_bytes,
                    const ek_kernel_t *kernels, uint32_t kernel_count, const ek_kernel_t **slots,
                    uint32_t slot_count, void *arena, size_t arena_bytes);

/* Run all kernels in order. Inputs may be overwritten; states are what the run before left. */
ek_status_t ek_invoke(const ek_model_t *model);

/* Give all states of a streaming or recurrent model their initial content again, as ek_open does. */
ek_status_t ek_reset(const ek_model_t *model);

/* Where input, output or state `index` lies in the arena, NULL where there is none; its size in bytes
 * goes to `nbytes` unless that is NULL. */
uint8_t *ek_input(const ek_model_t *model, uint32_t index, uint32_t *nbytes);
const uint8_t *ek_output(const ek_model_t *model, uint32_t index, uint32_t *nbytes);
uint8_t *ek_state(const ek_model_t *model, uint32_t index, uint32_t *nbytes);

#endif
