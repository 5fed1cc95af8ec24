/* Registers of the accelerator (docs/ACCELERATOR.md), 32 bits each, at EK_NPU_BASE. */
#ifndef EK_NPU_REGISTERS_H
#define EK_NPU_REGISTERS_H

#include <stdint.h>

#define EK_NPU_REG(offset) (*(volatile uint32_t *)(uintptr_t)(EK_NPU_BASE + (offset)))

#define EK_NPU_ID EK_NPU_REG(0x00u)
#define EK_NPU_CONFIG EK_NPU_REG(0x04u)
#define EK_NPU_CONTROL EK_NPU_REG(0x08u)
#define EK_NPU_STATUS EK_NPU_REG(0x0Cu)
#define EK_NPU_STREAM EK_NPU_REG(0x10u)
#define EK_NPU_LENGTH EK_NPU_REG(0x14u)
#define EK_NPU_COMPUTED EK_NPU_REG(0x18u)
#define EK_NPU_TRANSFERRED EK_NPU_REG(0x1Cu)
#define EK_NPU_CYCLES EK_NPU_REG(0x20u)
#define EK_NPU_STEPS EK_NPU_REG(0x24u)
#define EK_NPU_WAITED EK_NPU_REG(0x28u)
#define EK_NPU_MOVED EK_NPU_REG(0x2Cu)
#define EK_NPU_STALLED EK_NPU_REG(0x30u)
#define EK_NPU_REGION(i) EK_NPU_REG(0x40u + 4u * (i))

enum { EK_NPU_CONTROL_START = 1, EK_NPU_CONTROL_RESET = 2 };
enum { EK_NPU_STATUS_BUSY = 1, EK_NPU_STATUS_DONE = 2, EK_NPU_STATUS_ERROR = 4 };
enum { EK_NPU_REGIONS = 8 };
#define EK_NPU_ID_VALUE 0x314E4B45u /* what ID reads: "EKN1" */

#endif
