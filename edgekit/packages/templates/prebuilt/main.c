/* One inference of model '@NAME@' on its golden sample; the status is 0 where every byte is right. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "@NAME@.h"
#include "@NAME@_golden.h"

static @NAME@_t model;

static uint32_t equal_bytes(const uint8_t *found, const uint8_t *wanted, uint32_t nbytes)
{
    uint32_t equal = 0;
    for (uint32_t i = 0; i < nbytes; i++) {
        equal += found[i] == wanted[i] ? 1u : 0u;
    }
    return equal;
}

int main(void)
{
    uint32_t equal = 0;
    const ek_status_t opened = @NAME@_open(&model, sizeof model, NULL);
    if (opened != EK_OK) {
        printf("edgekit: @NAME@_open says %d\n", (int)opened);
        return 2;
    }
#ifdef @UPPER@_GPU
    ek_gpu_summary_t gpu;
    (void)@NAME@_gpu_open(&model, NULL); /* where there is none the CPU computes */
    (void)@NAME@_gpu_summary(&model, &gpu);
    printf("edgekit: %u of %u layers on the GPU: %s\n", (unsigned)gpu.device_layers,
           (unsigned)gpu.layers, gpu.device_layers != 0u ? gpu.name : gpu.why);
#endif
@COPIES@    if (@NAME@_run(&model) != EK_OK) {
        return 3;
    }
@COUNTS@    printf("edgekit: %u of @TOTAL@ bytes equal, program for %s\n", (unsigned)equal,
           @NAME@_target(&model));
    return equal == @TOTAL@u ? 0 : 1;
}
