/* Kernels of the tiny bundle in tests/bundles.py. They touch every byte of their operands, so that
 * the sanitizer sees an operand that lies anywhere but in its memory. */
#include "edgekit.h"

extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

static void blend(void *const *a)
{
    const int8_t *x = a[0], *w = a[1];
    int8_t *y = a[2], *scratch = a[3];
    for (int32_t i = 0; i < 20; ++i) {
        scratch[i] = (int8_t)i;
    }
    for (int32_t i = 0; i < 16; ++i) {
        scratch[i] = (int8_t)(x[i] + w[i]);
    }
    for (int32_t i = 0; i < 16; ++i) {
        y[i] = scratch[i];
    }
}
static const ek_operand_t blend_operands[] = {
    {16u, EK_INPUT}, {16u, EK_CONSTANT}, {16u, EK_OUTPUT}, {20u, EK_SCRATCH}};

/* More operands than ek_invoke has pointers for. */
static void many(void *const *a) { (void)a; }
static const ek_operand_t many_operands[] = {
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT},
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT},
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT},
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT},
    {8u, EK_INPUT}};

/* Just as many operands as ek_invoke has pointers for: the last is the sum of the others. */
static void wide(void *const *a)
{
    uint8_t sum[8] = {0};
    for (uint32_t k = 0; k < EK_MAX_ARGUMENTS - 1u; ++k) {
        for (uint32_t i = 0; i < 8u; ++i) {
            sum[i] = (uint8_t)(sum[i] + ((const uint8_t *)a[k])[i]);
        }
    }
    for (uint32_t i = 0; i < 8u; ++i) {
        ((uint8_t *)a[EK_MAX_ARGUMENTS - 1u])[i] = sum[i];
    }
}
static const ek_operand_t wide_operands[] = {
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT},
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT},
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT},
    {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_INPUT}, {8u, EK_OUTPUT}};

const ek_kernel_t ek_kernels[] = {
    {UINT64_C(0x1111222233334444), blend, blend_operands, 4u, NULL},
    {UINT64_C(0x5555666677778888), many, many_operands, 17u, NULL},
    {UINT64_C(0x9999AAAABBBBCCCC), wide, wide_operands, 16u, NULL},
};
const uint32_t ek_kernel_count = 3u;
