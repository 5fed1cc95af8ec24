/* ek_mve.h - what routines written as MVE (Helium) instructions need: on a core that has them how they
 * are declared; anywhere else the meaning of each vector instruction in C, so that the very same
 * algorithm runs on a host under sanitizers. The C text is made by codegen/mve/routine.py, functions
 * are named as instructions are. And copies, which drivers written in C use.
 */
#ifndef EK_MVE_H
#define EK_MVE_H

#include "ek_thumb.h"

#if defined(__ARM_FEATURE_MVE)

#include <arm_mve.h>

#define EK_MVE 1
/* Keeps a loop scalar: gcc 12.2 vectorizes selections between pointers with a wrong predicate. */
#define EK_M_ONE_BY_ONE __asm volatile("")

EK_INLINE void ek_m_copy(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n > 0; n -= 16, to += 16, from += 16) {
        const mve_pred16_t p = vctp8q((uint32_t)n);
        vstrbq_p_s8(to, vldrbq_z_s8(from, p), p);
    }
}
EK_INLINE void ek_m_copy16(int8_t *to, const int8_t *from) { vstrbq_s8(to, vldrbq_s8(from)); }
EK_INLINE void ek_m_copy_part(int8_t *to, const int8_t *from, int32_t n)
{
    const mve_pred16_t p = vctp8q((uint32_t)n);
    vstrbq_p_s8(to, vldrbq_z_s8(from, p), p);
}
EK_INLINE void ek_m_fill(int8_t *to, int32_t value, int32_t n)
{
    const int8x16_t v = vdupq_n_s8((int8_t)value);
    for (; n > 0; n -= 16, to += 16) {
        vstrbq_p_s8(to, v, vctp8q((uint32_t)n));
    }
}

#else

#define EK_M_ONE_BY_ONE ((void)0)

EK_INLINE void ek_m_copy(int8_t *to, const int8_t *from, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
}
EK_INLINE void ek_m_copy16(int8_t *to, const int8_t *from) { ek_m_copy(to, from, 16); }
EK_INLINE void ek_m_copy_part(int8_t *to, const int8_t *from, int32_t n) { ek_m_copy(to, from, n); }
EK_INLINE void ek_m_fill(int8_t *to, int32_t value, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        to[i] = (int8_t)value;
    }
}

#if !defined(EK_THUMB_DSP)

/* Calls, not copies: a routine is hundreds of instructions, and compilers would take minutes. */
#define EK_M static __attribute__((unused, noinline))

/* A vector register: bytes, halfwords or words. */
typedef union {
    int8_t b[16];
    int16_t h[8];
    int32_t w[4];
} ek_m_q;

#define EK_M_EACH(n) for (uint32_t i = 0; i < (n); i++)

EK_M ek_m_q ek_m_zero(void)
{
    const ek_m_q q = {{0}};
    return q;
}
EK_M ek_m_q ek_m_dup_8(int32_t v)
{
    ek_m_q q;
    EK_M_EACH(16) q.b[i] = (int8_t)((uint32_t)v & 0xffu);
    return q;
}
EK_M ek_m_q ek_m_dup_16(int32_t v)
{
    ek_m_q q;
    EK_M_EACH(8) q.h[i] = (int16_t)((uint32_t)v & 0xffffu);
    return q;
}
EK_M ek_m_q ek_m_dup_32(int32_t v)
{
    ek_m_q q;
    EK_M_EACH(4) q.w[i] = v;
    return q;
}

/* Predicates have a bit for each byte of a vector. */
EK_M uint32_t ek_m_vctp_8(int32_t n) { return n > 15 ? 0xffffu : (1u << n) - 1u; }
EK_M uint32_t ek_m_vctp_16(int32_t n) { return n > 7 ? 0xffffu : (1u << (2 * n)) - 1u; }
EK_M uint32_t ek_m_vctp_32(int32_t n) { return n > 3 ? 0xffffu : (1u << (4 * n)) - 1u; }

