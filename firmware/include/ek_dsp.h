/* ek_dsp.h - the arm_dsp family's inner functions: Armv7E-M / Armv8-M DSP instructions, and the same
 * meaning in portable C, so that the very same generated kernels run on a host under sanitizers.
 */
#ifndef EK_DSP_H
#define EK_DSP_H

#include "ek_kernel.h"

/* Two int16 in one word, the lower-addressed one in the lower half. */
typedef int32_t ek_int16x2;
EK_INLINE ek_int16x2 ek_ld_int16x2(const int16_t *p)
{
    ek_int16x2 v;
    memcpy(&v, p, sizeof v);
    return v;
}
EK_INLINE void ek_st_int16x2(int16_t *p, ek_int16x2 v) { memcpy(p, &v, sizeof v); }

#if defined(__ARM_FEATURE_DSP)

EK_INLINE int32_t ek_smlad(ek_int16x2 a, ek_int16x2 b, int32_t acc)
{
    int32_t r;
    __asm("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}
EK_INLINE int32_t ek_smmulr(int32_t a, int32_t b)
{
    int32_t r;
    __asm("smmulr %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
EK_INLINE int32_t ek_smmlar(int32_t a, int32_t b, int32_t acc)
{
    int32_t r;
    __asm("smmlar %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}
EK_INLINE int8_t ek_ssat8(int32_t x)
{
    int32_t r;
    __asm("ssat %0, #8, %1" : "=r"(r) : "r"(x));
    return (int8_t)r;
}
EK_INLINE int32_t ek_add_sign(int32_t x)
{
    int32_t r;
    __asm("add %0, %1, %1, asr #31" : "=r"(r) : "r"(x));
    return r;
}
EK_INLINE int16_t ek_ssat16(int32_t x)
{
    int32_t r;
    __asm("ssat %0, #16, %1" : "=r"(r) : "r"(x));
    return (int16_t)r;
}
/* (2*a0, 2*a2) and (2*a1, 2*a3) as int16 pairs. */
EK_INLINE void ek_pack4(const int8_t *a, int16_t *pairs)
{
    uint32_t even, odd;
    const uint32_t v = ek_ld_int8x4(a);
    __asm("sxtb16 %0, %1" : "=r"(even) : "r"(v));
    __asm("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(v));
    __asm("sadd16 %0, %1, %1" : "=r"(even) : "r"(even));
    __asm("sadd16 %0, %1, %1" : "=r"(odd) : "r"(odd));
    memcpy(pairs, &even, sizeof even);
    memcpy(pairs + 2, &odd, sizeof odd);
}

#else

EK_INLINE int32_t ek_smlad(ek_int16x2 a, ek_int16x2 b, int32_t acc)
{
    const int32_t low = (int32_t)(int16_t)((uint32_t)a & 0xffffu) * (int16_t)((uint32_t)b & 0xffffu);
    const int32_t high = (a >> 16) * (b >> 16);
    return (int32_t)((uint32_t)acc + (uint32_t)low + (uint32_t)high);
}
EK_INLINE int32_t ek_smmulr(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + INT64_C(0x80000000)) >> 32);
}
EK_INLINE int32_t ek_smmlar(int32_t a, int32_t b, int32_t acc)
{
    return (int32_t)((uint32_t)acc + (uint32_t)ek_smmulr(a, b));
}
EK_INLINE int8_t ek_ssat8(int32_t x) { return ek_clamp8(x, -128, 127); }
EK_INLINE int16_t ek_ssat16(int32_t x) { return ek_clamp16(x, -32768, 32767); }
EK_INLINE int32_t ek_add_sign(int32_t x) { return x + (x >> 31); }
EK_INLINE void ek_pack4(const int8_t *a, int16_t *pairs)
{
    pairs[0] = (int16_t)(2 * a[0]);
    pairs[1] = (int16_t)(2 * a[2]);
    pairs[2] = (int16_t)(2 * a[1]);
    pairs[3] = (int16_t)(2 * a[3]);
}

#endif

/* Requantization in three or four instructions, exact (DESIGN "Cheap requantization") for
 * |acc| < 2^30 and a right shift e of 2..30: acc2 = 2 * acc, power = 2^(32 - e). The result is not
 * saturated yet. */
EK_INLINE int32_t ek_rescale(int32_t acc2, int32_t multiplier, int32_t power, int32_t zero_point)
{
    return ek_smmlar(ek_add_sign(ek_smmulr(acc2, multiplier)), power, zero_point);
}
/* The same where everything below the zero point is clamped away anyway: no sign fix is needed. */
EK_INLINE int32_t ek_rescale_relu(int32_t acc2, int32_t multiplier, int32_t power,
                                  int32_t zero_point)
{
    return ek_smmlar(ek_smmulr(acc2, multiplier), power, zero_point);
}

/* acc[0..4] += 5 pixels x 1 channel; acc[0..3] += 1 pixel x 4 channels: `steps` groups of four
 * int8 weights against int16 pairs as ek_pack4 writes them. Layouts: codegen/tensor_intrinsics.py. All
 * pointers are word-aligned. */
void ek_dot_5x1(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc);
void ek_dot_1x4(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc);

/* The same with four-bit weights, eight to a word: byte j has weight j in its lower and weight 4 + j
 * in its upper half. A step is eight weights. The accumulators are below 2^27 in magnitude, since the
 * products are summed with weights times 16. */
void ek_dot_5x1_w4(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc);
void ek_dot_1x4_w4(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc);

#endif
