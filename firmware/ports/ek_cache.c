/* Instruction and data cache of a Cortex-M7 (Armv7-M Architecture Reference Manual, B2.2). */
#include "ek_board.h"
#include "ek_register.h"

#define CCR EK_REG(0xE000ED14u)
#define CCSIDR EK_REG(0xE000ED80u)
#define CSSELR EK_REG(0xE000ED84u)
#define ICIALLU EK_REG(0xE000EF50u)
#define DCISW EK_REG(0xE000EF60u) /* invalidates a line of data, by set and way */

enum { CCR_DC = 1 << 16, CCR_IC = 1 << 17 };

static void barrier(void) { __asm volatile("dsb\n isb" ::: "memory"); }

/* After power-up they hold anything. */
void ek_caches_on(void) {
  uint32_t size, sets, ways, way_shift;
  ICIALLU = 0;
  CSSELR = 0; /* level 1, data */
  barrier();
  size = CCSIDR;
  sets = size >> 13 & 0x7FFFu; /* each one less than there are */
  ways = size >> 3 & 0x3FFu;
  way_shift = ways != 0 ? (uint32_t)__builtin_clz(ways) : 0;
  for (uint32_t set = 0; set <= sets; set++) {
    for (uint32_t way = 0; way <= ways; way++) {
      DCISW = way << way_shift | set << ((size & 7u) + 4u);
    }
  }
  barrier();
  CCR |= CCR_IC | CCR_DC;
  barrier();
}
