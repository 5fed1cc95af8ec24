/* Defaults for ports that offer nothing to measurements. */
#include "ek_port.h"

__attribute__((weak)) uint32_t ek_port_cold(void) { return EK_COLD_UNKNOWN; }

__attribute__((weak)) bool ek_port_interrupts_off(uint32_t *state) {
  *state = 0;
  return false;
}

__attribute__((weak)) void ek_port_interrupts_restore(uint32_t state) { (void)state; }
