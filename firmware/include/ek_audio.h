/* ek_audio.h - signal processing of docs/SPEC.md: windowed frames, fixed-point FFT, bands, logarithms.
 *
 * Spectra lie in z: fft_length words, pairs of real and imaginary parts. After
 * ek_audio_spectrum z[0] and z[1] are the first and the last bin, which are real.
 */
#ifndef EK_AUDIO_H
#define EK_AUDIO_H

#include "ek_kernel.h"

/* Most bits by which squares are cut, and fractional bits of noise estimates. */
#define EK_AUDIO_POWER_DROP 14
#define EK_AUDIO_NOISE_BITS 7

/* In front of a loop of 64-bit numbers: unrolled, clang keeps them in memory. */
#if defined(__clang__)
#define EK_AUDIO_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define EK_AUDIO_ROLLED
#endif

/* A function of its own, whatever calls it. */
#define EK_AUDIO static __attribute__((noinline, unused))

/* floor(a * b / 2^16) for |a| below 2^30 and 16 bits of b: half of the product with a Q0.15 number. */
EK_INLINE int32_t ek_audio_half(int32_t a, int32_t b)
{
#if defined(EK_SHORT_MULTIPLY)
    return (a >> 16) * b + (((int32_t)((uint32_t)a & 0xFFFFu) * b) >> 16);
#else
    return (int32_t)(((int64_t)a * b) >> 16);
#endif
}

/* The number of bits of v, 0 of 0. */
EK_INLINE int32_t ek_audio_bits(uint32_t v)
{
#if defined(__ARM_FEATURE_CLZ)
    return v == 0u ? 0 : 32 - __builtin_clz(v);
#else
    int32_t bits = 0;
    for (int32_t step = 16; step > 0; step >>= 1) {
        if ((v >> step) != 0u) {
            v >>= step;
            bits += step;
        }
    }
    return bits + (int32_t)v;
#endif
}
EK_INLINE int32_t ek_audio_bits64(uint64_t v)
{
    const uint32_t high = (uint32_t)(v >> 32);
    return high != 0u ? 32 + ek_audio_bits(high) : ek_audio_bits((uint32_t)v);
}

/* log2(1 + i / 128) * 2^16 */
static const uint16_t ek_audio_log2_table[128] __attribute__((unused)) = {
    0, 736, 1466, 2190, 2909, 3623, 4331, 5034, 5732, 6425, 7112, 7795,
    8473, 9146, 9814, 10477, 11136, 11791, 12440, 13086, 13727, 14363, 14996, 15624,
    16248, 16868, 17484, 18096, 18704, 19308, 19909, 20505, 21098, 21687, 22272, 22854,
    23433, 24007, 24579, 25146, 25711, 26272, 26830, 27384, 27936, 28484, 29029, 29571,
    30109, 30645, 31178, 31707, 32234, 32758, 33279, 33797, 34312, 34825, 35334, 35841,
    36346, 36847, 37346, 37842, 38336, 38827, 39316, 39802, 40286, 40767, 41246, 41722,
    42196, 42667, 43137, 43603, 44068, 44530, 44990, 45448, 45904, 46357, 46809, 47258,
    47705, 48150, 48593, 49034, 49472, 49909, 50344, 50776, 51207, 51636, 52063, 52488,
    52911, 53332, 53751, 54169, 54584, 54998, 55410, 55820, 56229, 56635, 57040, 57443,
    57845, 58245, 58643, 59039, 59434, 59827, 60219, 60609, 60997, 61384, 61769, 62152,
    62534, 62915, 63294, 63671, 64047, 64421, 64794, 65166,
};

/* log2(v) * 2^16 of v >= 1, linear between the entries of the table. */
EK_AUDIO int32_t ek_audio_log2(uint64_t v)
{
    const int32_t whole = ek_audio_bits64(v) - 1;
    const uint32_t m = (uint32_t)((v << (63 - whole)) >> 32) & 0x7FFFFFFFu;
    const uint32_t i = m >> 24;
    const int32_t low = ek_audio_log2_table[i];
    const int32_t high = i == 127u ? 65536 : ek_audio_log2_table[i + 1u];
    const int32_t rest = (int32_t)((m >> 8) & 0xFFFFu);
    return whole * 65536 + low + (((high - low) * rest + 32768) >> 16);
}

