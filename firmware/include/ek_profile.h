/* Time stamps at the edges of layers; nothing at all in builds without EK_PROFILE. */
#ifndef EK_PROFILE_H
#define EK_PROFILE_H

#include <stdint.h>

#ifdef EK_PROFILE
/* Edge 0 is before the first layer, edge i after layer i - 1. Edges past EK_MAX_LAYERS are lost. */
#ifdef __cplusplus
extern "C" {
#endif
void ek_profile_edge(uint32_t edge);
/* Edge `edge` is `ticks` after the one before, whenever that is called. */
void ek_profile_place(uint32_t edge, uint64_t ticks);
/* The accelerator's counters begin anew. */
void ek_profile_stream(void);
#ifdef __cplusplus
}
#endif
#define EK_EDGE(i) ek_profile_edge(i)
#define EK_STREAM_STARTS() ek_profile_stream()
#else
#define EK_EDGE(i) ((void)0)
#define EK_STREAM_STARTS() ((void)0)
#endif

#endif
