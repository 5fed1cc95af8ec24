/* step_model.c - a model step by step: samples from stdin, outputs to stdout. Every second sample
 * runs as a whole, so that the two forms are seen to go on from each other's states. The exit status
 * says which promise of docs/RUNTIME.md is broken. */
#include <stdio.h>
#include <string.h>

#include "model_config.h"

#ifdef INTERPRETER
#include "edgekit.h"

extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

static ek_model_t model;
static const ek_kernel_t *slots[EK_MODEL_KERNELS];
static uint8_t arena[EK_MODEL_ARENA_BYTES] __attribute__((aligned(16)));
static unsigned char bundle[4u << 20] __attribute__((aligned(16)));

static int ready(const char *path)
{
    ek_run_t run = {0};
    FILE *f = fopen(path, "rb");
    const size_t nbytes = f == NULL ? 0u : fread(bundle, 1, sizeof bundle, f);
    if (nbytes == 0u || ek_step(&model, &run) != EK_STATE || run.next != 0u) {
        return 2; /* a model that was never opened has no steps */
    }
    fclose(f);
    if (ek_open(&model, bundle, nbytes - 16u, ek_kernels, ek_kernel_count, slots, EK_MODEL_KERNELS,
                arena, sizeof arena) == EK_OK ||
        ek_step(&model, &run) != EK_STATE) {
        return 3; /* one whose opening failed has none either */
    }
    return ek_open(&model, bundle, nbytes, ek_kernels, ek_kernel_count, slots, EK_MODEL_KERNELS,
                   arena, sizeof arena) == EK_OK
               ? 0
               : 4;
}
static void *input(uint32_t *nbytes) { return ek_input(&model, 0, nbytes); }
static const void *output(uint32_t *nbytes) { return ek_output(&model, 0, nbytes); }
static ek_status_t step(ek_run_t *run) { return ek_step(&model, run); }
static void whole(void) { (void)ek_invoke(&model); }
#else
#include EK_MODEL_AOT_HEADER

static int ready(const char *path)
{
    (void)path;
    EK_MODEL_AOT(reset)();
    return 0;
}
static void *input(uint32_t *nbytes) { return EK_MODEL_AOT(input)(0, nbytes); }
static const void *output(uint32_t *nbytes) { return EK_MODEL_AOT(output)(0, nbytes); }
static ek_status_t step(ek_run_t *run) { return EK_MODEL_AOT(step)(run); }
static void whole(void) { EK_MODEL_AOT(run)(); }
#endif

#ifdef EK_YIELD_HOOK
static uint32_t yields, wrong;
void ek_yield(uint32_t done) { wrong += done != ++yields; }
#endif

int main(int argc, char **argv)
{
    static const uint32_t nowhere[] = {EK_MODEL_CALLS, EK_MODEL_CALLS + 1u, UINT32_MAX};
    ek_run_t run = {0};
    uint32_t in_bytes = 0, out_bytes = 0;
    int status = ready(argc > 1 ? argv[1] : "");
    if (status != 0) {
        return status;
    }
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; ++i) {
        ek_run_t other = {nowhere[i]};
        if (step(&other) != EK_STATE || other.next != nowhere[i]) {
            return 5; /* a cursor of another model */
        }
    }
    for (uint32_t n = 0;; ++n) {
        uint8_t *x = input(&in_bytes);
        if (fread(x, 1, in_bytes, stdin) != in_bytes) {
            return 0;
        }
        if (n % 2u != 0u) {
#ifdef EK_YIELD_HOOK
            yields = 0;
            whole();
            if (yields + 1u != EK_MODEL_CALLS || wrong != 0u) {
                return 6;
            }
#else
            whole();
#endif
        } else {
            for (uint32_t i = 1; i < EK_MODEL_CALLS; ++i) {
                if (step(&run) != EK_MORE || run.next != i) {
                    return 7;
                }
            }
            if (step(&run) != EK_OK || run.next != 0u) {
                return 8;
            }
        }
        const void *y = output(&out_bytes);
        fwrite(y, 1, out_bytes, stdout);
    }
}
