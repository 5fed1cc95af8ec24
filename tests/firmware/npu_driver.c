/* The driver on 32 words in the place of registers, all of one content: what a bus reads as where no
 * accelerator is. Argument: that word. Exit status: 3 and STATUS on standard output where the driver
 * says that it failed, 0 where it returns. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t registers[32];
#define EK_NPU_BASE (uintptr_t)registers
#include "ek_npu_driver.c"

void ek_npu_publish(void) {}
void ek_npu_refresh(void) {}

void ek_npu_failed(uint32_t status)
{
    printf("%" PRIu32 "\n", status);
    exit(3);
}

int main(int argc, char **argv)
{
    const uint32_t stream[1] = {0};
    const uint32_t content = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 0u;
    for (int i = 0; i < 32; ++i) {
        registers[i] = content;
    }
    ek_npu_start(stream, 1u, NULL, 0u);
    ek_npu_wait(5u, 5u);
    return 0;
}
