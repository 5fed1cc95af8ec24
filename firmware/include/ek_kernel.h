/* ek_kernel.h - what generated kernels call: the integer arithmetic of docs/SPEC.md in portable C.
 *
 * Right shifts of negative integers are arithmetic on every compiler that edgekit supports (gcc,
 * clang); the tests compare every function here with the numpy reference.
 */
#ifndef EK_KERNEL_H
#define EK_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EK_INLINE static inline __attribute__((always_inline, unused))
/* Functions that take next to nothing of a layer's time: as few bytes as possible. */
#if defined(__clang__)
#define EK_SMALL __attribute__((noinline, minsize))
#else
#define EK_SMALL __attribute__((noinline, optimize("Os")))
#endif

EK_INLINE int32_t ek_min(int32_t a, int32_t b) { return a < b ? a : b; }
EK_INLINE int32_t ek_max(int32_t a, int32_t b) { return a > b ? a : b; }

/* Four int8 in one word, for copies that do not care what they copy. */
typedef uint32_t ek_int8x4;
EK_INLINE ek_int8x4 ek_ld_int8x4(const int8_t *p)
{
    ek_int8x4 v;
    memcpy(&v, p, sizeof v);
    return v;
}
EK_INLINE void ek_st_int8x4(int8_t *p, ek_int8x4 v) { memcpy(p, &v, sizeof v); }
EK_INLINE ek_int8x4 ek_dup_int8x4(int32_t v) { return (uint32_t)(uint8_t)v * 0x01010101u; }

/* The lower or upper of two signed four-bit weights in a byte. */
EK_INLINE int32_t ek_int4(int32_t byte, int32_t upper)
{
    return upper != 0 ? byte >> 4 : (int32_t)((uint32_t)byte << 28) >> 28;
}

/* Armv6-M multiplies 32 bits by 32 into 32 only; a 64-bit product is a library call there. */
#if !defined(EK_SHORT_MULTIPLY) && defined(__ARM_ARCH_6M__)
#define EK_SHORT_MULTIPLY
#endif

/* (a * b + 2^30) >> 31: the doubling high product, halves rounded up. Not for a = b = -2^31. */
EK_INLINE int32_t ek_high_product(int32_t a, int32_t b)
{
#if defined(EK_SHORT_MULTIPLY)
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const uint32_t a_low = (uint32_t)a & 0xFFFFu, b_low = (uint32_t)b & 0xFFFFu;
    /* No sum leaves 32 bits: 32768 * 65535 + 65535 < 2^31. */
    const int32_t middle = a_high * (int32_t)b_low + (int32_t)((a_low * b_low) >> 16);
    const int32_t lower = (int32_t)a_low * b_high + (int32_t)((uint32_t)middle & 0xFFFFu);
    const uint32_t high = (uint32_t)(a_high * b_high + (middle >> 16) + (lower >> 16));
    /* Bits 16 to 31 of the product decide the rounding; what is below cannot carry. */
    return (int32_t)(2u * high + ((((uint32_t)lower & 0xFFFFu) + 0x4000u) >> 15));
#else
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
#endif
}

/* SPEC "Requantization": doubling high multiply, rounded half away from zero for positive and
 * truncated towards zero after a nudge, as gemmlowp defines it; that is half up for either sign. */
EK_INLINE int32_t ek_srdhm(int32_t a, int32_t b)
{
    return (a == b && a == INT32_MIN) ? INT32_MAX : ek_high_product(a, b);
}

/* Divide by 2^exponent, exponent 0..31, rounding half away from zero. */
EK_INLINE int32_t ek_rounding_shift(int32_t x, int32_t exponent)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

/* x * multiplier * 2^(shift - 31) with both roundings; a positive shift goes left and wraps. */
EK_INLINE int32_t ek_multiply(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return ek_rounding_shift(ek_srdhm((int32_t)((uint32_t)x << left), multiplier), right);
}

EK_INLINE int8_t ek_clamp8(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)ek_min(ek_max(x, low), high);
}

