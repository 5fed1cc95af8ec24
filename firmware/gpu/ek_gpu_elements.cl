/* ek_gpu_elements.cl - element by element operators, pools and softmax on vectors of four channels,
 * and the float32 of docs/SPEC.md, "float32 layers". Stands behind ek_gpu_prelude.cl.
 */

/* Every product and every sum is rounded by itself: nothing is fused. */
#pragma OPENCL FP_CONTRACT OFF

/* ---- integers */

/* One number for all channels. */
EK_INLINE char4 ek_first4(char4 a) { return (char4)(a.s0); }

EK_INLINE char4 ek_char4(char a, char b, char c, char d) { return (char4)(a, b, c, d); }

/* SPEC "MBQM" with one multiplier, which is not negative, and one shift for all channels. */
EK_INLINE int4 ek_multiply4(int4 x, int multiplier, int shift)
{
    const int4 shifted = as_int4(as_uint4(x) << (uint4)((uint)max(shift, 0)));
    return ek_rounding_shift4(ek_high_product4(shifted, (int4)(multiplier)),
                              (int4)(max(-shift, 0)));
}

/* MBQM of (q - zero point) << left. */
EK_INLINE int4 ek_scaled4(char4 q, int zero_point, int left, int multiplier, int shift)
{
    return ek_multiply4((convert_int4(q) - zero_point) << (int4)(left), multiplier, shift);
}

/* Integers of one scale as those of another. */
EK_INLINE char4 ek_requantized4(int4 x, int multiplier, int shift, int zero_point, int low,
                                int high)
{
    const int4 moved = as_int4(as_uint4(ek_multiply4(x, multiplier, shift)) +
                               (uint4)((uint)zero_point));
    return convert_char4(clamp(moved, (int4)(low), (int4)(high)));
}

EK_INLINE int4 ek_centred4(char4 q, int zero_point) { return convert_int4(q) - zero_point; }

EK_INLINE char4 ek_clamp4(int4 x, int low, int high)
{
    return convert_char4(clamp(x, (int4)(low), (int4)(high)));
}

/* A sum divided by how many, halves away from zero. */
EK_INLINE int4 ek_average4(int4 sum, int count)
{
    const int4 half_count = (int4)(count / 2);
    return select(sum - half_count, sum + half_count, sum > 0) / (int4)(count);
}

/* ---- SPEC "softmax" */

EK_INLINE int ek_high_product(int a, int b)
{
    const uint low = (uint)a * (uint)b;
    return (int)(((uint)mul_hi(a, b) << 1) + (((low >> 30) + 1u) >> 1));
}

/* Half up, in a form that does not overflow at the largest exponential. */
EK_INLINE int ek_softmax_term(int e) { return (e >> 12) + ((e >> 11) & 1); }

EK_INLINE int ek_saturating_shift(int x, int left)
{
    const int most = INT_MAX >> left;
    return x > most ? INT_MAX : (x < -most - 1 ? INT_MIN : (int)((uint)x << left));
}

/* The reciprocal of a sum of exponentials with 12 integer bits; 0 counts as 2^19. */
EK_INLINE int ek_softmax_scale(int sum)
{
    const uint v = sum == 0 ? 1u << 19 : (uint)sum;
    const int a = (int)((v << clz(v)) - 0x80000000u);
    const int half_denominator = (int)(((uint)a + 0x80000000u) >> 1);
    int x = 1515870810 + ek_high_product(half_denominator, -1010580540);
    for (int i = 0; i < 3; ++i) {
        const int error = (1 << 29) - ek_high_product(half_denominator, x);
        x = (int)((uint)x + (uint)ek_saturating_shift(ek_high_product(x, error), 2));
    }
    return ek_saturating_shift(x, 1);
}

/* Right shift of a share: 4 to 31. */
EK_INLINE int ek_softmax_shift(int sum)
{
    const uint v = sum == 0 ? 1u << 19 : (uint)sum;
    return 12 - (int)clz(v) + 31 - 8;
}

EK_INLINE char ek_softmax_value(int exponential, int scale, int shift)
{
    /* Neither factor is negative: half up is half away from zero. */
    const uint share = (uint)ek_high_product(scale, exponential);
    const uint rounded = (share + (1u << (shift - 1))) >> shift;
    return (char)(ek_min((int)rounded, 255) - 128);
}

/* ---- float32, and half as what memory holds of it */

EK_INLINE float4 ek_from_half4(ushort4 bits)
{
    return vload_half4(0, (const half *)&bits);
}

