/* The best free-running counter of a board, extended to 64 bits. */
#ifndef EK_COUNTER_H
#define EK_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  const char *name; /* "dwt", "cmsdk-timer", "systick", "mcycle", "mpccr", "ccount", a port's, "none" */
  uint32_t hz;      /* ticks per second */
  uint32_t mask;    /* bits that the hardware counts, or that are made of it with interrupts */
  uint32_t overhead; /* ticks of one ek_counter_now() */
  uint32_t blind_mask; /* bits that it has while interrupts are off */
} ek_counter_t;

/* Start the first counter that works, of those that the board was built with (EK_COUNTER_*). */
void ek_counter_open(ek_counter_t *counter);

/* Ticks since ek_counter_open, without the pauses that ek_counter_restart ended. Must be called more
 * often than half the counter's range; where it was not, or where the counter ran backwards or
 * wrapped at fewer bits than it says, ek_counter_failed tells. */
uint64_t ek_counter_now(void);

/* Go on from here after a pause of any length, which is not counted; forgets a failure. */
void ek_counter_restart(void);
bool ek_counter_failed(void);

/* From now on interrupts are off (or on again): count with blind_mask (or mask). A pause, too. */
void ek_counter_blind(bool on);

/* Provided by ports that have counters of their own (EK_COUNTER_PORT). Opening fills in name, hz and
 * mask and returns 0 where there is none; ticks have 64 bits and never wrap. */
int ek_port_counter_open(ek_counter_t *counter);
uint64_t ek_port_counter_now(void);

#endif
