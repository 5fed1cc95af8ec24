/* Arrays through every function of ek_kernel.h, ek_dsp.h, ek_float.h and ek_softmax.c, for the tests
 * beside this file. */
#include "ek_float.h"

#include "ek_dsp.h"

#define EACH for (int32_t i = 0; i < n; ++i)

void each_srdhm(const int32_t *a, const int32_t *b, int32_t *out, int32_t n);
void each_srdhm(const int32_t *a, const int32_t *b, int32_t *out, int32_t n)
{
    EACH out[i] = ek_srdhm(a[i], b[i]);
}
void each_rounding_shift(const int32_t *a, const int32_t *b, int32_t *out, int32_t n);
void each_rounding_shift(const int32_t *a, const int32_t *b, int32_t *out, int32_t n)
{
    EACH out[i] = ek_rounding_shift(a[i], b[i]);
}
/* a: x, multiplier, shift by turns */
void each_multiply(const int32_t *a, int32_t *out, int32_t n);
void each_multiply(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_multiply(a[3 * i], a[3 * i + 1], a[3 * i + 2]);
}
/* a: acc, multiplier, shift, zero point, low, high */
void each_requantize(const int32_t *a, int32_t *out, int32_t n);
void each_requantize(const int32_t *a, int32_t *out, int32_t n)
{
    EACH
    {
        const int32_t *r = a + 6 * i;
        out[i] = ek_requantize(r[0], r[1], r[2], r[3], r[4], r[5]);
    }
}
void each_average(const int32_t *a, const int32_t *b, int32_t *out, int32_t n);
void each_average(const int32_t *a, const int32_t *b, int32_t *out, int32_t n)
{
    EACH out[i] = ek_average(a[i], b[i]);
}
void each_clamp8(const int32_t *a, int32_t *out, int32_t n);
void each_clamp8(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_clamp8(a[3 * i], a[3 * i + 1], a[3 * i + 2]);
}
void each_softmax(const int32_t *sum, const int32_t *exponential, int32_t *out, int32_t n);
void each_softmax(const int32_t *sum, const int32_t *exponential, int32_t *out, int32_t n)
{
    EACH out[i] = ek_softmax_value(exponential[i], ek_softmax_scale(sum[i]),
                                   ek_softmax_shift(sum[i]));
}
void each_softmax_scale(const int32_t *sum, int32_t *out, int32_t n);
void each_softmax_scale(const int32_t *sum, int32_t *out, int32_t n)
{
    EACH out[i] = ek_softmax_scale(sum[i]);
}
/* a: acc * 2, multiplier, power, zero point */
void each_rescale(const int32_t *a, int32_t *out, int32_t n);
void each_rescale(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_rescale(a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]);
}
void each_rescaled_right(const int32_t *a, int32_t *out, int32_t n);
void each_rescaled_right(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_rescaled_right(a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]);
}
void each_rescale_relu(const int32_t *a, int32_t *out, int32_t n);
void each_rescale_relu(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_rescale_relu(a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3]);
}
void each_smlad(const int32_t *a, const int32_t *b, int32_t *out, int32_t n);
void each_smlad(const int32_t *a, const int32_t *b, int32_t *out, int32_t n)
{
    EACH out[i] = ek_smlad(a[i], b[i], out[i]);
}
void each_smmulr(const int32_t *a, const int32_t *b, int32_t *out, int32_t n);
void each_smmulr(const int32_t *a, const int32_t *b, int32_t *out, int32_t n)
{
    EACH out[i] = ek_smmulr(a[i], b[i]);
}
void each_smmlar(const int32_t *a, const int32_t *b, int32_t *out, int32_t n);
void each_smmlar(const int32_t *a, const int32_t *b, int32_t *out, int32_t n)
{
    EACH out[i] = ek_smmlar(a[i], b[i], out[i]);
}
void each_ssat8(const int32_t *a, int32_t *out, int32_t n);
void each_ssat8(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_ssat8(a[i]);
}
void each_add_sign(const int32_t *a, int32_t *out, int32_t n);
void each_add_sign(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_add_sign(a[i]);
}
void each_pack4(const int8_t *a, int16_t *out, int32_t n);
void each_pack4(const int8_t *a, int16_t *out, int32_t n)
{
    EACH ek_pack4(a + 4 * i, out + 4 * i);
}
void each_int8x4(const int8_t *a, int8_t *out, int32_t n);
void each_int8x4(const int8_t *a, int8_t *out, int32_t n)
{
    EACH
    {
        ek_st_int8x4(out + 8 * i, ek_ld_int8x4(a + 4 * i));
        ek_st_int8x4(out + 8 * i + 4, ek_dup_int8x4(a[4 * i]));
    }
}
void each_int4(const int32_t *byte, const int32_t *upper, int32_t *out, int32_t n);
void each_int4(const int32_t *byte, const int32_t *upper, int32_t *out, int32_t n)
{
    EACH out[i] = ek_int4(byte[i], upper[i]);
}
void each_requantize16(const int32_t *a, int32_t *out, int32_t n);
void each_requantize16(const int32_t *a, int32_t *out, int32_t n)
{
    EACH
    {
        const int32_t *r = a + 6 * i;
        out[i] = ek_requantize16(r[0], r[1], r[2], r[3], r[4], r[5]);
    }
}
void each_ssat16(const int32_t *a, int32_t *out, int32_t n);
void each_ssat16(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_ssat16(a[i]);
}
/* a: entry, next, offset */
void each_interpolate(const int32_t *a, int32_t *out, int32_t n);
void each_interpolate(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_interpolate(a[3 * i], a[3 * i + 1], a[3 * i + 2]);
}
/* a: difference, multiplier, shift */
void each_softmax16_at(const int32_t *a, int32_t *out, int32_t n);
void each_softmax16_at(const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_softmax16_at(a[3 * i], a[3 * i + 1], a[3 * i + 2]);
}
void each_softmax16_inverse_at(const int32_t *sum, int32_t *out, int32_t n);
void each_softmax16_inverse_at(const int32_t *sum, int32_t *out, int32_t n)
{
    EACH out[i] = ek_softmax16_inverse_at(sum[i]);
}
/* a: exponential, scale; the sum gives the shift */
void each_softmax16_value(const int32_t *a, const int32_t *sum, int32_t *out, int32_t n);
void each_softmax16_value(const int32_t *a, const int32_t *sum, int32_t *out, int32_t n)
{
    EACH out[i] = ek_softmax16_value(a[2 * i], a[2 * i + 1], ek_softmax16_shift(sum[i]));
}
/* a: zero point, low, high */
void each_quantize(const float *x, const float *scale, const int32_t *a, int32_t *out, int32_t n);
void each_quantize(const float *x, const float *scale, const int32_t *a, int32_t *out, int32_t n)
{
    EACH out[i] = ek_quantize(x[i], scale[i], a[3 * i], a[3 * i + 1], a[3 * i + 2]);
}
/* a: integer, zero point */
void each_dequantize(const int32_t *a, const float *scale, float *out, int32_t n);
void each_dequantize(const int32_t *a, const float *scale, float *out, int32_t n)
{
    EACH out[i] = ek_dequantize(a[2 * i], a[2 * i + 1], scale[i]);
}
/* a: low, high */
void each_clampf(const float *x, const float *a, float *out, int32_t n);
void each_clampf(const float *x, const float *a, float *out, int32_t n)
{
    EACH out[i] = ek_clampf(x[i], a[2 * i], a[2 * i + 1]);
}
/* What a compiler may not fuse: a product and a sum are rounded one by one. */
void each_multiply_add(const float *x, const float *w, float *out, int32_t n);
void each_multiply_add(const float *x, const float *w, float *out, int32_t n)
{
    EACH out[i] = out[i] + x[i] * w[i];
}