/* Loads; inactive lanes are zero. Those of halfwords and words fault on addresses off alignment. */
EK_M ek_m_q ek_m_vldrb_8_p(ek_t_reg a, uint32_t p)
{
    ek_m_q q = ek_m_zero();
    EK_M_EACH(16) if ((p >> i & 1u) != 0u) q.b[i] = ((const int8_t *)a)[i];
    return q;
}
EK_M ek_m_q ek_m_vldrb_8(ek_t_reg a) { return ek_m_vldrb_8_p(a, 0xffffu); }
EK_M ek_m_q ek_m_vldrb_s16_p(ek_t_reg a, uint32_t p)
{
    ek_m_q q = ek_m_zero();
    EK_M_EACH(8) if ((p >> (2 * i) & 1u) != 0u) q.h[i] = ((const int8_t *)a)[i];
    return q;
}
EK_M ek_m_q ek_m_vldrb_s16(ek_t_reg a) { return ek_m_vldrb_s16_p(a, 0xffffu); }
EK_M ek_m_q ek_m_vldrb_s32_p(ek_t_reg a, uint32_t p)
{
    ek_m_q q = ek_m_zero();
    EK_M_EACH(4) if ((p >> (4 * i) & 1u) != 0u) q.w[i] = ((const int8_t *)a)[i];
    return q;
}
EK_M ek_m_q ek_m_vldrb_s32(ek_t_reg a) { return ek_m_vldrb_s32_p(a, 0xffffu); }
EK_M ek_m_q ek_m_vldrw_32(ek_t_reg a)
{
    ek_m_q q;
    EK_T_ALIGNED(a);
    memcpy(&q, (const void *)a, sizeof q);
    return q;
}
EK_M ek_m_q ek_m_vldrw_u32_at(ek_t_reg a, ek_m_q offsets)
{
    ek_m_q q;
    EK_T_ALIGNED(a);
    EK_M_EACH(4) q.w[i] = ek_t_ldr(a + (uint32_t)offsets.w[i]);
    return q;
}
EK_M void ek_m_vstrb_8_p(ek_t_reg a, ek_m_q q, uint32_t p)
{
    EK_M_EACH(16) if ((p >> i & 1u) != 0u) ((int8_t *)a)[i] = q.b[i];
}
EK_M void ek_m_vstrb_8(ek_t_reg a, ek_m_q q) { ek_m_vstrb_8_p(a, q, 0xffffu); }
EK_M void ek_m_vstrb_16_p(ek_t_reg a, ek_m_q q, uint32_t p)
{
    EK_M_EACH(8) if ((p >> (2 * i) & 1u) != 0u)
        ((int8_t *)a)[i] = (int8_t)((uint32_t)q.h[i] & 0xffu);
}
EK_M void ek_m_vstrb_16(ek_t_reg a, ek_m_q q) { ek_m_vstrb_16_p(a, q, 0xffffu); }
EK_M void ek_m_vstrb_32_p(ek_t_reg a, ek_m_q q, uint32_t p)
{
    EK_M_EACH(4) if ((p >> (4 * i) & 1u) != 0u)
        ((int8_t *)a)[i] = (int8_t)((uint32_t)q.w[i] & 0xffu);
}
EK_M void ek_m_vstrb_32(ek_t_reg a, ek_m_q q) { ek_m_vstrb_32_p(a, q, 0xffffu); }
/* VST40 to VST43 store a quarter each; here each stores all: bytes of four vectors in turn. */
EK_M void ek_m_vst4_8(ek_t_reg a, ek_m_q q0, ek_m_q q1, ek_m_q q2, ek_m_q q3)
{
    EK_M_EACH(16)
    {
        int8_t *const to = (int8_t *)a + 4 * i;
        to[0] = q0.b[i], to[1] = q1.b[i], to[2] = q2.b[i], to[3] = q3.b[i];
    }
}

