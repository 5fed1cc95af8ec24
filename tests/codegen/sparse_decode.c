/* ek_sparse_decode as an exported function, and a program that feeds it damaged streams. */
#include "ek_sparse.h"

void decode(const int8_t *w, int32_t bytes, int32_t blocks, int32_t at, int32_t n, int8_t *out)
{
    ek_sparse_decode(w, bytes, blocks, at, n, out);
}

#ifdef FUZZ
#include <stdlib.h>

int main(void)
{
    uint32_t state = 1u;
    for (int32_t round = 0; round < 20000; ++round) {
        state = state * 1664525u + 1013904223u;
        const int32_t n = 1 + (int32_t)((state >> 8) % 150u);
        const int32_t blocks = 1 + (int32_t)((state >> 20) % 4u);
        const int32_t head = 4 * blocks * (1 + (n + 31) / 32);
        const int32_t bytes = head + (int32_t)((state >> 3) % 70u);
        int8_t *w = malloc((size_t)bytes); /* exactly as many: a byte beyond is a finding */
        int8_t *out = malloc((size_t)n);
        for (int32_t i = 0; i < bytes; ++i) {
            state = state * 1664525u + 1013904223u;
            w[i] = (int8_t)(state >> 24);
        }
        for (int32_t b = 0; b < blocks; ++b) {
            if ((round & 3) != 0) { /* starts near the end, where it is close */
                const uint32_t start = (uint32_t)(bytes - (int32_t)(state % 40u));
                memcpy(w + 4 * b, &start, sizeof start);
            }
            decode(w, bytes, blocks, b * n, n, out);
        }
        free(w);
        free(out);
    }
    return 0;
}
#endif
