/* Faults and the stack: what the start-up code of a CPU provides to, and asks of, the program. */
#ifndef EK_FAULT_H
#define EK_FAULT_H

#include <stdint.h>

#define EK_STACK_PAINT 0xC5C5A3A3u
/* In cfsr, no bit of Armv7-M's: the accelerator stopped with an error, hfsr is its STATUS. */
#define EK_FAULT_ACCELERATOR 0x80000000u

typedef struct {
  uint32_t pc, lr; /* 0xFFFFFFFF: unknown, the stack was unusable */
  uint32_t cfsr, hfsr;
  uint32_t address; /* that was accessed; 0xFFFFFFFF: unknown */
  uint32_t sp;
} ek_fault_t;

/* Provided by the program: report a fault; does not return to the faulting code. */
void ek_fault(const ek_fault_t *fault);

uint32_t ek_stack_bytes(void); /* reserved for the stack */
uint32_t ek_stack_used(void);  /* ever written since reset: the high-water mark */

#endif
