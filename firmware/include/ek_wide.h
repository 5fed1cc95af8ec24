/* ek_wide.h - requantization of 64-bit accumulators (SPEC "matmul"). */
#ifndef EK_WIDE_H
#define EK_WIDE_H

#include "ek_kernel.h"

/* |acc| < 2^47, multiplier below 2^15, shift 8 to 46 to the right; halves round up. */
EK_INLINE int32_t ek_wide_requantize(int64_t acc, int32_t multiplier, int32_t shift,
                                     int32_t zero_point, int32_t low, int32_t high)
{
    const int64_t y = ((acc * multiplier + (INT64_C(1) << (shift - 1))) >> shift) + zero_point;
    if (y > high) {
        return high;
    }
    return y < low ? low : (int32_t)y;
}

#endif
