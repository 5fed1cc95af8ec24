/* ek_cfu.h - the rv_cfu family's inner functions: the custom function unit of docs/CFU.md on RISC-V,
 * and the same results in portable C, so that the very same generated kernels run on a host under
 * sanitizers.
 *
 * A tile is `pixels` (1 to 8) pixels by four channels. Its accumulators and its four channels'
 * parameters are registers of the CFU; `acc` (4 numbers a pixel) and `parameters` (12 numbers) hold
 * them elsewhere, and are not touched on RISC-V. All counts and strides are constants. Words are
 * aligned.
 */
#ifndef EK_CFU_H
#define EK_CFU_H

#include "ek_kernel.h"

EK_INLINE uint32_t ek_cfu_load(const int8_t *p)
{
    uint32_t v;
    memcpy(&v, __builtin_assume_aligned(p, 4), sizeof v);
    return v;
}
EK_INLINE void ek_cfu_store(int8_t *p, uint32_t v)
{
    memcpy(__builtin_assume_aligned(p, 4), &v, sizeof v);
}

#if defined(__riscv) && !defined(EK_CFU_PORTABLE)

/* An instruction with funct3 `op`, and funct7 made of a pixel and a channel. None reads or writes
 * memory; volatile keeps their order. */
#define EK_CFU_OP(op, pixel, channel, a, b)                                                       \
    __asm volatile(".insn r CUSTOM_0, " #op ", " #pixel " * 4 + " #channel ", x0, %z0, %z1" :: \
                       "rJ"(a), "rJ"(b))
/* The value has to be in its register here: loads come first, then instructions of the CFU, since
 * one that follows a load directly waits two cycles. */
#define EK_CFU_NEEDED(v) __asm volatile("" : "+r"(v))

EK_INLINE void ek_cfu_clear(int32_t pixels, int32_t *acc)
{
    (void)pixels;
    (void)acc;
    EK_CFU_OP(2, 0, 0, 0, 0);
}