EK_INLINE ushort4 ek_to_half4(float4 x)
{
    ushort4 bits;
    vstore_half4_rte(x, 0, (half *)&bits);
    return bits;
}

EK_INLINE float ek_from_half(ushort bits) { return vload_half(0, (const half *)&bits); }

EK_INLINE float4 ek_firstf4(float4 a) { return (float4)(a.s0); }
EK_INLINE float4 ek_float4(float a, float b, float c, float d) { return (float4)(a, b, c, d); }
EK_INLINE ushort4 ek_ushort4(ushort a, ushort b, ushort c, ushort d)
{
    return (ushort4)(a, b, c, d);
}
EK_INLINE float4 ek_minf4(float4 a, float4 b) { return select(b, a, a < b); }
EK_INLINE float4 ek_maxf4(float4 a, float4 b) { return select(b, a, a > b); }
EK_INLINE float ek_maxf(float a, float b) { return a > b ? a : b; }

EK_INLINE float4 ek_clampf4(float4 x, float low, float high)
{
    const float4 y = select(x, (float4)(low), x < (float4)(low));
    return select(y, (float4)(high), y > (float4)(high));
}

/* Lanes from `count` on are zero. */
EK_INLINE float4 ek_lanesf4(float4 a, int count)
{
    return select((float4)(0.0f), a, (int4)(0, 1, 2, 3) < (int4)(count));
}
EK_INLINE ushort4 ek_lanesh4(ushort4 a, int count)
{
    return select((ushort4)(0), a, convert_ushort4((int4)(0, 1, 2, 3) < (int4)(count)));
}

EK_INLINE float4 ek_expf4(float4 x)
{
    const float4 v = ek_clampf4(x, -87.0f, 88.0f);
    const float4 scaled = v * 0x1.715476p+0f;
    const int4 n = convert_int4_rtz(scaled + select((float4)(0.5f), (float4)(-0.5f), scaled < 0.0f));
    const float4 k = convert_float4(n);
    const float4 r = (v - k * 0x1.63p-1f) - k * -0x1.bd0106p-13f;
    float4 y = (float4)(0x1.a01a02p-13f);
    y = y * r + 0x1.6c16c2p-10f;
    y = y * r + 0x1.111112p-7f;
    y = y * r + 0x1.555556p-5f;
    y = y * r + 0x1.555556p-3f;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    return y * as_float4((n + 127) << (int4)(23));
}

EK_INLINE float ek_expf(float x) { return ek_expf4((float4)(x)).s0; }
EK_INLINE float4 ek_sigmoidf4(float4 x) { return 1.0f / (1.0f + ek_expf4(-x)); }

/* Functions of SPEC "float32 layers"; a and b are their parameters, 0 where there are none. */
EK_INLINE float4 ek_f_abs(float4 v, float a, float b) { return select(v, -v, v < 0.0f); }
EK_INLINE float4 ek_f_neg(float4 v, float a, float b) { return -v; }
EK_INLINE float4 ek_f_square(float4 v, float a, float b) { return v * v; }
EK_INLINE float4 ek_f_exp(float4 v, float a, float b) { return ek_expf4(v); }
EK_INLINE float4 ek_f_sigmoid(float4 v, float a, float b) { return ek_sigmoidf4(v); }
EK_INLINE float4 ek_f_silu(float4 v, float a, float b) { return v * ek_sigmoidf4(v); }
EK_INLINE float4 ek_f_quick_gelu(float4 v, float a, float b) { return v * ek_sigmoidf4(v * a); }
EK_INLINE float4 ek_f_tanh(float4 v, float a, float b)
{
    return 2.0f * ek_sigmoidf4(2.0f * v) - 1.0f;
}
EK_INLINE float4 ek_f_hard_sigmoid(float4 v, float a, float b)
{
    return ek_clampf4(v * a + b, 0.0f, 1.0f);
}
EK_INLINE float4 ek_f_hard_swish(float4 v, float a, float b)
{
    return v * ek_clampf4(v * 0x1.555556p-3f + 0.5f, 0.0f, 1.0f);
}
EK_INLINE float4 ek_f_leaky_relu(float4 v, float a, float b) { return select(v, v * a, v < 0.0f); }
EK_INLINE float4 ek_f_thresholded_relu(float4 v, float a, float b)
{
    return select((float4)(0.0f), v, v > (float4)(a));
}

/* One of four; `lane` is a literal. */
EK_INLINE float ek_lanef(float4 v, int lane)
{
    return lane == 0 ? v.s0 : (lane == 1 ? v.s1 : (lane == 2 ? v.s2 : v.s3));
}
