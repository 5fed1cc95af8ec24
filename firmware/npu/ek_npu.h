/* ek_npu.h - what kernels for the accelerator call (docs/ACCELERATOR.md).
 *
 * Two files define these functions: ek_npu_driver.c for the hardware, ek_npu_sim.c where there is
 * none. A firmware links one of them.
 */
#ifndef EK_NPU_H
#define EK_NPU_H

#include <stdint.h>

#include "ek_status.h"

/* Memory that LOAD and STORE of region i reach. A stream only reads from what is constant. */
typedef struct {
    void *data;
    uint32_t nbytes;
} ek_npu_region_t;

/* Start a stream of `words` words and return; it runs beside the CPU. */
void ek_npu_start(const uint32_t *stream, uint32_t words, const ek_npu_region_t *regions,
                  uint32_t count);
/* Wait until the engines have finished so many commands of that stream, or all of them. What those
 * transfers stored can be read. After an error of the hardware: ek_npu_failed, which does not
 * return. */
void ek_npu_wait(uint32_t computed, uint32_t transferred);

/* Whether a stream may run with regions of these sizes: EK_OK or EK_STREAM, and then why. */
ek_status_t ek_npu_check(const uint32_t *stream, uint32_t words, const uint32_t *region_bytes,
                         uint32_t count, uint32_t config, uint32_t *error, uint32_t *command);

/* The driver asks three functions of a port. After ek_npu_publish, memory has what the CPU has
 * written before; after ek_npu_refresh, the CPU reads what memory has. Both are empty where the CPU
 * has no data cache. ek_npu_failed gets STATUS of an accelerator that stopped with an error, 0
 * where none answers at EK_NPU_BASE, and does not return. */
void ek_npu_publish(void);
void ek_npu_refresh(void);
void ek_npu_failed(uint32_t status);

#endif
