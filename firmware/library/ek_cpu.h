/* ek_cpu.h - what Linux says that the CPU has. */
#ifndef EK_CPU_H
#define EK_CPU_H

#include <stdint.h>

/* AT_HWCAP of this process and, above its 32 bits, AT_HWCAP2: from /proc/self/auxv, without a C
 * library, under any of them. 0 where that cannot be read. */
uint64_t ek_cpu_hwcap(void);

#endif
