/* What a CPU's port may offer to measurements. Every function has a weak default in
 * firmware/device/ek_port.c that offers nothing and says so. */
#ifndef EK_PORT_H
#define EK_PORT_H

#include <stdbool.h>
#include <stdint.h>

enum { /* what ek_port_cold found and did */
  EK_COLD_CODE = 1, /* emptied the instruction cache */
  EK_COLD_DATA = 2, /* cleaned and emptied the data cache */
  EK_COLD_OFF = 4,  /* there are caches, and they are switched off */
  EK_COLD_UNKNOWN = 64 /* the port can neither empty caches nor say whether there are any */
};

/* Empty the caches of the core; 0 where it has none. */
uint32_t ek_port_cold(void);

/* Mask all interrupts; false where the port cannot. What `state` gets is for the other function. */
bool ek_port_interrupts_off(uint32_t *state);
void ek_port_interrupts_restore(uint32_t state);

#endif
