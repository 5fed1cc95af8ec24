#ifndef EK_REGISTER_H
#define EK_REGISTER_H

#include <stdint.h>

/* A memory-mapped 32-bit register. */
#define EK_REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

#endif
