/* Arrays through every function of ek_norm.h and ek_wide.h, for test_norm_math.py. */
#include "ek_norm.h"
#include "ek_wide.h"

#define EACH for (int32_t i = 0; i < n; ++i)

static uint64_t wide(const int32_t *halves)
{
    return ((uint64_t)(uint32_t)halves[1] << 32) | (uint32_t)halves[0];
}
/* a: the lower and the upper half of v; out: the inverse and the pairs */
void each_norm_inverse_root(const int32_t *a, int32_t *out, int32_t n);
void each_norm_inverse_root(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[2 * i] = ek_norm_inverse_root(wide(a + 2 * i), &out[2 * i + 1]);
}
void each_norm_floor_sqrt(const int32_t *a, int32_t *out, int32_t n);
void each_norm_floor_sqrt(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = (int32_t)ek_norm_floor_sqrt(wide(a + 2 * i));
}
/* a: deviation, inverse, right */
void each_norm_scaled(const int32_t *a, int32_t *out, int32_t n);
void each_norm_scaled(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_norm_scaled(a[3 * i], a[3 * i + 1], a[3 * i + 2]);
}
/* a: x, gamma, beta */
void each_norm_affine(const int32_t *a, int32_t *out, int32_t n);
void each_norm_affine(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_norm_affine(a[3 * i], a[3 * i + 1], a[3 * i + 2]);
}
void each_norm_inverse_sqrt(const int32_t *a, int32_t *out, int32_t n);
void each_norm_inverse_sqrt(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[2 * i] = ek_norm_inverse_sqrt(a[i], &out[2 * i + 1]);
}
void each_norm_log(const int32_t *a, int32_t *out, int32_t n);
void each_norm_log(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_norm_log(a[i]);
}
/* a: lower and upper half of acc, multiplier, shift, zero point */
void each_wide(const int32_t *a, int32_t *out, int32_t n);
void each_wide(const int32_t *a, int32_t *out, int32_t n)
{
    EACH
    {
        const int32_t *r = a + 5 * i;
        out[i] = ek_wide_requantize((int64_t)wide(r), r[2], r[3], r[4], -32768, 32767);
    }
}
