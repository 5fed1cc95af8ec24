/* ek_gpu_prelude.cl - what generated OpenCL C calls: the integer arithmetic of docs/SPEC.md on
 * vectors of four channels. Stands in front of every function; OpenCL C 1.2 without doubles.
 *
 * The host defines EK_HAS_DOT=1 where the device has a dot product of four bytes, and EK_DOT_ARM=1
 * where that is cl_arm_integer_dot_product_int8 rather than cl_khr_integer_dot_product. What the
 * compiler defines by itself does not count: some define extensions that they cannot execute.
 */
#if defined(EK_HAS_DOT) && defined(EK_DOT_ARM)
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_int8 : enable
#endif

#define EK_INLINE static inline

EK_INLINE int ek_min(int a, int b) { return min(a, b); }
EK_INLINE int ek_max(int a, int b) { return max(a, b); }

/* ---- products of bytes: four input channels with weights of four output channels */

/* Four of sixteen bytes. Not w.s89ab: Oclgrind 21.10 calls those four unset, whatever they are. */
EK_INLINE char4 ek_quarter(char16 w, int i)
{
    const int4 words = as_int4(w);
    return as_char4(i == 0 ? words.s0 : (i == 1 ? words.s1 : (i == 2 ? words.s2 : words.s3)));
}

/* Weights in the order [input channel][output channel]. Factors have 8 bits, products 24. */
EK_INLINE int4 ek_mad4(char4 a, char16 w)
{
    int4 sum = mul24((int4)(a.s0), convert_int4(ek_quarter(w, 0)));
    sum = mad24((int4)(a.s1), convert_int4(ek_quarter(w, 1)), sum);
    sum = mad24((int4)(a.s2), convert_int4(ek_quarter(w, 2)), sum);
    return mad24((int4)(a.s3), convert_int4(ek_quarter(w, 3)), sum);
}

EK_INLINE int ek_dot4(char4 a, char4 b)
{
#if defined(EK_HAS_DOT) && defined(EK_DOT_ARM)
    return arm_dot(a, b);
#elif defined(EK_HAS_DOT)
    return dot(a, b);
#else
    const int4 products = mul24(convert_int4(a), convert_int4(b));
    return products.s0 + products.s1 + products.s2 + products.s3;
#endif
}

/* Weights in the order [output channel][input channel]. */
EK_INLINE int4 ek_dot4x4(char4 a, char16 w)
{
    return (int4)(ek_dot4(a, ek_quarter(w, 0)), ek_dot4(a, ek_quarter(w, 1)),
                  ek_dot4(a, ek_quarter(w, 2)), ek_dot4(a, ek_quarter(w, 3)));
}

/* Channel by channel. */
EK_INLINE int4 ek_mul4(char4 a, char4 w) { return mul24(convert_int4(a), convert_int4(w)); }

/* ---- SPEC "Requantization" */

/* (a * m + 2^30) >> 31 of the 64-bit product, halves up; m is not negative. */
EK_INLINE int4 ek_high_product4(int4 a, int4 m)
{
    const uint4 low = as_uint4(a) * as_uint4(m);
    return as_int4((as_uint4(mul_hi(a, m)) << 1) + (((low >> 30) + 1u) >> 1));
}

/* Divide by 2^exponent, 0..31, halves away from zero. */
EK_INLINE int4 ek_rounding_shift4(int4 a, int4 exponent)
{
    const int4 mask = as_int4(((uint4)(1u) << as_uint4(exponent)) - 1u);
    const int4 threshold = (mask >> 1) + as_int4(as_uint4(a) >> 31);
    return (a >> exponent) - ((a & mask) > threshold);
}

/* Two roundings; a positive shift goes left and wraps. Scalars that meet vectors in clamp and max are
 * made vectors: Oclgrind 21.10 takes them wrongly. */
EK_INLINE char4 ek_requantize4(int4 acc, int4 multiplier, int4 shift, int zero_point, int low,
                            int high)
{
    const int4 shifted = as_int4(as_uint4(acc) << as_uint4(max(shift, (int4)(0))));
    const int4 scaled =
        ek_rounding_shift4(ek_high_product4(shifted, multiplier), max(-shift, (int4)(0)));
    const int4 moved = as_int4(as_uint4(scaled) + (uint4)((uint)zero_point));
    return convert_char4(clamp(moved, (int4)(low), (int4)(high)));
}

/* The same for |acc| < 2^30 and right shifts of 2 to 30; `halved` is the shift less 1. */
EK_INLINE char4 ek_requantize_right4(int4 acc, int4 multiplier, int4 halved, int zero_point, int low,
                                  int high)
{
    const int4 product = ek_high_product4(acc, multiplier);
    const int4 scaled = (((product + (product >> 31)) >> halved) + 1) >> 1;
    return convert_char4(clamp(scaled + zero_point, (int4)(low), (int4)(high)));
}

/* Lanes from `count` on are zero: the gap of the last block of channels. */
EK_INLINE char4 ek_lanes4(char4 a, int count)
{
    return select((char4)(0), a, convert_char4((int4)(0, 1, 2, 3) < (int4)(count)));
}
