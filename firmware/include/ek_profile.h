/* Time stamps at the edges of layers; nothing at all in builds without EK_PROFILE. */
#ifndef EK_PROFILE_H
#define EK_PROFILE_H

#include <stdint.h>

#ifdef EK_PROFILE
/* Edge 0 is before the first layer, edge i after layer i - 1. Edges past EK_MAX_LAYERS are lost. */
void ek_profile_edge(uint32_t edge);
#define EK_EDGE(i) ek_profile_edge(i)
#else
#define EK_EDGE(i) ((void)0)
#endif

#endif