/* Sums of products and of lanes, modulo 2^32. */
EK_M int32_t ek_m_vmladava_s8(int32_t acc, ek_m_q x, ek_m_q y)
{
    EK_M_EACH(16) acc = ek_t_add(acc, x.b[i] * y.b[i]);
    return acc;
}
EK_M ek_m_q ek_m_vadd_i32(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4) x.w[i] = ek_t_add(x.w[i], y.w[i]);
    return x;
}
EK_M ek_m_q ek_m_vsub_i32(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4) x.w[i] = (int32_t)((uint32_t)x.w[i] - (uint32_t)y.w[i]);
    return x;
}
EK_M ek_m_q ek_m_vadd_i16(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(8) x.h[i] = (int16_t)ek_t_b(x.h[i] + y.h[i]);
    return x;
}
EK_M ek_m_q ek_m_vabs_s32(ek_m_q x)
{
    EK_M_EACH(4) x.w[i] = x.w[i] < 0 ? (int32_t)(0u - (uint32_t)x.w[i]) : x.w[i];
    return x;
}
EK_M ek_m_q ek_m_vshr_s32(ek_m_q x, int32_t n)
{
    EK_M_EACH(4) x.w[i] = x.w[i] >> n;
    return x;
}
EK_M ek_m_q ek_m_veor(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4) x.w[i] = x.w[i] ^ y.w[i];
    return x;
}
EK_M ek_m_q ek_m_vmulh_u32(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4)
    {
        const uint64_t product = (uint64_t)(uint32_t)x.w[i] * (uint32_t)y.w[i];
        x.w[i] = (int32_t)(uint32_t)(product >> 32);
    }
    return x;
}
EK_M ek_m_q ek_m_vmul_i32(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4) x.w[i] = (int32_t)((uint32_t)x.w[i] * (uint32_t)y.w[i]);
    return x;
}
EK_M ek_m_q ek_m_vmlas_s32(ek_m_q x, ek_m_q y, ek_m_q add)
{
    EK_M_EACH(4) x.w[i] = (int32_t)((uint32_t)x.w[i] * (uint32_t)y.w[i] + (uint32_t)add.w[i]);
    return x;
}
EK_M int32_t ek_m_saturate(int64_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : (int32_t)x;
}
EK_M ek_m_q ek_m_vqrdmulh_s32(ek_m_q x, ek_m_q y)
{
    /* Twice the product overflows 64 bits only for the one pair that saturates. */
    EK_M_EACH(4)
    {
        const int64_t product = (int64_t)x.w[i] * y.w[i];
        x.w[i] = ek_m_saturate((product + (INT64_C(1) << 30)) >> 31, INT32_MIN, INT32_MAX);
    }
    return x;
}
EK_M ek_m_q ek_m_vqdmlah_s32(ek_m_q acc, ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4)
    {
        const int64_t high = ((int64_t)x.w[i] * y.w[i]) >> 31;
        acc.w[i] = ek_m_saturate(acc.w[i] + high, INT32_MIN, INT32_MAX);
    }
    return acc;
}
/* The lowest byte of a lane says how far, negative is right. */
EK_M ek_m_q ek_m_vrshl_s32(ek_m_q x, ek_m_q by)
{
    EK_M_EACH(4)
    {
        const int32_t n = (int8_t)((uint32_t)by.w[i] & 0xffu);
        if (n >= 0) {
            x.w[i] = n > 31 ? 0 : (int32_t)((uint32_t)x.w[i] << n);
        } else {
            x.w[i] = n < -32 ? 0 : (int32_t)((x.w[i] + (INT64_C(1) << (-n - 1))) >> -n);
        }
    }
    return x;
}
EK_M ek_m_q ek_m_vshl_i32(ek_m_q x, int32_t n)
{
    EK_M_EACH(4) x.w[i] = (int32_t)((uint32_t)x.w[i] << n);
    return x;
}
/* The whole vector to the left by 1 to 31 bits; those that enter and those that leave. */
EK_M ek_m_q ek_m_vshlc(ek_m_q x, int32_t carry, int32_t n)
{
    uint32_t in = (uint32_t)carry & ((1u << n) - 1u);
    EK_M_EACH(4)
    {
        const uint32_t word = (uint32_t)x.w[i];
        x.w[i] = (int32_t)(word << n | in);
        in = word >> (32 - n);
    }
    return x;
}
EK_M int32_t ek_m_vshlc_out(ek_m_q x, int32_t n)
{
    return (int32_t)((uint32_t)x.w[3] >> (32 - n));
}
EK_M ek_m_q ek_m_vmax_s32(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4) x.w[i] = ek_max(x.w[i], y.w[i]);
    return x;
}
EK_M ek_m_q ek_m_vmax_s16(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(8) x.h[i] = x.h[i] > y.h[i] ? x.h[i] : y.h[i];
    return x;
}
EK_M ek_m_q ek_m_vmin_s16(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(8) x.h[i] = x.h[i] < y.h[i] ? x.h[i] : y.h[i];
    return x;
}
EK_M ek_m_q ek_m_vmin_s32(ek_m_q x, ek_m_q y)
{
    EK_M_EACH(4) x.w[i] = ek_min(x.w[i], y.w[i]);
    return x;
}
/* Widening of the lower or upper half of each lane, and narrowing into it; the other half stays. */
EK_M ek_m_q ek_m_vmovlb_s16(ek_m_q x)
{
    EK_M_EACH(4) x.w[i] = x.h[2 * i];
    return x;
}
EK_M ek_m_q ek_m_vmovlt_s16(ek_m_q x)
{
    EK_M_EACH(4) x.w[i] = x.h[2 * i + 1];
    return x;
}
EK_M ek_m_q ek_m_vmovnb_i32(ek_m_q to, ek_m_q x)
{
    EK_M_EACH(4) to.h[2 * i] = (int16_t)ek_t_b(x.w[i]);
    return to;
}
EK_M ek_m_q ek_m_vmovnt_i32(ek_m_q to, ek_m_q x)
{
    EK_M_EACH(4) to.h[2 * i + 1] = (int16_t)ek_t_b(x.w[i]);
    return to;
}
/* Saturating narrowing into the lower half of each lane; the upper half stays. */
EK_M ek_m_q ek_m_vqmovnb_s32(ek_m_q to, ek_m_q x)
{
    EK_M_EACH(4) to.h[2 * i] = ek_clamp16(x.w[i], -32768, 32767);
    return to;
}
EK_M ek_m_q ek_m_vqmovnb_s16(ek_m_q to, ek_m_q x)
{
    EK_M_EACH(8) to.b[2 * i] = ek_clamp8(x.h[i], -128, 127);
    return to;
}

#endif
#endif
#endif
