/* Start-up of a RISC-V in C: stack paint, .data and .bss, traps. */
#include <stdint.h>

#include "ek_fault.h"

/* Addresses that the linker script defines. */
extern uint32_t __stack_start[], __stack_end[], __data_load[], __data_start[], __data_end[];
extern uint32_t __bss_start[], __bss_end[];

int main(void);
void ek_start(uint32_t *top);
void ek_trap(uint32_t sp, uint32_t ra, uint32_t cause, uint32_t pc, uint32_t value);

void ek_start(uint32_t *top) {
  /* volatile: a loop turned into memset would paint over memset's own frame. */
  volatile uint32_t *to;
  const volatile uint32_t *from = __data_load;
  /* What this function has pushed already stays. */
  enum { FRAME_WORDS = 16 };
  for (to = __stack_start; to < top - FRAME_WORDS; to++) *to = EK_STACK_PAINT;
  for (to = __data_start; to < __data_end; to++) *to = *from++;
  for (to = __bss_start; to < __bss_end; to++) *to = 0;
  (void)main();
  for (;;) {
  }
}

uint32_t ek_stack_bytes(void) { return (uint32_t)((__stack_end - __stack_start) * 4); }

uint32_t ek_stack_used(void) {
  const volatile uint32_t *word = __stack_start;
  while (word < __stack_end && *word == EK_STACK_PAINT) word++;
  return (uint32_t)((__stack_end - word) * 4);
}

/* The kinds of fault that the link protocol knows are the bits of Armv7-M's CFSR. */
static uint32_t kind_of(uint32_t cause, uint32_t value) {
  enum { BELOW = 65536 };
  uintptr_t stack = (uintptr_t)__stack_start;
  switch (cause) {
    case 0: /* instruction address misaligned */
      return 1u << 17;
    case 1: /* instruction access fault */
      return 1u << 8;
    case 2: /* illegal instruction */
      return 1u << 16;
    case 4: /* load address misaligned */
    case 6: /* store address misaligned */
      return 1u << 24;
    case 5: /* load access fault */
    case 7: /* store access fault */
      return value < stack && value >= stack - BELOW ? 1u << 12 : 1u << 9;
    default:
      return 0;
  }
}

void ek_trap(uint32_t sp, uint32_t ra, uint32_t cause, uint32_t pc, uint32_t value) {
  ek_fault_t fault;
  fault.pc = pc;
  fault.lr = ra;
  fault.cfsr = kind_of(cause, value);
  fault.hfsr = cause;
  fault.address = cause >= 4u && cause <= 7u ? value : 0xFFFFFFFFu;
  fault.sp = sp;
  ek_fault(&fault);
  for (;;) {
  }
}
