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

#else
typedef int ek_dsp_is_in_assembly; /* a translation unit must not be empty */
#endif