EK_INLINE void ek_cfu_channels(const int32_t *rows, uint32_t output, int32_t *parameters)
{
    (void)parameters;
#define EK_CFU_ROW(c) \
    int32_t b##c = rows[3 * c], m##c = rows[3 * c + 1], s##c = rows[3 * c + 2];
    EK_CFU_ROW(0)
    EK_CFU_ROW(1)
    EK_CFU_ROW(2)
    EK_CFU_ROW(3)
#define EK_CFU_ROW_HELD(c) \
    EK_CFU_NEEDED(b##c);   \
    EK_CFU_NEEDED(m##c);   \
    EK_CFU_NEEDED(s##c);
    EK_CFU_ROW_HELD(0)
    EK_CFU_ROW_HELD(1)
    EK_CFU_ROW_HELD(2)
    EK_CFU_ROW_HELD(3)
#define EK_CFU_CHANNEL(c)      \
    EK_CFU_OP(3, 0, c, b##c, 0);  \
    EK_CFU_OP(4, 0, c, m##c, s##c);
    EK_CFU_OP(5, 0, 0, output, 0);
    EK_CFU_CHANNEL(0)
    EK_CFU_CHANNEL(1)
    EK_CFU_CHANNEL(2)
    EK_CFU_CHANNEL(3)
}

#define EK_CFU_EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

/* acc[p][c] += four taps of pixel p times those of channel c, `steps` times. */
EK_INLINE void ek_cfu_dot(int32_t pixels, const int8_t *x, int32_t pixel_stride,
                          const int8_t *w, int32_t steps, int32_t *acc)
{
    int32_t k;
    (void)acc;
    for (k = 0; k < steps; k++) {
        uint32_t w0 = ek_cfu_load(w), w1 = ek_cfu_load(w + 4);
        uint32_t w2 = ek_cfu_load(w + 8), w3 = ek_cfu_load(w + 12);
#define EK_CFU_X(p) uint32_t x##p = p < pixels ? ek_cfu_load(x + p * pixel_stride) : 0;
        EK_CFU_EACH(EK_CFU_X)
        EK_CFU_NEEDED(w0);
        EK_CFU_NEEDED(w1);
        EK_CFU_NEEDED(w2);
        EK_CFU_NEEDED(w3);
#define EK_CFU_HELD(p) \
    if (p < pixels) EK_CFU_NEEDED(x##p);
        EK_CFU_EACH(EK_CFU_HELD)
        x += 4;
        w += 16;
        EK_CFU_NEEDED(x);
        EK_CFU_NEEDED(w);
#define EK_CFU_DOTS(p)             \
    if (p < pixels) {              \
        EK_CFU_OP(0, p, 0, x##p, w0); \
        EK_CFU_OP(0, p, 1, x##p, w1); \
        EK_CFU_OP(0, p, 2, x##p, w2); \
        EK_CFU_OP(0, p, 3, x##p, w3); \
    }
        EK_CFU_EACH(EK_CFU_DOTS)
    }
}

/* acc[p][c] += channel c of pixel p times its weight, for each of `taps` neighbours: tap t of pixel p
 * is at x + p * pixel_stride + t * tap_stride, its weights at w + 4 * t. */
EK_INLINE void ek_cfu_lanes(int32_t pixels, const int8_t *x, int32_t pixel_stride,
                            int32_t tap_stride, const int8_t *w, int32_t taps, int32_t *acc)
{
    int32_t t;
    (void)acc;
    if (taps == 3 && pixel_stride == tap_stride) {
        /* Neighbours have two taps in common: each word is loaded once. */
        uint32_t w0 = ek_cfu_load(w), w1 = ek_cfu_load(w + 4), w2 = ek_cfu_load(w + 8);
#define EK_CFU_Y(p) uint32_t x##p = p < pixels + 2 ? ek_cfu_load(x + p * pixel_stride) : 0;
        EK_CFU_EACH(EK_CFU_Y)
        EK_CFU_Y(8) EK_CFU_Y(9)
        EK_CFU_NEEDED(w0);
        EK_CFU_NEEDED(w1);
        EK_CFU_NEEDED(w2);
#define EK_CFU_HELD2(p) \
    if (p < pixels + 2) EK_CFU_NEEDED(x##p);
        EK_CFU_EACH(EK_CFU_HELD2)
        EK_CFU_HELD2(8)
        EK_CFU_HELD2(9)
#define EK_CFU_LANES3(p, q, r)     \
    if (p < pixels) {              \
        EK_CFU_OP(1, p, 0, x##p, w0); \
        EK_CFU_OP(1, p, 0, x##q, w1); \
        EK_CFU_OP(1, p, 0, x##r, w2); \
    }
        EK_CFU_LANES3(0, 1, 2)
        EK_CFU_LANES3(1, 2, 3)
        EK_CFU_LANES3(2, 3, 4)
        EK_CFU_LANES3(3, 4, 5)
        EK_CFU_LANES3(4, 5, 6)
        EK_CFU_LANES3(5, 6, 7)
        EK_CFU_LANES3(6, 7, 8)
        EK_CFU_LANES3(7, 8, 9)
        return;
    }
    for (t = 0; t < taps; t++) {
        uint32_t w0 = ek_cfu_load(w);
        EK_CFU_EACH(EK_CFU_X)
        EK_CFU_NEEDED(w0);
        EK_CFU_EACH(EK_CFU_HELD)
        x += tap_stride;
        w += 4;
        EK_CFU_NEEDED(x);
        EK_CFU_NEEDED(w);
#define EK_CFU_LANE(p) \
    if (p < pixels) EK_CFU_OP(1, p, 0, x##p, w0);
        EK_CFU_EACH(EK_CFU_LANE)
    }
}

/* Four bytes for each pixel of the tile, `stride` bytes apart. */
EK_INLINE void ek_cfu_results(int32_t pixels, const int32_t *acc, const int32_t *parameters,
                              uint32_t output, int8_t *y, int32_t stride)
{
    (void)acc;
    (void)parameters;
    (void)output;
#define EK_CFU_RESULT(p)                                                                     \
    uint32_t y##p = 0;                                                                       \
    if (p < pixels)                                                                          \
        __asm volatile(".insn r CUSTOM_0, 6, " #p " * 4, %0, x0, x0" : "=r"(y##p));
    EK_CFU_EACH(EK_CFU_RESULT)
#define EK_CFU_STORE(p) \
    if (p < pixels) ek_cfu_store(y + p * stride, y##p);
    EK_CFU_EACH(EK_CFU_STORE)
}

#else

EK_INLINE int32_t ek_cfu_byte(uint32_t word, int32_t i)
{
    return (int32_t)(word << (24 - 8 * i)) >> 24;
}

EK_INLINE void ek_cfu_clear(int32_t pixels, int32_t *acc)
{
    memset(acc, 0, (size_t)pixels * 4u * sizeof *acc);
}

EK_INLINE void ek_cfu_channels(const int32_t *rows, uint32_t output, int32_t *parameters)
{
    (void)output;
    memcpy(parameters, rows, 12u * sizeof *parameters);
}

EK_INLINE void ek_cfu_dot(int32_t pixels, const int8_t *x, int32_t pixel_stride,
                          const int8_t *w, int32_t steps, int32_t *acc)
{
    int32_t k, p, c, i;
    for (k = 0; k < steps; k++)
        for (p = 0; p < pixels; p++)
            for (c = 0; c < 4; c++) {
                const uint32_t a = ek_cfu_load(x + k * 4 + p * pixel_stride);
                const uint32_t b = ek_cfu_load(w + 16 * k + 4 * c);
                uint32_t sum = (uint32_t)acc[4 * p + c];
                for (i = 0; i < 4; i++) sum += (uint32_t)(ek_cfu_byte(a, i) * ek_cfu_byte(b, i));
                acc[4 * p + c] = (int32_t)sum;
            }
}

EK_INLINE void ek_cfu_lanes(int32_t pixels, const int8_t *x, int32_t pixel_stride,
                            int32_t tap_stride, const int8_t *w, int32_t taps, int32_t *acc)
{
    int32_t t, p, c;
    for (t = 0; t < taps; t++)
        for (p = 0; p < pixels; p++)
            for (c = 0; c < 4; c++) {
                const uint32_t a = ek_cfu_load(x + t * tap_stride + p * pixel_stride);
                const uint32_t b = ek_cfu_load(w + 4 * t);
                const uint32_t sum = (uint32_t)acc[4 * p + c];
                acc[4 * p + c] = (int32_t)(sum + (uint32_t)(ek_cfu_byte(a, c) * ek_cfu_byte(b, c)));
            }
}

EK_INLINE void ek_cfu_results(int32_t pixels, const int32_t *acc, const int32_t *parameters,
                              uint32_t output, int8_t *y, int32_t stride)
{
    int32_t p, c;
    for (p = 0; p < pixels; p++) {
        uint32_t word = 0;
        for (c = 0; c < 4; c++) {
            const int32_t *of = parameters + 3 * c;
            const int32_t sum = (int32_t)((uint32_t)acc[4 * p + c] + (uint32_t)of[0]);
            const int32_t q = ek_requantize(sum, of[1], -of[2], ek_cfu_byte(output, 0),
                                            ek_cfu_byte(output, 1), ek_cfu_byte(output, 2));
            word |= (uint32_t)(uint8_t)q << (8 * c);
        }
        ek_cfu_store(y + p * stride, word);
    }
}

#endif

/* Which of a tile's pixels a pixel of the row is. */
EK_INLINE int32_t ek_cfu_pixel(int32_t pixel, int32_t first) { return pixel - first; }

/* As in ek_kernel.h, for words that are known to be aligned. */
EK_INLINE ek_int8x4 ek_lda_int8x4(const int8_t *p) { return ek_cfu_load(p); }
EK_INLINE void ek_sta_int8x4(int8_t *p, ek_int8x4 v) { ek_cfu_store(p, v); }

#endif