/* floor(sqrt(x)) of x from 2^30 on. */
EK_INLINE uint32_t ek_audio_long_root(uint32_t x)
{
#if defined(EK_SHORT_MULTIPLY)
    /* No divider: bit by bit. */
    uint32_t root = 0u;
    for (uint32_t bit = UINT32_C(1) << 30; bit != 0u; bit >>= 2) {
        if (x >= root + bit) {
            x -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return root;
#else
    /* A straight line is right to 3 %, two steps of Newton to 1e-7; they come from above. */
    uint32_t root = 22900u + (x >> 17) + (x >> 19) + (x >> 20);
    root = (root + x / root) >> 1;
    root = (root + x / root) >> 1;
    root = root > 65535u ? 65535u : root;
    return root - (root * root > x ? 1u : 0u);
#endif
}

/* The square root of v with 16 bits: floor(sqrt(v >> 2 e)) << e, e the least for 32 bits. */
EK_INLINE uint32_t ek_audio_root(uint64_t v)
{
    const uint32_t high = (uint32_t)(v >> 32), low = (uint32_t)v;
    if (high != 0u) {
        const int32_t e = (ek_audio_bits(high) + 1) >> 1;
        return ek_audio_long_root((high << (32 - 2 * e)) | ((low >> e) >> e)) << e;
    }
    if (low == 0u) {
        return 0u;
    }
    /* As a number from 2^30 on, whose root is as many bits longer as half of the shift. */
    const int32_t up = (32 - ek_audio_bits(low)) & ~1;
    return ek_audio_long_root(low << up) >> (up >> 1);
}

/* A windowed sample. */
EK_INLINE int32_t ek_audio_sample(const int16_t *x, const int16_t *w, int32_t windowed, int32_t a,
                                  int32_t before)
{
    if (a != 0) {
        const int32_t p = *x * 32768 - a * before;
        return windowed != 0 ? (int32_t)(((int64_t)p * *w) >> 16) : p >> 1;
    }
    return *x * (windowed != 0 ? *w : 32768);
}

/* The frame of `length` samples from `start` on, of `count` samples: where it reaches beyond them, a
 * copy in `room`, with zeros there or with samples that are reflected. */
EK_AUDIO const int16_t *ek_audio_edge(const int16_t *x, int32_t count, int32_t start,
                                      int32_t length, int32_t reflect, int16_t *room)
{
    if (start >= 0 && start + length <= count) {
        return x + start;
    }
    for (int32_t i = 0; i < length; ++i) {
        int32_t at = start + i;
        const int32_t outside = at < 0 || at >= count ? 1 : 0;
        at = at < 0 ? -at : at;
        at = at >= count ? 2 * (count - 1) - at : at;
        room[i] = outside != 0 && reflect == 0 ? 0 : x[at];
    }
    return room;
}

/* Windowed samples of one frame as half = fft_length / 2 pairs in z, in bit-reversed order and
 * shifted so that the largest is just below 2^29; returns the shift k, at most `most`.
 *
 * a is the preemphasis in Q0.15, 0 for none; `before` is the sample in front of the frame. */
EK_INLINE int32_t ek_audio_frame(const int16_t *x, const int16_t *w, int32_t windowed,
                                 int32_t length, int32_t half, int32_t a, int32_t before,
                                 int32_t most, int32_t *z)
{
    uint32_t seen = 0u;
    uint32_t at = 0u;
    for (int32_t n = 0; n < 2 * half; n += 2) {
        int32_t even = 0, odd = 0;
        if (n < length) {
            even = ek_audio_sample(x + n, w + n, windowed, a, before);
        }
        if (n + 1 < length) {
            odd = ek_audio_sample(x + n + 1, w + n + 1, windowed, a, x[n]);
            before = x[n + 1];
        }
        z[2u * at] = even;
        z[2u * at + 1u] = odd;
        seen |= (uint32_t)(even ^ (even >> 31)) | (uint32_t)(odd ^ (odd >> 31));
        uint32_t bit = (uint32_t)half >> 1;
        while ((at & bit) != 0u) {
            at ^= bit;
            bit >>= 1;
        }
        at |= bit;
    }
    const int32_t k = ek_min(31 - ek_audio_bits(seen), most);
    if (k > 2) {
        for (int32_t i = 0; i < 2 * half; ++i) {
            z[i] = (int32_t)((uint32_t)z[i] << (k - 2));
        }
    } else if (k < 2) {
        for (int32_t i = 0; i < 2 * half; ++i) {
            z[i] >>= 2 - k;
        }
    }
    return k;
}

/* One pair of a stage: a and b become (a + w b) / 2 and (a - w b) / 2; c, s are -cos and -sin. */
EK_INLINE void ek_audio_butterfly(int32_t *a, int32_t *b, int32_t c, int32_t s)
{
    const int32_t ur = ek_audio_half(b[0], c) + ek_audio_half(b[1], s);
    const int32_t ui = ek_audio_half(b[1], c) - ek_audio_half(b[0], s);
    const int32_t ar = a[0] >> 1, ai = a[1] >> 1;
    a[0] = ar - ur;
    a[1] = ai - ui;
    b[0] = ar + ur;
    b[1] = ai + ui;
}

/* The first two stages of four numbers: factors are 1 and -i, products negations and halves. */
EK_INLINE void ek_audio_four(int32_t *z)
{
    int32_t re[4], im[4];
    for (int32_t i = 0; i < 4; i += 2) {
        const int32_t ur = -z[2 * i + 2] >> 1, ui = -z[2 * i + 3] >> 1;
        re[i] = (z[2 * i] >> 1) - ur;
        im[i] = (z[2 * i + 1] >> 1) - ui;
        re[i + 1] = (z[2 * i] >> 1) + ur;
        im[i + 1] = (z[2 * i + 1] >> 1) + ui;
    }
    const int32_t ur = -re[2] >> 1, ui = -im[2] >> 1;
    z[0] = (re[0] >> 1) - ur;
    z[1] = (im[0] >> 1) - ui;
    z[4] = (re[0] >> 1) + ur;
    z[5] = (im[0] >> 1) + ui;
    const int32_t vr = -im[3] >> 1, vi = -(-re[3] >> 1);
    z[2] = (re[1] >> 1) - vr;
    z[3] = (im[1] >> 1) - vi;
    z[6] = (re[1] >> 1) + vr;
    z[7] = (im[1] >> 1) + vi;
}

/* The transform of 2 * half real samples, divided by their number; `w` are pairs -cos, -sin of
 * 2 pi k / (2 half) in Q0.15, `half` of them. */
EK_INLINE void ek_audio_spectrum(int32_t *z, const int16_t *w, int32_t half)
{
    for (int32_t i = 0; i < 2 * half; i += 8) {
        ek_audio_four(z + i);
    }
    for (int32_t span = 4, step = half >> 2; span < half; span *= 2, step >>= 1) {
        if (span * span <= half) { /* many groups: the factor stays in registers */
            for (int32_t j = 0; j < span; ++j) {
                const int32_t c = w[2 * step * j], s = w[2 * step * j + 1];
                for (int32_t i = j; i < half; i += 2 * span) {
                    ek_audio_butterfly(z + 2 * i, z + 2 * (i + span), c, s);
                }
            }
        } else {
            for (int32_t i = 0; i < half; i += 2 * span) {
                const int16_t *factor = w;
                int32_t *a = z + 2 * i, *b = z + 2 * (i + span);
                for (int32_t j = 0; j < span; ++j, factor += 2 * step, a += 2, b += 2) {
                    ek_audio_butterfly(a, b, factor[0], factor[1]);
                }
            }
        }
    }
    /* From the transform of pairs to that of samples, bins k and half - k at a time. */
    const int32_t zr = z[0] >> 1, zi = z[1] >> 1;
    z[0] = zr + zi;
    z[1] = zr - zi;
    for (int32_t k = 1; k <= half / 2; ++k) {
        int32_t *const p = z + 2 * k, *const q = z + 2 * (half - k);
        const int32_t c = w[2 * k], s = w[2 * k + 1];
        const int32_t ar = p[0] >> 1, ai = p[1] >> 1, br = q[0] >> 1, bi = q[1] >> 1;
        const int32_t er = ar + br, ei = ai - bi, odd_r = ai + bi, odd_i = br - ar;
        const int32_t ur = ek_audio_half(odd_r, c) + ek_audio_half(odd_i, s);
        const int32_t ui = ek_audio_half(odd_i, c) - ek_audio_half(odd_r, s);
        q[0] = (er >> 1) + ur;
        q[1] = -((ei >> 1) + ui);
        p[0] = (er >> 1) - ur;
        p[1] = (ei >> 1) - ui;
    }
}

/* |z|^2 of bin k; `ends` is not 0 where k may be the first or the last bin. */
EK_INLINE uint64_t ek_audio_square(const int32_t *z, int32_t k, int32_t half, int32_t ends)
{
    if (ends != 0 && (k == 0 || k == half)) {
        const int32_t only = z[k == 0 ? 0 : 1];
        return (uint64_t)((int64_t)only * only);
    }
    const int32_t re = z[2 * k], im = z[2 * k + 1];
    return (uint64_t)((int64_t)re * re + (int64_t)im * im);
}

/* The half + 1 magnitudes of a spectrum, in its place. */
EK_INLINE void ek_audio_magnitudes(int32_t *z, int32_t half)
{
    const uint64_t last = ek_audio_square(z, half, half, 1);
    z[0] = (int32_t)ek_audio_root(ek_audio_square(z, 0, half, 1));
    for (int32_t k = 1; k < half; ++k) {
        z[k] = (int32_t)ek_audio_root(ek_audio_square(z, k, half, 0));
    }
    z[half] = (int32_t)ek_audio_root(last);
}

/* The sum of a filter's bins: of squares where `power` is not 0, else of magnitudes. `ends` says
 * whether filters reach the first or the last bin. */
EK_INLINE uint64_t ek_audio_band(const int32_t *z, int32_t half, int32_t power, int32_t ends,
                                 int32_t first, int32_t count, const int16_t *w)
{
    uint64_t sum = 0u;
    EK_AUDIO_ROLLED
    for (int32_t i = 0; i < count; ++i) {
        const uint64_t bin = power != 0
                                 ? ek_audio_square(z, first + i, half, ends) >> EK_AUDIO_POWER_DROP
                                 : (uint64_t)(uint32_t)z[first + i];
        sum += bin * (uint32_t)w[i];
    }
    return sum;
}

/* Noise reduction and gain of a band: the logarithm of what is left of `amplitude`. */
EK_AUDIO int32_t ek_audio_track(uint64_t amplitude, int64_t *noise, int32_t smoothing,
                                int32_t remaining, int32_t strength, uint64_t offset)
{
    const int64_t a = (int64_t)amplitude;
    *noise += ((a * (1 << EK_AUDIO_NOISE_BITS) - *noise) * smoothing) >> 15;
    const int64_t estimate = *noise >> EK_AUDIO_NOISE_BITS;
    const int64_t least = (a * remaining) >> 15;
    int64_t left = a - estimate > least ? a - estimate : least;
    left = left > 1 ? left : 1;
    int32_t v = ek_audio_log2((uint64_t)left);
    if (strength != 0) {
        const int32_t gain = ek_audio_log2((uint64_t)estimate + offset);
        v -= (int32_t)(((int64_t)gain * strength) >> 15);
    }
    return v;
}

#endif