EK_INLINE int16_t ek_clamp16(int32_t x, int32_t low, int32_t high)
{
    return (int16_t)ek_min(ek_max(x, low), high);
}

/* The sum wraps as two's complement does; the verifier of accumulators makes that rare. */
EK_INLINE int32_t ek_rescaled(int32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point)
{
    return (int32_t)((uint32_t)ek_multiply(acc, multiplier, shift) + (uint32_t)zero_point);
}

/* The same for |acc| < 2^30, multipliers that are not negative and right shifts of 2 to 30, in a
 * third of the instructions: no saturation, and no shift by nothing. `halved` is the shift less 1. */
EK_INLINE int32_t ek_rescaled_right(int32_t acc, int32_t multiplier, int32_t halved,
                                    int32_t zero_point)
{
    const int32_t high = ek_high_product(acc, multiplier);
    /* Half away from zero is half up after one less for negative numbers. */
    return ((((high + (high >> 31)) >> halved) + 1) >> 1) + zero_point;
}

EK_INLINE int8_t ek_requantize(int32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point,
                               int32_t low, int32_t high)
{
    return ek_clamp8(ek_rescaled(acc, multiplier, shift, zero_point), low, high);
}
EK_INLINE int16_t ek_requantize16(int32_t acc, int32_t multiplier, int32_t shift,
                                  int32_t zero_point, int32_t low, int32_t high)
{
    return ek_clamp16(ek_rescaled(acc, multiplier, shift, zero_point), low, high);
}

/* SPEC "gather": negative indices count from the end, others outside are limited to 0..size-1. */
EK_INLINE int32_t ek_index(int32_t i, int32_t size)
{
    return ek_min(ek_max(i < 0 ? i + size : i, 0), size - 1);
}

/* Average pooling: sum / count, rounded half away from zero. */
EK_INLINE int32_t ek_average(int32_t sum, int32_t count)
{
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

/* Softmax: the reciprocal of a sum of exponentials with 12 integer bits (SPEC "softmax"). */
int32_t ek_softmax_scale(int32_t sum);
/* 1 / (1 + x) for x in [0, 1), 31 fractional bits. */
int32_t ek_softmax_reciprocal(int32_t x);
/* exp of minus a difference 0..255 to the largest element, scaled by multiplier and a left shift. */
int32_t ek_softmax_exp(int32_t difference, int32_t multiplier, int32_t shift, int32_t radius);
int32_t ek_softmax_shift(int32_t sum);

EK_INLINE int8_t ek_softmax_value(int32_t exponential, int32_t scale, int32_t shift)
{
    /* Neither factor is negative and the shift is 4 to 31: half up is half away from zero. */
    const uint32_t share = (uint32_t)ek_high_product(scale, exponential);
    const uint32_t rounded = (share + (UINT32_C(1) << (shift - 1))) >> shift;
    return (int8_t)(ek_min((int32_t)rounded, 255) - 128);
}

/* SPEC "softmax", 16 bits: linear interpolation between two entries of a table, offset 0..127. */
EK_INLINE int32_t ek_interpolate(int32_t entry, int32_t next, int32_t offset)
{
    return entry + (((next - entry) * offset + 64) >> 7);
}
/* Where exp of a difference <= 0 to the largest element lies in its table, -32768..32767. */
EK_INLINE int32_t ek_softmax16_at(int32_t difference, int32_t multiplier, int32_t shift)
{
    const int32_t scaled = ek_multiply(difference, multiplier, shift);
    return ek_min(ek_max(scaled, -65535) + 32767, 32767);
}
/* Where the reciprocal of a sum of exponentials lies, and what the leading zeros leave to shift. */
int32_t ek_softmax16_inverse_at(int32_t sum);
int32_t ek_softmax16_shift(int32_t sum);

EK_INLINE int16_t ek_softmax16_value(int32_t exponential, int32_t scale, int32_t shift)
{
    const int32_t half = (int32_t)((UINT32_C(1) << shift) >> 1);
    return ek_clamp16((exponential * scale + half) >> shift, 0, 32767);
}

#endif
