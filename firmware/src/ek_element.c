/* ek_element.c - element by element operators that take many instructions: docs/SPEC.md. */
#include "ek_element.h"

/* Calls instead of their text each time. */
EK_SMALL static int32_t high(int32_t a, int32_t b) { return ek_srdhm(a, b); }
EK_SMALL static int32_t multiply(int32_t x, int32_t multiplier, int32_t shift)
{
    return ek_multiply(x, multiplier, shift);
}

EK_SMALL static int32_t saturating_left(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * (INT64_C(1) << bits);
    if (wide > INT32_MAX) {
        return INT32_MAX;
    }
    return wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* Leading zeros of a number that is not 0. Armv6-M has no instruction for it, only a library call. */
#if defined(__ARM_ARCH_6M__)
EK_SMALL static int32_t leading_zeros(uint32_t x)
{
    int32_t n = 0;
    while (n < 31 && (x & 0x80000000u) == 0u) {
        x <<= 1;
        ++n;
    }
    return n;
}
#else
EK_INLINE int32_t leading_zeros(uint32_t x) { return __builtin_clz(x); }
#endif

int32_t ek_element_quotient(int32_t a, int32_t b, int32_t multiplier, int32_t shift)
{
    if (b == 0) {
        return a > 0 ? 1 << 20 : (a < 0 ? -(1 << 20) : 0);
    }
    if (b < 0) {
        a = -a;
        b = -b;
    }
    const int32_t zeros = leading_zeros((uint32_t)b);
    const uint32_t rest = ((uint32_t)b << zeros) - 0x80000000u;
    const int32_t inverse = ek_softmax_reciprocal((int32_t)rest);
    const uint32_t magnitude = (uint32_t)(a < 0 ? -a - 1 : a);
    const int32_t headroom = magnitude == 0u ? 31 : leading_zeros(magnitude) - 1;
    const int32_t moved = (int32_t)((uint32_t)a << headroom);
    const int32_t product = high(high(moved, inverse), multiplier);
    const int32_t left = shift - (31 - zeros) - headroom;
    if (left > 0) {
        return saturating_left(product, ek_min(left, 31));
    }
    return left < -31 ? 0 : ek_rounding_shift(product, -left);
}

/* log2 of 1 .. 2^17 - 1 with 14 fractional bits. */
EK_SMALL static int32_t log2_of(int32_t v, const int32_t *table)
{
    const int32_t exponent = 31 - leading_zeros((uint32_t)v);
    const int32_t mantissa = (int32_t)(((uint32_t)v << 16) >> exponent) & 0xFFFF;
    const int32_t base = table[mantissa >> 8], next = table[(mantissa >> 8) + 1];
    return exponent * (1 << 14) + base + (((next - base) * (mantissa & 0xFF) + 128) >> 8);
}

/* 2^power of 16 fractional bits as an integer, at most 2^21. */
EK_SMALL static int32_t exp2_of(int32_t power, const int32_t *table)
{
    const int32_t whole = power >> 16, rest = power & 0xFFFF;
    const int32_t base = table[rest >> 8], next = table[(rest >> 8) + 1];
    const int32_t mantissa = base + (((next - base) * (rest & 0xFF) + 128) >> 8);
    return ek_rounding_shift(mantissa, ek_min(ek_max(20 - whole, 0), 31));
}

int32_t ek_element_power(int32_t a, int32_t b, const int32_t *tables, const ek_element_power_t *p)
{
    const int32_t *exp2_table = tables + 257;
    if (b == 0) {
        return exp2_of(-p->log_out, exp2_table);
    }
    if (a <= 0) {
        return b > 0 ? 0 : 1 << 20;
    }
    const int64_t product = (int64_t)(log2_of(a, tables) + p->log_scale) * b;
    const int64_t half = (INT64_C(1) << p->right) >> 1;
    const int64_t moved = (product + half) >> p->right;
    const int32_t limited = moved > p->limit ? p->limit
                            : moved < -p->limit ? -p->limit : (int32_t)moved;
    return exp2_of(multiply(limited, p->multiplier, p->shift) - p->log_out, exp2_table);
}
