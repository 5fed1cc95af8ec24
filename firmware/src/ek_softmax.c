/* ek_softmax.c - the fixed-point reciprocal behind softmax; docs/SPEC.md has the derivation. */
#include "ek_kernel.h"

/* At most 31, so that a sum of 0, which only a corrupted table can give, shifts by what C allows. */
static int32_t leading_zeros(uint32_t x)
{
    int32_t n = 0;
    while (n < 31 && (x & 0x80000000u) == 0u) {
        x <<= 1;
        ++n;
    }
    return n;
}

static int32_t saturating_left(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * (INT64_C(1) << bits);
    if (wide > INT32_MAX) {
        return INT32_MAX;
    }
    return wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* 1 / (1 + x) for x in [0, 1) with 31 fractional bits: three Newton-Raphson steps. */
static int32_t reciprocal_of_one_plus(int32_t x)
{
    const int32_t constant_48_over_17 = 1515870810;     /* 29 fractional bits */
    const int32_t constant_neg_32_over_17 = -1010580540;
    const int32_t one = INT32_C(1) << 29;
    const int32_t half_denominator = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t y = constant_48_over_17 + ek_srdhm(half_denominator, constant_neg_32_over_17);
    for (int32_t i = 0; i < 3; ++i) {
        const int32_t error = one - ek_srdhm(half_denominator, y);
        y += saturating_left(ek_srdhm(y, error), 2);
    }
    return saturating_left(y, 1);
}

/* 12 integer bits of the sum, 31 of the product, 8 of the result. */
static int32_t right_shift(int32_t sum) { return 12 - leading_zeros((uint32_t)sum) + 31 - 8; }

int32_t ek_softmax_scale(int32_t sum)
{
    if (right_shift(sum) > 31) {
        /* A sum of 512 or more: every probability is below 1/512 and rounds to 0. */
        return 0;
    }
    const uint32_t normalised = (uint32_t)sum << leading_zeros((uint32_t)sum);
    return reciprocal_of_one_plus((int32_t)(normalised - 0x80000000u));
}

int32_t ek_softmax_shift(int32_t sum) { return ek_min(right_shift(sum), 31); }

/* 14 at least: one of the exponentials is that of the largest element, 32762. */
int32_t ek_softmax16_shift(int32_t sum) { return 31 - leading_zeros((uint32_t)sum); }

int32_t ek_softmax16_inverse_at(int32_t sum)
{
    const int32_t zeros = leading_zeros((uint32_t)sum);
    /* 1 in Q1.30 is the leading bit; the table takes x of 1 / (1 + x) from -32768 to 32767. */
    const uint32_t normalised = zeros > 0 ? (uint32_t)sum << (zeros - 1) : 0u;
    const int32_t x = (int32_t)((normalised + (1u << 13)) >> 14) - (1 << 15) - (1 << 16);
    return ek_min(ek_max(x, -32768), 32767);
}
