/* The program of a GPU board without its link: what it says of its GPU, three inferences on inputs from
 * standard input, whose outputs it prints in hexadecimal, and times of variants. */
#include "ek_app.h"
#include "ek_app_gpu.h"

#include <stdio.h>

enum { RUNS = 3, VARIANTS = 6, SIZES = 3 };

int main(void)
{
    static ek_app_info_t info;
    uint32_t nbytes = 0u;
    if (ek_app_open(&info) != 0) {
        return 2;
    }
    for (uint32_t i = 0; ek_app_gpu_line(i)[0] != '\0'; ++i) {
        printf("%s\n", ek_app_gpu_line(i));
    }
    for (uint32_t run = 0; run < (uint32_t)RUNS; ++run) {
        uint8_t *input = ek_app_input(0u, &nbytes);
        if (fread(input, 1u, nbytes, stdin) != nbytes) {
            return 2;
        }
        const int32_t status = ek_app_invoke();
        const uint8_t *output = ek_app_output(0u, &nbytes);
        printf("run %ld ", (long)status);
        for (uint32_t i = 0; i < nbytes; ++i) {
            printf("%02x", output[i]);
        }
        printf("\n");
    }
    for (uint32_t layer = 0; layer < info.layers; ++layer) {
        for (uint32_t i = 0; i < (uint32_t)(VARIANTS * SIZES); ++i) {
            const uint8_t size = (uint8_t)(i % SIZES);
            uint32_t detail = 0u;
            uint64_t ns = 0u;
            printf("time %lu\n", (unsigned long)ek_app_gpu_time(layer, i / SIZES, &size, 1u, 1u,
                                                                &detail, &ns));
        }
    }
    return 0;
}
