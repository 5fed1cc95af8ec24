/* Caches and interrupts of a Cortex-M, for measurements. */
#include "ek_port.h"
#include "ek_register.h"

#if __ARM_ARCH >= 7
/* Armv7-M Architecture Reference Manual, B3.2.4, B2.2.7 and B4.8. */
#define SCB_CCR EK_REG(0xE000ED14u)
#define SCB_CLIDR EK_REG(0xE000ED78u)
#define SCB_CCSIDR EK_REG(0xE000ED80u)
#define SCB_CSSELR EK_REG(0xE000ED84u)
#define SCB_ICIALLU EK_REG(0xE000EF50u)
#define SCB_DCCISW EK_REG(0xE000EF74u)

#define BARRIER() __asm volatile("dsb\n isb" ::: "memory")

/* By set and way: the only operation on all of a data cache that there is. */
static void empty_data(void) {
  uint32_t size, sets, ways, line_shift, way_shift;
  SCB_CSSELR = 0; /* data or unified, level 1 */
  BARRIER();
  size = SCB_CCSIDR;
  sets = size >> 13 & 0x7FFFu; /* each one less than there are */
  ways = size >> 3 & 0x3FFu;
  line_shift = (size & 7u) + 4u;
  way_shift = ways == 0 ? 0 : (uint32_t)__builtin_clz(ways);
  for (uint32_t set = 0; set <= sets; set++) {
    for (uint32_t way = 0; way <= ways; way++) SCB_DCCISW = way << way_shift | set << line_shift;
  }
  BARRIER();
}

uint32_t ek_port_cold(void) {
  enum { DATA_ON = 1 << 16, CODE_ON = 1 << 17 };
  enum { CODE_ONLY = 1, DATA_ONLY = 2, BOTH = 3, UNIFIED = 4 };
  uint32_t kind = SCB_CLIDR & 7u, on = SCB_CCR, done = 0;
  if (kind == 0 || kind > UNIFIED) return 0;
  if (kind != CODE_ONLY && (on & DATA_ON) != 0) {
    empty_data();
    done |= EK_COLD_DATA;
  }
  if (kind != DATA_ONLY && (on & CODE_ON) != 0) {
    BARRIER();
    SCB_ICIALLU = 0;
    BARRIER();
    done |= EK_COLD_CODE;
  }
  return done == 0 ? EK_COLD_OFF : done;
}
#else /* Armv6-M and Armv8-M Baseline have none, nor registers that would say so */
uint32_t ek_port_cold(void) { return 0; }
#endif

bool ek_port_interrupts_off(uint32_t *state) {
  __asm volatile("mrs %0, primask\n cpsid i" : "=r"(*state)::"memory");
  return true;
}

void ek_port_interrupts_restore(uint32_t state) {
  __asm volatile("msr primask, %0\n isb" ::"r"(state) : "memory");
}
