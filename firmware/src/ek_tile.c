/* ek_tile.h in C. Four taps per turn: pointers move once, and the loop's branch is shared. */
#include "ek_tile.h"

#define TILE_2X2(name, element)                                                      \
    void name(const element *x, const int8_t *w, int32_t taps, int32_t *acc)         \
    {                                                                                \
        const element *x0 = x, *x1 = x + taps;                                       \
        const int8_t *w0 = w, *w1 = w + taps;                                        \
        int32_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];                      \
        for (; taps >= 4; taps -= 4, x0 += 4, x1 += 4, w0 += 4, w1 += 4) {           \
            STEP_2X2(0);                                                             \
            STEP_2X2(1);                                                             \
            STEP_2X2(2);                                                             \
            STEP_2X2(3);                                                             \
        }                                                                            \
        for (; taps > 0; taps--, x0++, x1++, w0++, w1++) {                           \
            STEP_2X2(0);                                                             \
        }                                                                            \
        acc[0] = a;                                                                  \
        acc[1] = b;                                                                  \
        acc[2] = c;                                                                  \
        acc[3] = d;                                                                  \
    }
#define STEP_2X2(i)                                             \
    do {                                                        \
        const int32_t p = x0[i], q = x1[i], u = w0[i], v = w1[i]; \
        a += p * u;                                             \
        b += p * v;                                             \
        c += q * u;                                             \
        d += q * v;                                             \
    } while (0)

#define TILE_1X4(name, element)                                                      \
    void name(const element *x, const int8_t *w, int32_t taps, int32_t *acc)         \
    {                                                                                \
        const int8_t *w0 = w, *w1 = w0 + taps, *w2 = w1 + taps, *w3 = w2 + taps;     \
        int32_t a = acc[0], b = acc[1], c = acc[2], d = acc[3];                      \
        for (; taps >= 4; taps -= 4, x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {   \
            STEP_1X4(0);                                                             \
            STEP_1X4(1);                                                             \
            STEP_1X4(2);                                                             \
            STEP_1X4(3);                                                             \
        }                                                                            \
        for (; taps > 0; taps--, x++, w0++, w1++, w2++, w3++) {                      \
            STEP_1X4(0);                                                             \
        }                                                                            \
        acc[0] = a;                                                                  \
        acc[1] = b;                                                                  \
        acc[2] = c;                                                                  \
        acc[3] = d;                                                                  \
    }
#define STEP_1X4(i)              \
    do {                         \
        const int32_t p = x[i];  \
        a += p * w0[i];          \
        b += p * w1[i];          \
        c += p * w2[i];          \
        d += p * w3[i];          \
    } while (0)

#if !defined(__thumb__) /* there, ek_tile_v6m.S and ek_tile_v7m.S */
TILE_2X2(ek_tile_2x2, int8_t)
TILE_1X4(ek_tile_1x4, int8_t)
#endif
TILE_2X2(ek_tile_2x2_s16, int16_t)
TILE_1X4(ek_tile_1x4_s16, int16_t)
