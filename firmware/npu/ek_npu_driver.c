/* ek_npu_driver.c - ek_npu.h on the hardware, whose registers are at EK_NPU_BASE. */
#include "ek_npu.h"
#include "ek_npu_registers.h"
#include "ek_profile.h"

void ek_npu_start(const uint32_t *stream, uint32_t words, const ek_npu_region_t *regions,
                  uint32_t count)
{
    if ((EK_NPU_STATUS & (EK_NPU_STATUS_BUSY | EK_NPU_STATUS_ERROR)) != 0) {
        if (EK_NPU_ID != EK_NPU_ID_VALUE) { /* a bus that reads as ones where nothing is */
            ek_npu_failed(0u);
        }
        EK_NPU_CONTROL = EK_NPU_CONTROL_RESET; /* the CPU was reset, the accelerator was not */
    }
    EK_STREAM_STARTS();
    for (uint32_t i = 0; i < count && i < EK_NPU_REGIONS; ++i) {
        EK_NPU_REGION(i) = (uint32_t)(uintptr_t)regions[i].data;
    }
    EK_NPU_STREAM = (uint32_t)(uintptr_t)stream;
    EK_NPU_LENGTH = words;
    ek_npu_publish();
    EK_NPU_CONTROL = EK_NPU_CONTROL_START;
}

void ek_npu_wait(uint32_t computed, uint32_t transferred)
{
    while (EK_NPU_COMPUTED < computed || EK_NPU_TRANSFERRED < transferred) {
        const uint32_t status = EK_NPU_STATUS;
        if ((status & (EK_NPU_STATUS_BUSY | EK_NPU_STATUS_DONE)) == 0) {
            ek_npu_failed(status); /* or it never began: zeros where nothing is */
        }
        if ((status & EK_NPU_STATUS_DONE) != 0) {
            break; /* counts from a bundle, of more commands than the stream has */
        }
    }
    if (transferred != 0) { /* else nothing that was stored is asked for: the cache may stay */
        ek_npu_refresh();
    }
}
