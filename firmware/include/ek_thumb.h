/* ek_thumb.h - what routines written as Thumb-2 instructions need: on a core with the DSP extension
 * how they are declared; anywhere else the meaning of each instruction in C, so that the very same
 * algorithm runs on a host under sanitizers. The C text is made by codegen/thumb/as_c.py.
 */
#ifndef EK_THUMB_H
#define EK_THUMB_H

#include "ek_dsp.h"

/* Functions that walk over tiles: next to nothing of a layer's time. */
#define EK_DRIVER static EK_SMALL

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

#define EK_THUMB_DSP 1
#define EK_NAKED static __attribute__((naked, noinline))
#define EK_UNUSED __attribute__((unused))

#else

typedef uintptr_t ek_t_reg;
/* A register's lower 32 bits, and a 32-bit result as a register's value: sign-extended. */
#define EK_T_I(r) ((int32_t)(uint32_t)(r))
#define EK_T_U(r) ((uint32_t)(r))
#define EK_T_R(x) ((ek_t_reg)(intptr_t)(int32_t)(x))
/* LDM, STM, LDRD and STRD fault on addresses that are not word-aligned. */
#if defined(EK_CHECK_ALIGNMENT)
#define EK_T_ALIGNED(a) (((a)&3u) != 0u ? __builtin_trap() : (void)0)
#else
#define EK_T_ALIGNED(a) ((void)0)
#endif

EK_INLINE int32_t ek_t_ldr(ek_t_reg a)
{
    int32_t v;
    memcpy(&v, (const void *)a, sizeof v);
    return v;
}
EK_INLINE int32_t ek_t_ldrh(ek_t_reg a)
{
    uint16_t v;
    memcpy(&v, (const void *)a, sizeof v);
    return v;
}
EK_INLINE int32_t ek_t_ldrsh(ek_t_reg a) { return (int16_t)ek_t_ldrh(a); }
EK_INLINE int32_t ek_t_ldrb(ek_t_reg a) { return *(const uint8_t *)a; }
EK_INLINE int32_t ek_t_ldrsb(ek_t_reg a) { return *(const int8_t *)a; }
EK_INLINE void ek_t_str(ek_t_reg a, int32_t v) { memcpy((void *)a, &v, sizeof v); }
EK_INLINE void ek_t_strh(ek_t_reg a, int32_t v)
{
    const uint16_t h = (uint16_t)v;
    memcpy((void *)a, &h, sizeof h);
}
EK_INLINE void ek_t_strb(ek_t_reg a, int32_t v) { *(uint8_t *)a = (uint8_t)v; }

EK_INLINE int32_t ek_t_pair(int32_t low, int32_t high)
{
    return (int32_t)(((uint32_t)high << 16) | ((uint32_t)low & 0xffffu));
}
EK_INLINE int32_t ek_t_b(int32_t x) { return (int16_t)((uint32_t)x & 0xffffu); }
EK_INLINE int32_t ek_t_t(int32_t x) { return x >> 16; }
EK_INLINE int32_t ek_t_add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
EK_INLINE int32_t ek_t_smul(int32_t a, int32_t b) { return a * b; } /* of two int16 */
EK_INLINE int32_t ek_t_smulw(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b) >> 16); }
EK_INLINE int32_t ek_t_smmul(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b) >> 32); }
EK_INLINE int32_t ek_t_smmla(int32_t a, int32_t b, int32_t acc)
{
    /* All 64 bits are summed, the lower word of the accumulator is zero: no carry. */
    return ek_t_add(acc, ek_t_smmul(a, b));
}
EK_INLINE int32_t ek_t_ror(int32_t x, int32_t n)
{
    const uint32_t v = (uint32_t)x, k = (uint32_t)n & 31u;
    return (int32_t)(k == 0u ? v : (v >> k) | (v << (32u - k)));
}
/* A shift by a register takes its lowest byte; templates keep it below 32. */
EK_INLINE int32_t ek_t_amount(int32_t n) { return n & 31; }
EK_INLINE int32_t ek_t_sxtb16(int32_t x)
{
    return ek_t_pair((int8_t)((uint32_t)x & 0xffu), (int8_t)(((uint32_t)x >> 16) & 0xffu));
}
EK_INLINE int32_t ek_t_rev16(int32_t x)
{
    const uint32_t v = (uint32_t)x;
    return (int32_t)(((v & 0x00ff00ffu) << 8) | ((v >> 8) & 0x00ff00ffu));
}
EK_INLINE int32_t ek_t_uxtb16(int32_t x) { return (int32_t)((uint32_t)x & 0x00ff00ffu); }
EK_INLINE int32_t ek_t_sadd16(int32_t a, int32_t b)
{
    return ek_t_pair(ek_t_b(a) + ek_t_b(b), ek_t_t(a) + ek_t_t(b));
}
EK_INLINE int32_t ek_t_ssub16(int32_t a, int32_t b)
{
    return ek_t_pair(ek_t_b(a) - ek_t_b(b), ek_t_t(a) - ek_t_t(b));
}
EK_INLINE int32_t ek_t_qadd16(int32_t a, int32_t b)
{
    return ek_t_pair(ek_clamp16(ek_t_b(a) + ek_t_b(b), -32768, 32767),
                     ek_clamp16(ek_t_t(a) + ek_t_t(b), -32768, 32767));
}
EK_INLINE int32_t ek_t_qsub16(int32_t a, int32_t b)
{
    return ek_t_pair(ek_clamp16(ek_t_b(a) - ek_t_b(b), -32768, 32767),
                     ek_clamp16(ek_t_t(a) - ek_t_t(b), -32768, 32767));
}
EK_INLINE int32_t ek_t_pkhbt(int32_t a, int32_t b) { return ek_t_pair(a, ek_t_t(b)); }
EK_INLINE int32_t ek_t_pkhtb(int32_t a, int32_t b) { return ek_t_pair(b, ek_t_t(a)); }
EK_INLINE int32_t ek_t_ssat(int32_t x, int32_t bits)
{
    const int32_t top = (int32_t)((1u << (bits - 1)) - 1u);
    return x > top ? top : x < -top - 1 ? -top - 1 : x;
}
EK_INLINE int32_t ek_t_usat(int32_t x, int32_t bits)
{
    const int32_t top = (int32_t)((1u << bits) - 1u);
    return x > top ? top : x < 0 ? 0 : x;
}
EK_INLINE int32_t ek_t_ssat16(int32_t x, int32_t bits)
{
    return ek_t_pair(ek_t_ssat(ek_t_b(x), bits), ek_t_ssat(ek_t_t(x), bits));
}
EK_INLINE int32_t ek_t_usat16(int32_t x, int32_t bits)
{
    return ek_t_pair(ek_t_usat(ek_t_b(x), bits), ek_t_usat(ek_t_t(x), bits));
}
EK_INLINE uint64_t ek_t_smull(int32_t a, int32_t b) { return (uint64_t)((int64_t)a * b); }
EK_INLINE uint64_t ek_t_umull(int32_t a, int32_t b) { return (uint64_t)(uint32_t)a * (uint32_t)b; }
EK_INLINE uint64_t ek_t_smlal(int32_t a, int32_t b, uint32_t low, uint32_t high)
{
    return (((uint64_t)high << 32) | low) + ek_t_smull(a, b);
}

#endif
#endif
