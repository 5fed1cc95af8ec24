/* ek_neon.h - what kernels for NEON share: C with the intrinsics of arm_neon.h, for Armv7-A and for
 * AArch64. There is no other form: this file is only for compilers of those two.
 */
#ifndef EK_NEON_H
#define EK_NEON_H

#include "ek_kernel.h"

#if !defined(__ARM_NEON)
#error "ek_neon.h: these kernels are for Armv7-A with NEON and for AArch64"
#endif

#include <arm_neon.h>

/* SPEC "Requantization" of four accumulators. VQRDMULH is the doubling high product with halves
 * rounded up, as ek_high_product is; multipliers are not negative, so that nothing saturates. VRSHL
 * rounds halves up where SPEC rounds them away from zero: the same after one is taken from negative
 * numbers. Shifts to the right are negative.
 *
 * "relu": right shifts, clamped at the zero point: what halves of negative numbers become does not
 * matter. "right": all shifts are at least 1 to the right. "any": the rest. */
EK_INLINE int32x4_t ek_n_rescale_relu(int32x4_t acc, int32x4_t multiplier, int32x4_t shift)
{
    return vrshlq_s32(vqrdmulhq_s32(acc, multiplier), shift);
}
EK_INLINE int32x4_t ek_n_rescale_right(int32x4_t acc, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t high = vqrdmulhq_s32(acc, multiplier);
    return vrshlq_s32(vsraq_n_s32(high, high, 31), shift);
}
EK_INLINE int32x4_t ek_n_rescale_any(int32x4_t acc, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t zero = vdupq_n_s32(0), right = vminq_s32(shift, zero);
    const int32x4_t high = vqrdmulhq_s32(vshlq_s32(acc, vmaxq_s32(shift, zero)), multiplier);
    /* A shift of 0 takes nothing away. */
    return vrshlq_s32(vsraq_n_s32(high, vandq_s32(high, right), 31), right);
}

/* Four sums, each of the lanes of one vector. */
EK_INLINE int32x4_t ek_n_sums(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
#if defined(__aarch64__)
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
#else
    const int32x2_t ab = vpadd_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)),
                                   vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
    const int32x2_t cd = vpadd_s32(vpadd_s32(vget_low_s32(c), vget_high_s32(c)),
                                   vpadd_s32(vget_low_s32(d), vget_high_s32(d)));
    return vcombine_s32(ab, cd);
#endif
}

/* Products of 16 pairs of bytes, summed by two in 16 bits: exact where the magnitudes of two weights
 * that meet (bytes i and i + 8) are at most 255 together, as 128 times that fits. */
EK_INLINE int16x8_t ek_n_products(int8x16_t x, int8x16_t w)
{
    return vmlal_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vget_high_s8(w), vget_high_s8(x));
}
/* The same added to such sums, where four weights are at most 255 together. */
EK_INLINE int16x8_t ek_n_more_products(int16x8_t sums, int8x16_t x, int8x16_t w)
{
    sums = vmlal_s8(sums, vget_low_s8(w), vget_low_s8(x));
    return vmlal_s8(sums, vget_high_s8(w), vget_high_s8(x));
}

/* What follows stays behind `sum`: compilers would begin all sums of a tile at once, and then keep
 * them in memory. Nothing is executed for it. */
#define EK_N_IN_ORDER(sum) __asm__ volatile("" : "+w"(sum) : : "memory")

/* Compilers do not know what `pointer` is: they would compute all addresses of a tile before the loop
 * over tiles, and read them from memory in it, where an increment costs nothing. */
#define EK_N_ANEW(pointer) __asm__ volatile("" : "+r"(pointer))

/* Eight results: the zero point is added after narrowing to 16 bits; both saturate. */
EK_INLINE int8x8_t ek_n_narrow(int32x4_t low, int32x4_t high, int16x8_t zero_point)
{
    const int16x8_t both = vcombine_s16(vqmovn_s32(low), vqmovn_s32(high));
    return vqmovn_s16(vqaddq_s16(both, zero_point));
}
EK_INLINE int8x8_t ek_n_clamp(int8x8_t v, int8x8_t low, int8x8_t high)
{
    return vmin_s8(vmax_s8(v, low), high);
}

/* Average pooling: sums / count, rounded half away from zero; `reciprocal` is ceil(2^31 / count) and
 * (|sum| + count / 2) * count below 2^31 (codegen/neon/pools.py says why that is exact). */
