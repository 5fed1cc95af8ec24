/* edgekit.h - the runtime that executes a bundle (model.ekb): open once, then invoke.
 *
 *   extern const ek_kernel_t ek_kernels[];          registry.c
 *   extern const uint32_t ek_kernel_count;
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

#include "ek_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bundle format: the verifier accepts EK_FORMAT_OLDEST to EK_FORMAT_VERSION. */
#define EK_FORMAT_VERSION 2u
#define EK_FORMAT_OLDEST 1u

/* Most arguments of one kernel; each costs a pointer of stack in ek_invoke. */
#define EK_MAX_ARGUMENTS 16u

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
    ek_status_t (*check)(void *const *arguments); /* of constants, before anything runs; or NULL */
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

/* Run one kernel of an inference, so that between two calls a watchdog can be fed or others can run:
 *
 *   ek_run_t run = {0};
 *   while ((s = ek_step(&model, &run)) == EK_MORE) { feed_the_watchdog(); }
 *
 * EK_MORE while kernels are left; EK_OK with the last one, and `run` is then ready for the next
 * inference. Zero `run` to give one up. Inputs are written before the first step and outputs read
 * after the last; in between the arena belongs to this inference alone: no ek_invoke, no ek_reset,
 * no other model on the same arena. EK_STATE where the model is closed or has no such step. */
ek_status_t ek_step(const ek_model_t *model, ek_run_t *run);

/* Give all states of a streaming or recurrent model their initial content again, as ek_open does. */
ek_status_t ek_reset(const ek_model_t *model);

/* Where input, output or state `index` lies in the arena, NULL where there is none; its size in bytes
 * goes to `nbytes` unless that is NULL. */
uint8_t *ek_input(const ek_model_t *model, uint32_t index, uint32_t *nbytes);
const uint8_t *ek_output(const ek_model_t *model, uint32_t index, uint32_t *nbytes);
uint8_t *ek_state(const ek_model_t *model, uint32_t index, uint32_t *nbytes);

#ifdef __cplusplus
}
#endif

#endif
