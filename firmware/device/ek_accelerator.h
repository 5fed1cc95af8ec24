/* The accelerator as the device program sees it: its counters layer by layer. */
#ifndef EK_ACCELERATOR_H
#define EK_ACCELERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "ek_link.h"

/* Note the counters at an edge (ek_profile.h). */
void ek_accelerator_edge(uint32_t edge);
/* What they counted in `layers` layers of the last run. Payload: u16 first. Answer: u16 first, then
 * of each of as many layers as fit u32 STEPS, WAITED, MOVED, STALLED. False: the request is refused
 * for what `why` says. */
bool ek_accelerator_answer(const ek_request_t *request, uint32_t layers, uint8_t *why);

#endif
