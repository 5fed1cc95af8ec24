/* ek_norm.h - square roots and logarithms behind normalizations (SPEC "Attention and
 * normalization").
 *
 * Everything here runs once per row or group: few bytes before few instructions. No 64-bit division.
 */
#ifndef EK_NORM_H
#define EK_NORM_H

#include "ek_kernel.h"

#define EK_NORM EK_SMALL static __attribute__((unused))

#if defined(EK_SHORT_MULTIPLY)

/* Cores without a division and with short products: bit by bit. x is 2^62 or more. */
EK_NORM uint32_t ek_norm_floor_sqrt(uint64_t x)
{
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 62; bit != 0u; bit >>= 2) {
        const uint64_t trial = root + bit;
        root >>= 1;
        if (x >= trial) {
            x -= trial;
            root += bit;
        }
    }
    return (uint32_t)root;
}

/* 2^62 / root for root >= 2^31, by long division; at most INT32_MAX. */
EK_NORM int32_t ek_norm_reciprocal(uint32_t root)
{
    uint32_t rest = UINT32_C(1) << 31, quotient = 0;
    if (root == rest) {
        return INT32_MAX;
    }
    for (int32_t i = 0; i < 31; ++i) {
        const uint32_t carry = rest >> 31;
        rest <<= 1;
        quotient <<= 1;
        if (carry != 0u || rest >= root) {
            rest -= root;
            quotient |= 1u;
        }
    }
    return (int32_t)quotient;
}

#else

/* The whole part of the square root of x >= 2^62: sixteen bits one by one, the others by a division
 * that gives them or a little more. */
EK_NORM uint32_t ek_norm_floor_sqrt(uint64_t x)
{
    uint32_t rest = (uint32_t)(x >> 32), root = 0;
    for (uint32_t bit = UINT32_C(1) << 30; bit != 0u; bit >>= 2) {
        const uint32_t trial = root + bit;
        root >>= 1;
        if (rest >= trial) {
            rest -= trial;
            root += bit;
        }
    }
    const uint32_t more = ((rest << 15) | ((uint32_t)x >> 17)) / root;
    root = (root << 16) + (more < 65536u ? more : 65535u);
    while ((uint64_t)root * root > x) {
        --root;
    }
    return root;
}

/* Sixteen bits of a quotient of 48 bits by 32: `rest` < root, followed by 16 zeros. */
EK_INLINE uint32_t ek_norm_digit(uint32_t rest, uint32_t root)
{
    uint32_t digit = rest / (root >> 16);
    uint64_t product = (uint64_t)digit * root;
    while (product > (uint64_t)rest << 16) {
        --digit;
        product -= root;
    }
    return digit;
}

/* 2^62 / root for root >= 2^31, in two digits of sixteen bits; at most INT32_MAX. */
EK_NORM int32_t ek_norm_reciprocal(uint32_t root)
{
    const uint32_t high = ek_norm_digit(UINT32_C(1) << 30, root);
    const uint32_t rest = 0u - high * root; /* 2^46 less that, modulo 2^32 */
    const uint32_t quotient = (high << 16) + ek_norm_digit(rest, root);
    return quotient > (uint32_t)INT32_MAX ? INT32_MAX : (int32_t)quotient;
}

#endif

/* 1 / sqrt(v) as inverse * 2^(pairs - 62) for v >= 1; a v of 0 counts as 1. Returns the inverse. */
EK_NORM int32_t ek_norm_inverse_root(uint64_t v, int32_t *pairs)
{
    v = v != 0u ? v : 1u;
    *pairs = 0;
    for (int32_t step = 16; step != 0; step >>= 1) {
        if (v >> (64 - 2 * step) == 0u) {
            v <<= 2 * step;
            *pairs += step;
        }
    }
    return ek_norm_reciprocal(ek_norm_floor_sqrt(v));
}

/* deviation / sqrt(v) with 22 fractional bits; `right` is 40 less the pairs of the inverse root.
 *
 * A deviation is below 2^right, since the result is below 2^30 and the inverse is 2^30 or more: up
 * to a shift of 31 it can go left first, so that the product's shift is a fixed one. */
