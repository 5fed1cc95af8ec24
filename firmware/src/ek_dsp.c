/* ek_dsp.c - portable twins of ek_dsp_dot.S for cores and hosts without the DSP extension. */
#include "ek_dsp.h"

#if !defined(__ARM_FEATURE_DSP)

static int32_t dot4(const int16_t *pairs, const int8_t *w, int32_t acc)
{
    return acc + pairs[0] * w[0] + pairs[1] * w[2] + pairs[2] * w[1] + pairs[3] * w[3];
}

void ek_dot_5x1(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc)
{
    for (int32_t k = 0; k < steps; ++k) {
        for (int32_t p = 0; p < 5; ++p) {
            acc[p] = dot4(pairs + 20 * k + 4 * p, weights + 4 * k, acc[p]);
        }
    }
}

void ek_dot_1x4(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc)
{
    for (int32_t k = 0; k < steps; ++k) {
        for (int32_t n = 0; n < 4; ++n) {
            acc[n] = dot4(pairs + 4 * k, weights + 16 * k + 4 * n, acc[n]);
        }
    }
}

static int32_t dot8_w4(const int16_t *low, const int16_t *high, const int8_t *w, int32_t acc)
{
    const int8_t first[4] = {(int8_t)ek_int4(w[0], 0), (int8_t)ek_int4(w[1], 0),
                             (int8_t)ek_int4(w[2], 0), (int8_t)ek_int4(w[3], 0)};
    const int8_t second[4] = {(int8_t)ek_int4(w[0], 1), (int8_t)ek_int4(w[1], 1),
                              (int8_t)ek_int4(w[2], 1), (int8_t)ek_int4(w[3], 1)};
    return dot4(high, second, dot4(low, first, acc));
}

void ek_dot_5x1_w4(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc)
{
    for (int32_t k = 0; k < steps; ++k) {
        for (int32_t p = 0; p < 5; ++p) {
            const int16_t *low = pairs + 40 * k + 4 * p;
            acc[p] = dot8_w4(low, low + 20, weights + 4 * k, acc[p]);
        }
    }
}

void ek_dot_1x4_w4(const int16_t *pairs, const int8_t *weights, int32_t steps, int32_t *acc)
{
    for (int32_t k = 0; k < steps; ++k) {
        for (int32_t n = 0; n < 4; ++n) {
            const int16_t *low = pairs + 8 * k;
            acc[n] = dot8_w4(low, low + 4, weights + 16 * k + 4 * n, acc[n]);
        }
    }
}

#else
typedef int ek_dsp_is_in_assembly; /* a translation unit must not be empty */
#endif
