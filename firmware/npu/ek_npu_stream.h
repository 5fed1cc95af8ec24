/* ek_npu_stream.h - the words of a command stream (docs/ACCELERATOR.md), for the checker and the
 * simulator. Functions that take a command expect one whose fields have been checked. */
#ifndef EK_NPU_STREAM_H
#define EK_NPU_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "ek_kernel.h"

enum {
    EK_NPU_MAGIC = 0x314E4B45, /* "EKN1" */
    EK_NPU_BLOCK = 8,          /* channels of a word of A */
    EK_NPU_TABLE_WORDS = 512,
    EK_NPU_REGIONS = 8
};

enum {
    EK_NPU_END = 0x01,
    EK_NPU_LOAD = 0x02,
    EK_NPU_STORE = 0x03,
    EK_NPU_CONV = 0x04,
    EK_NPU_DEPTHWISE = 0x05,
    EK_NPU_SUM = 0x06,
    EK_NPU_MAX = 0x07,
    EK_NPU_ADD = 0x08,
    EK_NPU_HEAD = 0x0F
};

enum {
    EK_NPU_NO_ERROR = 0,
    EK_NPU_E_OPCODE = 1,
    EK_NPU_E_LENGTH = 2,
    EK_NPU_E_COUNT = 3,
    EK_NPU_E_ADDRESS = 4,
    EK_NPU_E_TOKEN = 5,
    EK_NPU_E_TRUNCATED = 6,
    EK_NPU_E_HEAD = 7,
    EK_NPU_E_REGION = 9
};

enum { EK_NPU_A = 0, EK_NPU_W = 1, EK_NPU_P = 2, EK_NPU_T = 3 };

EK_INLINE uint32_t ek_npu_opcode(const uint32_t *c) { return c[0] & 0xFFu; }
EK_INLINE uint32_t ek_npu_words(const uint32_t *c) { return c[0] >> 8 & 0xFFu; }
EK_INLINE uint32_t ek_npu_after(const uint32_t *c) { return c[0] >> 16; }
EK_INLINE bool ek_npu_is_transfer(uint32_t opcode)
{
    return opcode == EK_NPU_LOAD || opcode == EK_NPU_STORE;
}
EK_INLINE bool ek_npu_is_window(uint32_t opcode)
{
    return opcode >= EK_NPU_CONV && opcode <= EK_NPU_MAX;
}

EK_INLINE uint32_t ek_npu_bits(uint32_t word, uint32_t low, uint32_t width)
{
    return word >> low & (uint32_t)((UINT64_C(1) << width) - 1u);
}
EK_INLINE int32_t ek_npu_signed(uint32_t word, uint32_t low)
{
    return (int8_t)(uint8_t)(word >> low);
}

typedef struct {
    uint32_t offset, region, space, half;
    uint32_t base, count, channels, plane;
    int32_t fill;
} ek_npu_transfer_t;

EK_INLINE ek_npu_transfer_t ek_npu_transfer(const uint32_t *c)
{
    ek_npu_transfer_t t;
    t.offset = c[1];
    t.region = ek_npu_bits(c[2], 0, 3);
    t.space = ek_npu_bits(c[2], 4, 2);
    t.half = ek_npu_bits(c[2], 6, 1);
    t.fill = ek_npu_signed(c[2], 8);
    t.base = ek_npu_bits(c[3], 0, 20);
    t.count = ek_npu_bits(c[4], 0, 24);
    t.channels = ek_npu_bits(c[5], 0, 16);
    t.plane = ek_npu_bits(c[6], 0, 20);
    return t;
}

/* What makes bytes of accumulators. */
typedef struct {
    uint32_t p_base;
    int32_t zero_point, low, high;
} ek_npu_output_t;

typedef struct {
    uint32_t opcode;
    uint32_t a_base, a_plane, o_base, o_plane, w_base;
    uint32_t blocks, groups, o_blocks, uniform;
    int32_t in_w, in_h, out_w, out_h;
    int32_t kernel_h, kernel_groups, taps, tail;
    int32_t stride_h, stride_w, step_h, step_w;
    int32_t pad_top, pad_left, pad;
    ek_npu_output_t output;
} ek_npu_window_t;

EK_INLINE ek_npu_window_t ek_npu_window(const uint32_t *c)
{
    ek_npu_window_t w;
    w.opcode = ek_npu_opcode(c);
    w.a_base = ek_npu_bits(c[1], 0, 20);
    w.a_plane = ek_npu_bits(c[2], 0, 20);
    w.in_w = (int32_t)ek_npu_bits(c[3], 0, 16);
    w.in_h = (int32_t)ek_npu_bits(c[3], 16, 16);
    w.out_w = (int32_t)ek_npu_bits(c[4], 0, 16);
    w.out_h = (int32_t)ek_npu_bits(c[4], 16, 16);
    w.kernel_h = (int32_t)ek_npu_bits(c[5], 0, 8);
    w.kernel_groups = (int32_t)ek_npu_bits(c[5], 8, 8);
    w.taps = (int32_t)ek_npu_bits(c[5], 16, 3);
    w.tail = (int32_t)ek_npu_bits(c[5], 20, 3);
    w.stride_h = (int32_t)ek_npu_bits(c[6], 0, 8);
    w.stride_w = (int32_t)ek_npu_bits(c[6], 8, 8);
    w.step_h = (int32_t)ek_npu_bits(c[6], 16, 8);
    w.step_w = (int32_t)ek_npu_bits(c[6], 24, 8);
    w.pad_top = (int32_t)ek_npu_bits(c[7], 0, 8);
    w.pad_left = (int32_t)ek_npu_bits(c[7], 8, 8);
    w.pad = ek_npu_signed(c[7], 16);
    w.uniform = ek_npu_bits(c[7], 24, 1);
    w.blocks = ek_npu_bits(c[8], 0, 12);
    w.groups = ek_npu_bits(c[8], 12, 12);
    w.o_base = ek_npu_bits(c[9], 0, 20);
    w.o_plane = ek_npu_bits(c[10], 0, 20);
    w.o_blocks = ek_npu_bits(c[11], 0, 12);
    w.w_base = ek_npu_bits(c[12], 0, 16);
    w.output.p_base = ek_npu_bits(c[12], 16, 16);
    w.output.zero_point = ek_npu_signed(c[13], 0);
    w.output.low = ek_npu_signed(c[13], 8);
    w.output.high = ek_npu_signed(c[13], 16);
    return w;
}

typedef struct {
    uint32_t a_base, b_base, o_base, count;
    ek_npu_output_t output;
} ek_npu_add_t;

EK_INLINE ek_npu_add_t ek_npu_add(const uint32_t *c)
{
    ek_npu_add_t a;
    a.a_base = ek_npu_bits(c[1], 0, 20);
    a.b_base = ek_npu_bits(c[2], 0, 20);
    a.o_base = ek_npu_bits(c[3], 0, 20);
    a.count = ek_npu_bits(c[4], 0, 20);
    a.output.p_base = ek_npu_bits(c[5], 16, 16);
    a.output.zero_point = ek_npu_signed(c[6], 0);
    a.output.low = ek_npu_signed(c[6], 8);
    a.output.high = ek_npu_signed(c[6], 16);
    return a;
}

#endif
