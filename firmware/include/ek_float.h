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

#include <string.h>

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

/* e**x within 2 units in the last place, x limited to [-87, 88]: 2**n times a series of x - n log 2. */
EK_INLINE float ek_expf(float x)
{
    const float v = ek_clampf(x, -87.0f, 88.0f);
    const float scaled = v * 0x1.715476p+0f;
    const int32_t n = (int32_t)(scaled + (scaled < 0.0f ? -0.5f : 0.5f)); /* towards zero */
    const float k = (float)n;
    const float r = (v - k * 0x1.63p-1f) - k * -0x1.bd0106p-13f;
    float y = 0x1.a01a02p-13f;
    y = y * r + 0x1.6c16c2p-10f;
    y = y * r + 0x1.111112p-7f;
    y = y * r + 0x1.555556p-5f;
    y = y * r + 0x1.555556p-3f;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

EK_INLINE float ek_sigmoidf(float x)
{
    return 1.0f / (1.0f + ek_expf(-x));
}

#endif