EK_INLINE int32_t ek_norm_scaled(int32_t deviation, int32_t inverse, int32_t right)
{
    if (right <= 31) {
        return ek_high_product((int32_t)((uint32_t)deviation << (31 - right)), inverse);
    }
    return (int32_t)(((int64_t)deviation * inverse + (INT64_C(1) << (right - 1))) >> right);
}

/* A normalized number times gamma plus beta. */
EK_INLINE int32_t ek_norm_affine(int32_t x, int32_t gamma, int32_t beta)
{
    const int32_t product = (int32_t)(((int64_t)x * gamma) >> 16);
    return (int32_t)((uint32_t)product + (uint32_t)beta);
}

EK_NORM int32_t ek_norm_left(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * (INT64_C(1) << bits);
    if (wide > INT32_MAX) {
        return INT32_MAX;
    }
    return wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* Leading zeros of a positive number, 32 for 0. */
EK_NORM int32_t ek_norm_zeros(int32_t x)
{
    int32_t n = 32;
    for (uint32_t v = (uint32_t)x; v != 0u; v >>= 1) {
        --n;
    }
    return n;
}

/* 1 / sqrt(x) as a multiplier and a shift of ek_multiply, as TFLite has it: five Newton-Raphson
 * steps from 1 with 28 fractional bits. Returns the multiplier. */
EK_NORM int32_t ek_norm_inverse_sqrt(int32_t x, int32_t *shift)
{
    *shift = 0;
    if (x <= 1) {
        return INT32_MAX;
    }
    int32_t right = 11;
    while (x >= INT32_C(1) << 29) {
        x /= 4;
        ++right;
    }
    const int32_t pairs = (ek_norm_zeros(x) - 1) / 2 - 1;
    right -= pairs;
    x = (int32_t)((uint32_t)x << (2 * pairs));
    const int32_t half = ek_rounding_shift(x >> 1, 1), three_halves = 3 << 27;
    int32_t y = INT32_C(1) << 28;
    for (int32_t i = 0; i < 5; ++i) {
        const int32_t cube = ek_norm_left(ek_srdhm(ek_srdhm(y, y), y), 6);
        y = ek_norm_left(ek_srdhm(three_halves, y) - ek_srdhm(half, cube), 3);
    }
    y = ek_srdhm(y, 1518500250); /* sqrt(2) / 2 */
    if (right < 0) {
        return (int32_t)((uint32_t)y << -right);
    }
    *shift = -right;
    return y;
}

/* The natural logarithm, with 26 fractional bits, of x >= 1 with 19 fractional bits (TFLite's
 * log_x_for_x_greater_than_or_equal_to_1). */
EK_NORM int32_t ek_norm_log(int32_t x)
{
    const int32_t root_half = 1518500250, root4_half = 1805811301, log_2 = 1488522236;
    const int32_t quarter = INT32_C(1) << 23; /* with 25 fractional bits, as powers of two are */
    const int32_t zeros_a = ek_norm_zeros(x);
    const int32_t r_a = ek_norm_left(ek_srdhm(ek_norm_left(x, zeros_a - 1), root_half), 1);
    const int32_t power_a = (12 - zeros_a) * (1 << 25) + quarter;
    const int32_t zeros_b = ek_norm_zeros(ek_srdhm(x, root_half)) - 1;
    const int32_t r_b = ek_norm_left(x, zeros_b);
    const int32_t power_b = (12 - zeros_b) * (1 << 25) - quarter;
    const int32_t r = ek_min(r_a, r_b), power = ek_max(power_a, power_b);
    const int32_t p = (int32_t)(((int64_t)r + root4_half + 1) >> 1);
    const int32_t q = 2 * (r - root4_half);
    const int32_t square = ek_srdhm(q, q);
    const int32_t above = ek_srdhm(q, r) + ek_srdhm(ek_srdhm(q, square), 117049297);
    const int32_t below = ek_srdhm(p, 1057819769 + q + ek_srdhm(127690142, square))
                          + ek_srdhm(638450708, q);
    const int32_t ratio = ek_srdhm(ek_rounding_shift(above, 6), ek_softmax_reciprocal(below));
    return ek_norm_left(ek_srdhm(power, log_2) + ratio, 1);
}

#endif