EK_INLINE int32x4_t ek_n_divided(int32x4_t sums, int32_t count, uint32_t reciprocal)
{
    const uint32x4_t rounded = vreinterpretq_u32_s32(vaddq_s32(vabsq_s32(sums), vdupq_n_s32(count / 2)));
    const uint32x2_t low = vshrn_n_u64(vmull_n_u32(vget_low_u32(rounded), reciprocal), 31);
    const uint32x2_t high = vshrn_n_u64(vmull_n_u32(vget_high_u32(rounded), reciprocal), 31);
    const int32x4_t sign = vshrq_n_s32(sums, 31);
    /* The sign back: exclusive or with it, and minus it. */
    return vsubq_s32(veorq_s32(vreinterpretq_s32_u32(vcombine_u32(low, high)), sign), sign);
}

/* Four bytes of eight, at any address. */
EK_INLINE void ek_n_store_low(int8_t *to, int8x8_t v)
{
    const uint32_t word = vget_lane_u32(vreinterpret_u32_s8(v), 0);
    memcpy(to, &word, sizeof word);
}
EK_INLINE void ek_n_store_high(int8_t *to, int8x8_t v)
{
    const uint32_t word = vget_lane_u32(vreinterpret_u32_s8(v), 1);
    memcpy(to, &word, sizeof word);
}
/* The first n of eight bytes; n is a constant from 1 to 7. */
EK_INLINE void ek_n_store_part(int8_t *to, int8x8_t v, uint32_t n)
{
    if ((n & 4u) != 0u) {
        ek_n_store_low(to, v);
        v = vext_s8(v, v, 4);
        to += 4;
    }
    if ((n & 2u) != 0u) {
        const uint16_t two = vget_lane_u16(vreinterpret_u16_s8(v), 0);
        memcpy(to, &two, sizeof two);
        v = vext_s8(v, v, 2);
        to += 2;
    }
    if ((n & 1u) != 0u) {
        to[0] = vget_lane_s8(v, 0);
    }
}

EK_INLINE void ek_n_copy16(int8_t *to, const int8_t *from) { vst1q_s8(to, vld1q_s8(from)); }
EK_INLINE void ek_n_copy8(int8_t *to, const int8_t *from) { vst1_s8(to, vld1_s8(from)); }
/* n bytes, without reading or writing any other. */
EK_INLINE void ek_n_copy(int8_t *to, const int8_t *from, int32_t n)
{
    if (n >= 16) {
        for (; n > 16; n -= 16, to += 16, from += 16) {
            ek_n_copy16(to, from);
        }
        ek_n_copy16(to + n - 16, from + n - 16);
    } else if (n >= 8) {
        ek_n_copy8(to, from);
        ek_n_copy8(to + n - 8, from + n - 8);
    } else {
        for (int32_t i = 0; i < n; i++) {
            to[i] = from[i];
        }
    }
}
/* Eight bytes of each of n pixels that are `stride` bytes apart, side by side. */
EK_INLINE void ek_n_copy_eights(int8_t *to, const int8_t *from, int32_t n, int32_t stride)
{
    for (; n > 0; n--, to += 8, from += stride) {
        ek_n_copy8(to, from);
    }
}
/* The same of pixels' last `channels` of `all`, fewer than eight; other bytes of the eight do not
 * matter. */
EK_INLINE void ek_n_copy_last(int8_t *to, const int8_t *from, int32_t n, int32_t all,
                              int32_t channels)
{
    if (all >= 8) { /* what lies in front of them is shifted out */
        const int64x1_t right = vdup_n_s64(8 * (channels - 8));
        from -= 8 - channels;
        for (; n > 0; n--, to += 8, from += all) {
            const uint64x1_t eight = vreinterpret_u64_s8(vld1_s8(from));
            vst1_s8(to, vreinterpret_s8_u64(vshl_u64(eight, right)));
        }
        return;
    }
    for (; n > 0; n--, to += 8, from += all) {
        for (int32_t i = 0; i < channels; i++) {
            to[i] = from[i];
        }
    }
}
EK_INLINE void ek_n_fill(int8_t *to, int32_t value, int32_t n)
{
    const int8x8_t v = vdup_n_s8((int8_t)value);
    for (; n >= 8; n -= 8, to += 8) {
        vst1_s8(to, v);
    }
    for (int32_t i = 0; i < n; i++) {
        to[i] = (int8_t)value;
    }
}

#endif
