/* ek_tile.h - inner products of the portable kernels, four at a time.
 *
 * Rows of `taps` elements lie one after the other in x and in w. Each result is added to `acc`, row
 * by row of x. Without the DSP extension a load costs as much as a multiplication, so every element
 * that is loaded meets two others, or four. */
#ifndef EK_TILE_H
#define EK_TILE_H

#include <stdint.h>

/* Two rows of x against two of w. */
void ek_tile_2x2(const int8_t *x, const int8_t *w, int32_t taps, int32_t *acc);
void ek_tile_2x2_s16(const int16_t *x, const int8_t *w, int32_t taps, int32_t *acc);
/* One row of x against four of w. */
void ek_tile_1x4(const int8_t *x, const int8_t *w, int32_t taps, int32_t *acc);
void ek_tile_1x4_s16(const int16_t *x, const int8_t *w, int32_t taps, int32_t *acc);

#endif
