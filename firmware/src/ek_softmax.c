/* ek_softmax.c - the fixed-point reciprocal behind softmax; docs/SPEC.md has the derivation. */
#include "ek_kernel.h"

/* A call of ek_srdhm instead of its text each time. */
EK_SMALL static int32_t high(int32_t a, int32_t b) { return ek_srdhm(a, b); }

/* At most 31, so that a sum of 0, which only a corrupted table can give, shifts by what C allows. */
#if defined(__ARM_FEATURE_CLZ)
EK_INLINE int32_t leading_zeros(uint32_t x) { return __builtin_clz(x | 1u); }
#else
EK_SMALL static int32_t leading_zeros(uint32_t x)
{
    int32_t n = 0;
    while (n < 31 && (x & 0x80000000u) == 0u) {
        x <<= 1;
        ++n;
    }
    return n;
}
#endif

EK_SMALL static int32_t saturating_left(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * (INT64_C(1) << bits);
    if (wide > INT32_MAX) {
        return INT32_MAX;
    }
    return wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* 1 / (1 + x) for x in [0, 1) with 31 fractional bits: three Newton-Raphson steps. */
EK_SMALL int32_t ek_softmax_reciprocal(int32_t x)
{
    const int32_t constant_48_over_17 = 1515870810;     /* 29 fractional bits */
    const int32_t constant_neg_32_over_17 = -1010580540;
    const int32_t one = INT32_C(1) << 29;
    const int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t y = constant_48_over_17 + high(half_denominator, constant_neg_32_over_17);
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t error = one - high(half_denominator, y);
        y += saturating_left(high(y, error), 2);
    }
    return saturating_left(y, 1);
}

/* exp(a) in Q0.31 of a <= 0 with 5 integer bits, as gemmlowp has it (SPEC "softmax"). */
EK_SMALL static int32_t exp_of_negative(int32_t a)
{
    static const int32_t of_powers[7] = {1672461947, 1302514674, 790015084, 290630308,
                                         39332535,   720401,     242}; /* exp(-2^k), k = -2..4 */
    const int32_t quarter = INT32_C(1) << 24, at_eighth = 1895147668, third = 715827883;
    const int32_t rest = (a & (quarter - 1)) - quarter;
    const int32_t x = rest * 32 + (INT32_C(1) << 28);
    const int32_t x2 = high(x, x);
    const int32_t x3 = high(x2, x);
    const int32_t x4_over_4 = ek_rounding_shift(high(x2, x2), 2);
    const int32_t higher = ek_rounding_shift(high(x4_over_4 + x3, third) + x2, 1);
    int32_t y = at_eighth + high(at_eighth, x + higher);
    const int32_t remainder = rest - a;
    for (int32_t k = 0; k < 7; ++k) {
        if (((uint32_t)remainder & (UINT32_C(1) << (24 + k))) != 0u) {
            y = high(y, of_powers[k]);
        }
    }
    return a == 0 ? INT32_MAX : y;
}

EK_SMALL int32_t ek_softmax_exp(int32_t difference, int32_t multiplier, int32_t shift, int32_t radius)
{
    if (difference > radius) {
        return 0;
    }
    return exp_of_negative(high((int32_t)((uint32_t)-difference << shift), multiplier));
}

/* 12 integer bits of the sum, 31 of the product, 8 of the result. */
EK_SMALL static int32_t right_shift(int32_t sum) { return 12 - leading_zeros((uint32_t)sum) + 31 - 8; }

EK_SMALL int32_t ek_softmax_scale(int32_t sum)
{
    if (right_shift(sum) > 31) {
        /* A sum of 512 or more: every probability is below 1/512 and rounds to 0. */
        return 0;
    }
    const uint32_t normalised = (uint32_t)sum << leading_zeros((uint32_t)sum);
    return ek_softmax_reciprocal((int32_t)(normalised - 0x80000000u));
}

EK_SMALL int32_t ek_softmax_shift(int32_t sum) { return ek_min(right_shift(sum), 31); }

/* 14 at least: one of the exponentials is that of the largest element, 32762. */
EK_SMALL int32_t ek_softmax16_shift(int32_t sum) { return 31 - leading_zeros((uint32_t)sum); }

EK_SMALL int32_t ek_softmax16_inverse_at(int32_t sum)
{
    const int32_t zeros = leading_zeros((uint32_t)sum);
    /* 1 in Q1.30 is the leading bit; the table takes x of 1 / (1 + x) from -32768 to 32767. */
    const uint32_t normalised = zeros > 0 ? (uint32_t)sum << (zeros - 1) : 0u;
    const int32_t x = (int32_t)((normalised + (1u << 13)) >> 14) - (1 << 15) - (1 << 16);
    return ek_min(ek_max(x, -32768), 32767);
}
