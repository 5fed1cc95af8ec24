/* ek_recurrent.h - what kernels of recurrent layers call: products of a row of weights, sigmoid and
 * tanh of int16 numbers, and gates (docs/SPEC.md, "Recurrent layers").
 *
 * `table` is 256 entries of sigmoid(i / 24) - 1/2 in Q0.16, which fit into int16.
 */
#ifndef EK_RECURRENT_H
#define EK_RECURRENT_H

#include "ek_kernel.h"

#if defined(__ARM_FEATURE_DSP)

EK_INLINE int32_t ek_rec_smlad(int32_t a, int32_t b, int32_t acc)
{
    __asm("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
}
/* Bytes 0 and 2, or 1 and 3, of four int8 as a pair of int16. */
EK_INLINE int32_t ek_rec_even(uint32_t v)
{
    int32_t r;
    __asm("sxtb16 %0, %1" : "=r"(r) : "r"(v));
    return r;
}
EK_INLINE int32_t ek_rec_odd(uint32_t v)
{
    int32_t r;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(v));
    return r;
}
EK_INLINE int32_t ek_rec_lower(uint32_t a, uint32_t b)
{
    int32_t r;
    __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
EK_INLINE int32_t ek_rec_upper(uint32_t a, uint32_t b)
{
    int32_t r;
    __asm("pkhtb %0, %1, %2, asr #16" : "=r"(r) : "r"(b), "r"(a));
    return r;
}

#endif

/* acc + the sum of x[i] * w[i]; it wraps as two's complement does. */
EK_INLINE int32_t ek_rec_dot8(const int8_t *x, const int8_t *w, int32_t count, int32_t acc)
{
    int32_t i = 0;
#if defined(__ARM_FEATURE_DSP)
    for (; i + 4 <= count; i += 4) {
        const uint32_t a = ek_ld_int8x4(x + i), b = ek_ld_int8x4(w + i);
        acc = ek_rec_smlad(ek_rec_even(a), ek_rec_even(b), acc);
        acc = ek_rec_smlad(ek_rec_odd(a), ek_rec_odd(b), acc);
    }
#endif
    for (; i < count; ++i) {
        acc = (int32_t)((uint32_t)acc + (uint32_t)(x[i] * w[i]));
    }
    return acc;
}

EK_INLINE int32_t ek_rec_dot16(const int16_t *x, const int8_t *w, int32_t count, int32_t acc)
{
    int32_t i = 0;
#if defined(__ARM_FEATURE_DSP)
    for (; i + 4 <= count; i += 4) {
        const uint32_t b = ek_ld_int8x4(w + i);
        uint32_t first, second;
        memcpy(&first, x + i, sizeof first);
        memcpy(&second, x + i + 2, sizeof second);
        acc = ek_rec_smlad(ek_rec_lower(first, second), ek_rec_even(b), acc);
        acc = ek_rec_smlad(ek_rec_upper(first, second), ek_rec_odd(b), acc);
    }
#endif
    for (; i < count; ++i) {
        acc = (int32_t)((uint32_t)acc + (uint32_t)(x[i] * w[i]));
    }
    return acc;
}

/* `rows` rows of weights, `stride` apart, at once: acc[k] += the sum of x[i] * w[k * stride + i].
 * `rows` is a constant of at most 4; compilers unroll what counts to it, so that acc is in registers
 * and every x is loaded once. */
EK_INLINE void ek_rec_rows8(const int8_t *x, const int8_t *w, int32_t stride, const int32_t rows,
                            int32_t count, int32_t *acc)
{
    int32_t i = 0;
#if defined(__ARM_FEATURE_DSP)
    for (; i + 4 <= count; i += 4) {
        const uint32_t a = ek_ld_int8x4(x + i);
        const int32_t even = ek_rec_even(a), odd = ek_rec_odd(a);
        for (int32_t k = 0; k < rows; ++k) {
            const uint32_t b = ek_ld_int8x4(w + k * stride + i);
            acc[k] = ek_rec_smlad(even, ek_rec_even(b), acc[k]);
            acc[k] = ek_rec_smlad(odd, ek_rec_odd(b), acc[k]);
        }
    }
#endif
    for (int32_t k = 0; k < rows; ++k) {
        acc[k] = ek_rec_dot8(x + i, w + k * stride + i, count - i, acc[k]);
    }
}

EK_INLINE void ek_rec_rows16(const int16_t *x, const int8_t *w, int32_t stride, const int32_t rows,
                             int32_t count, int32_t *acc)
{
    int32_t i = 0;
#if defined(__ARM_FEATURE_DSP)
    for (; i + 4 <= count; i += 4) {
        uint32_t first, second;
        memcpy(&first, x + i, sizeof first);
        memcpy(&second, x + i + 2, sizeof second);
        const int32_t even = ek_rec_lower(first, second), odd = ek_rec_upper(first, second);
        for (int32_t k = 0; k < rows; ++k) {
            const uint32_t b = ek_ld_int8x4(w + k * stride + i);
            acc[k] = ek_rec_smlad(even, ek_rec_even(b), acc[k]);
            acc[k] = ek_rec_smlad(odd, ek_rec_odd(b), acc[k]);
        }
    }
#endif
    for (int32_t k = 0; k < rows; ++k) {
        acc[k] = ek_rec_dot16(x + i, w + k * stride + i, count - i, acc[k]);
    }
}

/* The same where sums leave 32 bits. */
EK_INLINE int64_t ek_rec_dot16_wide(const int16_t *x, const int8_t *w, int32_t count, int64_t acc)
{
    for (int32_t i = 0; i < count; ++i) {
        acc += x[i] * w[i];
    }
    return acc;
}

EK_INLINE void ek_rec_rows16_wide(const int16_t *x, const int8_t *w, int32_t stride,
                                  const int32_t rows, int32_t count, int64_t *acc)
{
    for (int32_t k = 0; k < rows; ++k) {
        acc[k] = ek_rec_dot16_wide(x, w + k * stride, count, acc[k]);
    }
}

/* acc * multiplier / 2^right, halves up: the requantization of 64-bit accumulators. */
EK_INLINE int64_t ek_rec_reduced(int64_t acc, int32_t multiplier, int32_t right)
{
    return (acc * multiplier + (INT64_C(1) << (right - 1))) >> right;
}

/* ek_multiply for multipliers that are not negative and a right shift. */
EK_INLINE int32_t ek_rec_right(int32_t x, int32_t multiplier, int32_t right)
{
    return ek_rounding_shift(ek_high_product(x, multiplier), right);
}

EK_INLINE int32_t ek_rec_clamp(int32_t x) { return ek_min(ek_max(x, -32768), 32767); }

EK_INLINE int32_t ek_rec_clamp_wide(int64_t x)
{
    return x < -32768 ? -32768 : x > 32767 ? 32767 : (int32_t)x;
}

/* The table, linearly between entries: bits of `at` below `bits` are the place in an interval. */
EK_INLINE int32_t ek_rec_between(const int16_t *table, uint32_t at, int32_t bits)
{
    const uint32_t place = at >> bits, rest = at & ((UINT32_C(1) << bits) - 1u);
    const int32_t low = table[place], high = table[place + 1u];
    return ((32768 + low) << bits) + (int32_t)rest * (high - low);
}

/* The sigmoid of v / (3 * 2^12) in Q0.15; v is three times a Q3.12 number. */
EK_INLINE int32_t ek_rec_sigmoid3(const int16_t *table, int32_t v)
{
    const uint32_t at = (uint32_t)(v < 0 ? -v : v);
    const int32_t y = at >> 9 >= 255u ? 32767 << 10 : ek_rec_between(table, at, 9);
    return (v >= 0 ? y + 512 : (INT32_C(1) << 25) - y + 511) >> 10;
}

EK_INLINE int32_t ek_rec_sigmoid(const int16_t *table, int32_t x)
{
    return ek_rec_sigmoid3(table, 3 * x);
}

/* tanh of v / (3 * 2^12) in Q0.15; v is three times a Q3.12 number. */
EK_INLINE int32_t ek_rec_tanh3(const int16_t *table, int32_t v)
{
    const uint32_t at = (uint32_t)(v < 0 ? -v : v);
    const int32_t y = at >> 8 >= 255u ? 65535 << 8 : ek_rec_between(table, at, 8);
    return (v >= 0 ? y - 8388608 + 128 : -y + 8388608 + 127) >> 8;
}

EK_INLINE int32_t ek_rec_tanh(const int16_t *table, int32_t x) { return ek_rec_tanh3(table, 3 * x); }

#endif
