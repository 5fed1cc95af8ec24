/* ek_float.h - layers that stay in float32: conversions of docs/SPEC.md, "float32 layers".
 *
 * Every product and every sum is rounded by itself, so that all back ends give the same bytes: a
 * compiler must not fuse the two. GCC and clang are told so here, whatever flags a project has.
 */
#ifndef EK_FLOAT_H
#define EK_FLOAT_H

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "ek_kernel.h"

/* scale * (q - zero_point); the difference is exact. */
EK_INLINE float ek_dequantize(int32_t q, int32_t zero_point, float scale)
{
    return (float)(q - zero_point) * scale;
}

EK_INLINE float ek_clampf(float x, float low, float high)
{
    const float y = x < low ? low : x;
    return y > high ? high : y;
}

/* round(x / scale) + zero_point, halves away from zero, limited to low..high. */
EK_INLINE int32_t ek_quantize(float x, float scale, int32_t zero_point, int32_t low, int32_t high)
{
    /* Far beyond any int16, and small enough that the conversions below are exact. */
    const float r = ek_clampf(x / scale, -131072.0f, 131072.0f);
    const int32_t whole = (int32_t)r; /* towards zero */
    const float rest = r - (float)whole;
    const int32_t away = rest >= 0.5f ? 1 : (rest <= -0.5f ? -1 : 0);
    return ek_min(ek_max(whole + away + zero_point, low), high);
}

#endif
