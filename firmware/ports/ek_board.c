#include "ek_board.h"

#include "ek_register.h"

/* Polls before a wait is given up: 4 s at 4 MHz with 16 cycles a poll, more than any oscillator
 * needs to start; 0.1 s at 600 MHz where a poll takes 60 cycles. */
#ifndef EK_STEP_POLLS
#define EK_STEP_POLLS 1000000u
#endif

#if defined(__arm__)
#define BARRIER() __asm volatile("dsb\n isb" ::: "memory")
#else
#define BARRIER() __asm volatile("fence" ::: "memory")
#endif

int32_t ek_steps_take(const ek_step_t *steps, uint32_t count) {
  int32_t status = 0;
  for (uint32_t i = 0; i < count; i++) {
    const ek_step_t *step = &steps[i];
    volatile uint32_t *reg = &EK_REG(step->address & ~3u);
    uint32_t op = step->address & 3u, polls = 0;
    if (op == EK_STEP_WRITE) *reg = step->value;
    if (op == EK_STEP_CHANGE) {
      *reg = (*reg & ~step->mask) | step->value;
      /* A peripheral answers some cycles after its clock was turned on: the read takes them. */
      (void)*reg;
    }
    BARRIER();
    while (op == EK_STEP_WAIT && (*reg & step->mask) != step->value) {
      if (++polls == EK_STEP_POLLS) {
        if (status == 0) status = EK_BOARD_STATUS + (int32_t)i + 1;
        break;
      }
    }
  }
  return status;
}
