/* Caches of a Linux process: line by line, what it may do to its own memory. */
#include "ek_linux.h"
#include "ek_port.h"
#include "ek_process.h"

/* Addresses that the linker defines. */
extern const uint8_t __text_start[], __text_end[], __constants_start[], __constants_end[];
extern const uint8_t __zeros_start[], __zeros_end[];

#if defined(__x86_64__)
/* Intel SDM, CLFLUSH: from all levels, code caches included. */
static void empty(const uint8_t *from, const uint8_t *to) {
  enum { LINE = 64 };
  for (; from < to; from += LINE) __asm volatile("clflush (%0)" ::"r"(from) : "memory");
  __asm volatile("mfence" ::: "memory");
}
#elif defined(__aarch64__)
/* Arm ARM, DC CIVAC and IC IVAU, which Linux allows; CTR_EL0 has log2 of the smallest lines. */
static void empty(const uint8_t *from, const uint8_t *to) {
  uintptr_t ctr, data, code;
  __asm volatile("mrs %0, ctr_el0" : "=r"(ctr));
  data = (uintptr_t)4 << (ctr >> 16 & 15u);
  code = (uintptr_t)4 << (ctr & 15u);
  for (uintptr_t at = (uintptr_t)from & ~(data - 1u); at < (uintptr_t)to; at += data) {
    __asm volatile("dc civac, %0" ::"r"(at) : "memory");
  }
  __asm volatile("dsb ish" ::: "memory");
  for (uintptr_t at = (uintptr_t)from & ~(code - 1u); at < (uintptr_t)to; at += code) {
    __asm volatile("ic ivau, %0" ::"r"(at) : "memory");
  }
  __asm volatile("dsb ish\n isb" ::: "memory");
}
#endif

#if defined(__arm__)
/* Processes may not empty data caches: the kernel's call cleans them, and empties the code cache. */
uint32_t ek_port_cold(void) {
  enum { SYS_CACHEFLUSH = 0xF0002 };
  (void)ek_syscall(SYS_CACHEFLUSH, (intptr_t)__text_start, (intptr_t)__text_end, 0, 0);
  return EK_COLD_CODE;
}
#else
uint32_t ek_port_cold(void) {
  const uint8_t *guard, *beyond;
  ek_guard_page(&guard, &beyond);
  empty(__text_start, __text_end);
  empty(__constants_start, __constants_end);
  empty(__zeros_start, guard);
  empty(beyond, __zeros_end);
  return EK_COLD_CODE | EK_COLD_DATA;
}
#endif
