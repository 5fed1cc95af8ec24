/* The best free-running counter of a board, extended to 64 bits. */
#ifndef EK_COUNTER_H
#define EK_COUNTER_H

#include <stdint.h>

typedef struct {
  const char *name; /* "dwt", "cmsdk-timer", "systick", "mcycle", or "none" */
  uint32_t hz;      /* ticks per second */
  uint32_t mask;    /* bits that the hardware counts */
  uint32_t overhead; /* ticks of one ek_counter_now() */
} ek_counter_t;

/* Start the first counter that works, of those that the board was built with (EK_COUNTER_*). */
void ek_counter_open(ek_counter_t *counter);

/* Ticks since ek_counter_open. Must be called more often than the counter wraps: 2^32 ticks. */
uint64_t ek_counter_now(void);

#endif
