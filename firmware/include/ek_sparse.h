/* ek_sparse.h - weights stored as a bitmask and the values that are not zero (SPEC "Sparse weights").
 *
 * Included by generated kernels that need it; a kernel decodes a block of weights into its scratch
 * and then multiplies as if they had been dense.
 */
#ifndef EK_SPARSE_H
#define EK_SPARSE_H

#include "ek_kernel.h"

EK_INLINE uint32_t ek_sparse_word(const int8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Put the next values where the four bits of `mask` are set, the lowest bit being the first byte;
 * returns what follows them. Four bytes are read, whatever the mask. */
EK_INLINE const int8_t *ek_sparse_four(uint32_t mask, const int8_t *values, int8_t *out)
{
    uint32_t v = ek_sparse_word(values);
    switch (mask) {
    case 0: v = 0; break;
    case 1: v = v & 0xffu; values += 1; break;
    case 2: v = (v & 0xffu) << 8; values += 1; break;
    case 3: v = v & 0xffffu; values += 2; break;
    case 4: v = (v & 0xffu) << 16; values += 1; break;
    case 5: v = (v & 0xffu) | (v & 0xff00u) << 8; values += 2; break;
    case 6: v = (v & 0xffffu) << 8; values += 2; break;
    case 7: v = v & 0xffffffu; values += 3; break;
    case 8: v = v << 24; values += 1; break;
    case 9: v = (v & 0xffu) | (v & 0xff00u) << 16; values += 2; break;
    case 10: v = (v & 0xffu) << 8 | (v & 0xff00u) << 16; values += 2; break;
    case 11: v = (v & 0xffffu) | (v & 0xff0000u) << 8; values += 3; break;
    case 12: v = v << 16; values += 2; break;
    case 13: v = (v & 0xffu) | (v & 0xffff00u) << 8; values += 3; break;
    case 14: v = v << 8; values += 3; break;
    default: values += 4; break;
    }
    memcpy(out, &v, sizeof v);
    return values;
}

/* Write weights at .. at + n - 1, one block of n of `blocks`, to `out`. `w` is word-aligned and has
 * `bytes` bytes; whatever they are, nothing beyond them is read. */
static __attribute__((noinline, unused)) void ek_sparse_decode(const int8_t *w, int32_t bytes,
                                                               int32_t blocks, int32_t at,
                                                               int32_t n, int8_t *out)
{
    const int32_t block = at / n;
    const int8_t *mask = w + 4 * blocks + block * ((n + 31) / 32 * 4);
    const uint32_t start = ek_sparse_word(w + 4 * block);
    const int8_t *const end = w + bytes;
    const int8_t *v = start < (uint32_t)bytes ? w + start : end;
    for (int32_t i = 0; i < n; i += 32, mask += 4) {
        uint32_t bits = ek_sparse_word(mask);
        if (n - i >= 32 && end - v >= 35) {
            for (int32_t k = 0; k < 8; ++k, bits >>= 4, out += 4) {
                v = ek_sparse_four(bits & 15u, v, out);
            }
        } else {
            for (int32_t k = 0; k < 32 && i + k < n; ++k, bits >>= 1, ++out) {
                const bool there = (bits & 1u) != 0 && v < end;
                *out = there ? *v : 0;
                v += there ? 1 : 0;
            }
        }
    }
}

#endif
