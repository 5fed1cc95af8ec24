/* ek_gpu_layout.c - tensors between the CPU's order and blocks of four channels. */
#include "ek_gpu_core.h"

#include <string.h>

enum { BLOCK = 4 };

/* IEEE 754: float32 to float16, to nearest, ties to even. */
static uint16_t half_of(uint32_t f)
{
    const uint32_t sign = f >> 16 & 0x8000u;
    const uint32_t magnitude = f & 0x7FFFFFFFu;
    uint32_t kept, rest, middle;
    if (magnitude > 0x7F800000u) { /* NaN */
        return (uint16_t)(sign | 0x7E00u);
    }
    if (magnitude >= 0x477FF000u) { /* rounds beyond the largest */
        return (uint16_t)(sign | 0x7C00u);
    }
    if (magnitude >= 0x38800000u) { /* normal */
        kept = (magnitude - 0x38000000u) >> 13;
        rest = magnitude & 0x1FFFu;
        middle = 0x1000u;
    } else {
        const uint32_t shift = 126u - (magnitude >> 23); /* 14 for the largest */
        if (shift > 24u) {
            return (uint16_t)sign;
        }
        const uint32_t mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
        kept = mantissa >> shift;
        rest = mantissa & ((1u << shift) - 1u);
        middle = 1u << (shift - 1u);
    }
    kept += rest > middle || (rest == middle && (kept & 1u) != 0u) ? 1u : 0u;
    return (uint16_t)(sign | kept);
}

static uint32_t float_of(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 31u, mantissa = h & 0x3FFu;
    if (exponent == 31u) {
        return sign | 0x7F800000u | mantissa << 13;
    }
    if (exponent == 0u) {
        if (mantissa == 0u) {
            return sign;
        }
        exponent = 1u;
        while ((mantissa & 0x400u) == 0u) {
            mantissa <<= 1;
            exponent -= 1u; /* below zero is meant: modulo 2^32 */
        }
        mantissa &= 0x3FFu;
    }
    return sign | ((exponent + 112u) << 23) | mantissa << 13;
}

void ek_gpu_pack(const ek_gpu_tensor_t *t, const uint8_t *from, uint8_t *to)
{
    const size_t e = t->element_bytes, source = t->half == EK_GPU_HALF ? 4u : e;
    for (uint32_t c = 0; c < t->channels; c += BLOCK) {
        const uint32_t real = t->channels - c < BLOCK ? t->channels - c : BLOCK;
        for (uint32_t p = 0; p < t->pixels; ++p) {
            const uint8_t *x = from + source * ((size_t)p * t->channels + c);
            if (t->half == EK_GPU_HALF) {
                for (uint32_t i = 0; i < real; ++i) {
                    uint32_t f;
                    memcpy(&f, x + 4u * i, sizeof f);
                    const uint16_t h = half_of(f);
                    memcpy(to + 2u * i, &h, sizeof h);
                }
            } else {
                memcpy(to, x, e * real);
            }
            memset(to + e * real, 0, e * (BLOCK - real));
            to += e * BLOCK;
        }
    }
}

void ek_gpu_unpack(const ek_gpu_tensor_t *t, const uint8_t *from, uint8_t *to)
{
    const size_t e = t->element_bytes, result = t->half == EK_GPU_HALF ? 4u : e;
    for (uint32_t c = 0; c < t->channels; c += BLOCK) {
        const uint32_t real = t->channels - c < BLOCK ? t->channels - c : BLOCK;
        for (uint32_t p = 0; p < t->pixels; ++p) {
            uint8_t *y = to + result * ((size_t)p * t->channels + c);
            if (t->half == EK_GPU_HALF) {
                for (uint32_t i = 0; i < real; ++i) {
                    uint16_t h;
                    memcpy(&h, from + 2u * i, sizeof h);
                    const uint32_t f = float_of(h);
                    memcpy(y + 4u * i, &f, sizeof f);
                }
            } else {
                memcpy(y, from, e * real);
            }
            from += e * BLOCK;
        }
    }
}

float ek_gpu_real(const ek_gpu_tensor_t *t, const uint8_t *element)
{
    uint32_t bits;
    float value;
    if (t->half == EK_GPU_HALF) {
        uint16_t h;
        memcpy(&h, element, sizeof h);
        bits = float_of(h);
    } else {
        memcpy(&bits, element, sizeof bits);
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}
