/* ek_element.h - element by element operators in portable C: docs/SPEC.md, "Elementwise operators".
 *
 * Tables are constants of the kernels; what is only a few instructions is inline.
 */
#ifndef EK_ELEMENT_H
#define EK_ELEMENT_H

#include "ek_kernel.h"

/* y + zero_point, clamped; y may be any int32. */
EK_INLINE int32_t ek_element_clamped(int32_t y, int32_t zero_point, int32_t low, int32_t high)
{
    return ek_min(ek_max(y, low - zero_point), high - zero_point) + zero_point;
}

/* A number with `fraction` bits as an integer, halves up. */
EK_INLINE int32_t ek_element_rounded(int32_t y, int32_t fraction, int32_t low, int32_t high)
{
    const int32_t half = (int32_t)((UINT32_C(1) << fraction) >> 1);
    return ek_min(ek_max((y + half) >> fraction, low), high);
}

/* Linear between the 513 entries of a table over all int16. */
EK_INLINE int32_t ek_element_interpolated(const int16_t *table, int32_t x)
{
    const int32_t i = 256 + (x >> 7);
    return ek_interpolate(table[i], table[i + 1], x & 127);
}

/* Linear between the 641 entries of a table that is denser towards 0; n is 0..32768. */
EK_INLINE int32_t ek_element_octaves(const int16_t *table, int32_t n)
{
    int32_t shift = 0;
    while ((n >> shift) > 127) {
        ++shift;
    }
    const int32_t i = (n >> shift) + (shift << 6);
    const int32_t offset = n & ((INT32_C(1) << shift) - 1);
    if (offset == 0) {
        return table[i];
    }
    const int32_t half = (INT32_C(1) << shift) >> 1;
    return table[i] + (((table[i + 1] - table[i]) * offset + half) >> shift);
}

/* Numbers with `fraction` bits, of magnitudes below 2^30, made whole. */
EK_INLINE int32_t ek_element_floor(int32_t x, int32_t fraction) { return x >> fraction; }
EK_INLINE int32_t ek_element_ceil(int32_t x, int32_t fraction) { return -(-x >> fraction); }
EK_INLINE int32_t ek_element_truncated(int32_t x, int32_t fraction)
{
    return x < 0 ? -(-x >> fraction) : x >> fraction;
}
/* Halves to the even neighbour. */
EK_INLINE int32_t ek_element_round(int32_t x, int32_t fraction)
{
    const int32_t one = INT32_C(1) << fraction;
    const int32_t moved = x + (one >> 1);
    const int32_t whole = moved >> fraction;
    return fraction > 0 && (moved & (one - 1)) == 0 ? whole - (whole & 1) : whole;
}

/* Operands on a common scale: (q - zero_point) << left_shift, rescaled; differences fit int32. */
EK_INLINE int32_t ek_element_scaled(int32_t q, int32_t zero_point, int32_t left_shift,
                                    int32_t multiplier, int32_t shift)
{
    return ek_multiply((q - zero_point) * (INT32_C(1) << left_shift), multiplier, shift);
}

/* Products that wrap as two's complement does. */
EK_INLINE int32_t ek_element_product(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a * (uint32_t)b);
}

/* Remainders; 0 where b is 0. -2^31 by -1 leaves nothing, which C does not define. */
EK_INLINE int32_t ek_element_fmod(int32_t a, int32_t b) { return b == 0 || b == -1 ? 0 : a % b; }
EK_INLINE int32_t ek_element_mod(int32_t a, int32_t b)
{
    const int32_t rest = ek_element_fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
/* Quotients of int32, towards zero; 0 where b is 0, and -2^31 by -1 wraps. */
EK_INLINE int32_t ek_element_divide(int32_t a, int32_t b)
{
    if (b == -1) {
        return (int32_t)(0u - (uint32_t)a);
    }
    return b == 0 ? 0 : a / b;
}

/* a / b of quantized numbers without zero points, rescaled: far outside of int16 where b is 0. */
int32_t ek_element_quotient(int32_t a, int32_t b, int32_t multiplier, int32_t shift);

/* Numbers of a power; `edgekit/ops/pow.py` says what they are. */
typedef struct {
    int32_t log_scale, right, limit, multiplier, shift, log_out;
} ek_element_power_t;

/* a to the power of b, of quantized numbers without zero points; `tables` are log2 and 2^x, 257
 * entries each. Far outside of int16 where a is not positive and b is negative. */
int32_t ek_element_power(int32_t a, int32_t b, const int32_t *tables, const ek_element_power_t *p);

#endif
