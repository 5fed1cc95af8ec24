/* ek_npu_check.c - reads a command stream that may be any words, before the hardware does.
 *
 * All sums have 64 bits; every loop is bounded by the words of the stream. Errors are found in this
 * order: what makes words no commands, addresses and regions command by command, then `after`.
 */
#include "ek_npu.h"
#include "ek_npu_stream.h"

/* The configuration's sizes (targets/npu/config.py). */
typedef struct {
    uint32_t out_lanes, requant_lanes, depthwise_lanes;
    uint32_t memory[4]; /* words of A and W, channels of P, words of T */
    bool tables;
} sizes_t;

static bool read_config(uint32_t config, sizes_t *s)
{
    s->out_lanes = 1u << ek_npu_bits(config, 4, 3);
    s->requant_lanes = 1u << ek_npu_bits(config, 7, 2);
    s->depthwise_lanes = s->out_lanes < EK_NPU_BLOCK ? s->out_lanes : EK_NPU_BLOCK;
    s->memory[EK_NPU_A] = UINT32_C(1) << ek_npu_bits(config, 9, 5);
    s->memory[EK_NPU_W] = UINT32_C(1) << ek_npu_bits(config, 14, 5);
    s->memory[EK_NPU_P] = UINT32_C(1) << ek_npu_bits(config, 19, 5);
    s->tables = ek_npu_bits(config, 24, 1) != 0u;
    s->memory[EK_NPU_T] = s->tables ? EK_NPU_TABLE_WORDS : 0u;
    return ek_npu_bits(config, 0, 4) == 1u;
}

/* Bits of the words after the first that are a field's (targets/npu/isa.py). */
static const uint32_t TRANSFER_BITS[] = {0xFFFFFFFFu, 0x0000FF77u, 0x000FFFFFu,
                                         0x00FFFFFFu, 0x0000FFFFu, 0x000FFFFFu};
static const uint32_t WINDOW_BITS[] = {0x000FFFFFu, 0x000FFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu,
                                       0x0077FFFFu, 0xFFFFFFFFu, 0x01FFFFFFu, 0x00FFFFFFu,
                                       0x000FFFFFu, 0x000FFFFFu, 0x00000FFFu, 0xFFFFFFFFu,
                                       0x00FFFFFFu};
static const uint32_t ADD_BITS[] = {0x000FFFFFu, 0x000FFFFFu, 0x000FFFFFu,
                                    0x000FFFFFu, 0xFFFF0000u, 0x00FFFFFFu};
static const uint32_t HEAD_BITS[] = {0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu};

static bool no_other_bits(const uint32_t *c, const uint32_t *bits, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        if ((c[1u + i] & ~bits[i]) != 0u) {
            return false;
        }
    }
    return true;
}

static bool within(int32_t value, int32_t most) { return value >= 1 && value <= most; }

static bool window_counts(const uint32_t *c)
{
    const ek_npu_window_t w = ek_npu_window(c);
    const bool fields = within(w.in_w, 4095) && within(w.in_h, 4095) && within(w.out_w, 4095) &&
                        within(w.out_h, 4095) && w.kernel_h >= 1 && w.kernel_groups >= 1 &&
                        within(w.taps, 4) && within(w.tail, w.taps) && within(w.stride_h, 15) &&
                        within(w.stride_w, 15) && within(w.step_h, 63) && within(w.step_w, 63) &&
                        w.blocks >= 1u && w.groups >= 1u && w.o_blocks >= 1u;
    const bool one_block = w.opcode != EK_NPU_CONV || w.taps > 1;
    return fields && (w.blocks == 1u || !one_block) && (w.opcode != EK_NPU_CONV || w.taps != 3);
}

static bool transfer_counts(const uint32_t *c)
{
    const ek_npu_transfer_t t = ek_npu_transfer(c);
    const bool store = ek_npu_opcode(c) == EK_NPU_STORE;
    if (t.count == 0u || t.channels == 0u) {
        return false;
    }
    if (t.space == EK_NPU_A) {
        return t.half == 0u && (!store || t.fill == 0);
    }
    return !store && t.offset % 4u == 0u && t.channels == 1u && t.plane == 0u && t.fill == 0 &&
           (t.half == 0u || t.space == EK_NPU_W);
}

static uint32_t head_error(const uint32_t *c, uint32_t words, uint32_t config)
{
    if (c[1] != (uint32_t)EK_NPU_MAGIC || c[2] != config) {
        return EK_NPU_E_HEAD;
    }
    if (c[3] != words) {
        return EK_NPU_E_TRUNCATED;
    }
    return ek_npu_after(c) == 0u ? EK_NPU_NO_ERROR : EK_NPU_E_COUNT;
}

/* Words of an opcode, 0 where there is no such opcode. */
static uint32_t words_of(uint32_t opcode, const sizes_t *s)
{
    switch (opcode) {
    case EK_NPU_HEAD:
        return 4u;
    case EK_NPU_END:
        return 1u;
    case EK_NPU_LOAD:
    case EK_NPU_STORE:
        return 7u;
    case EK_NPU_ADD:
        return s->tables ? 7u : 0u;
    default:
        return ek_npu_is_window(opcode) ? 14u : 0u;
    }
}

/* What is wrong with the fields of a command that has all its words. */
static uint32_t field_error(const uint32_t *c, uint32_t words, uint32_t config)
{
    const uint32_t opcode = ek_npu_opcode(c);
    bool fine;
    if (opcode == EK_NPU_HEAD) {
        return no_other_bits(c, HEAD_BITS, 3u) ? head_error(c, words, config) : EK_NPU_E_COUNT;
    }
    if (opcode == EK_NPU_END) {
        fine = ek_npu_after(c) == 0u;
    } else if (ek_npu_is_transfer(opcode)) {
        fine = no_other_bits(c, TRANSFER_BITS, 6u) && transfer_counts(c);
    } else if (ek_npu_is_window(opcode)) {
        fine = no_other_bits(c, WINDOW_BITS, 13u) && window_counts(c);
    } else {
        fine = no_other_bits(c, ADD_BITS, 6u) && ek_npu_add(c).count != 0u;
    }
    return fine ? EK_NPU_NO_ERROR : EK_NPU_E_COUNT;
}

/* Whether the words are commands from HEAD to END. */
static uint32_t stream_error(const uint32_t *stream, uint32_t words, uint32_t config,
                             const sizes_t *s, uint32_t *command)
{
    uint32_t at = 0;
    for (*command = 0; at < words; ++*command) {
        const uint32_t *c = stream + at;
        const uint32_t opcode = ek_npu_opcode(c);
        const uint32_t length = words_of(opcode, s);
        if ((opcode == EK_NPU_HEAD) != (*command == 0u)) {
            return EK_NPU_E_HEAD;
        }
        if (length == 0u) {
            return EK_NPU_E_OPCODE;
        }
        if (ek_npu_words(c) != length) {
            return EK_NPU_E_LENGTH;
        }
        if (length > words - at) {
            return EK_NPU_E_TRUNCATED;
        }
        const uint32_t error = field_error(c, words, config);
        if (error != EK_NPU_NO_ERROR) {
            return error;
        }
        at += length;
        if (opcode == EK_NPU_END) {
            ++*command;
            return at == words ? EK_NPU_NO_ERROR : EK_NPU_E_LENGTH;
        }
    }
    return EK_NPU_E_TRUNCATED;
}

/* Whether `blocks` runs of `length` words, `plane` apart, lie in a memory. */
static bool inside(const sizes_t *s, uint32_t space, uint64_t start, uint64_t length,
                   uint64_t blocks, uint64_t plane)
{
    return start + (blocks - 1u) * plane + length <= s->memory[space];
}

static uint32_t blocks_of(uint32_t channels)
{
    return (channels + EK_NPU_BLOCK - 1u) / EK_NPU_BLOCK;
}

/* The rows down to the last one that the window reaches; none where it lies above the image. */
static bool image_inside(const sizes_t *s, const ek_npu_window_t *w)
{
    const int32_t last =
        (w->out_h - 1) * w->stride_h + (w->kernel_h - 1) * w->step_h - w->pad_top;
    const int32_t rows = ek_min(last + 1, w->in_h);
    const uint32_t blocks = w->opcode == EK_NPU_CONV ? w->blocks
                                                     : blocks_of(w->groups * s->depthwise_lanes);
    return rows <= 0 || inside(s, EK_NPU_A, w->a_base, (uint32_t)(rows * w->in_w), blocks,
                               w->a_plane);
}

static bool window_inside(const sizes_t *s, const uint32_t *c)
{
    const ek_npu_window_t w = ek_npu_window(c);
    const bool conv = w.opcode == EK_NPU_CONV;
    const uint32_t channels = w.groups * (conv ? s->out_lanes : s->depthwise_lanes);
    const uint32_t o_blocks = blocks_of(channels);
    const uint32_t steps = (uint32_t)(w.kernel_h * w.kernel_groups) * w.blocks;
    const bool weights = conv || w.opcode == EK_NPU_DEPTHWISE;
    return image_inside(s, &w) &&
           (!weights ||
            inside(s, EK_NPU_W, w.w_base, (uint64_t)w.groups * steps, 1u, 0u)) &&
           inside(s, EK_NPU_P, (uint64_t)w.output.p_base * s->requant_lanes,
                  w.uniform != 0u ? s->requant_lanes : channels, 1u, 0u) &&
           inside(s, EK_NPU_A, w.o_base, (uint32_t)(w.out_h * w.out_w),
                  o_blocks < w.o_blocks ? o_blocks : w.o_blocks, w.o_plane);
}

static bool add_inside(const sizes_t *s, const uint32_t *c)
{
    const ek_npu_add_t a = ek_npu_add(c);
    return inside(s, EK_NPU_A, a.a_base, a.count, 1u, 0u) &&
           inside(s, EK_NPU_A, a.b_base, a.count, 1u, 0u) &&
           inside(s, EK_NPU_A, a.o_base, a.count, 1u, 0u) &&
           inside(s, EK_NPU_P, (uint64_t)a.output.p_base * s->requant_lanes, s->requant_lanes,
                  1u, 0u);
}

static bool transfer_inside(const sizes_t *s, const uint32_t *c)
{
    const ek_npu_transfer_t t = ek_npu_transfer(c);
    return inside(s, t.space, t.base, t.count, blocks_of(t.channels), t.plane);
}

static bool region_holds(const sizes_t *s, const uint32_t *c, const uint32_t *region_bytes,
                         uint32_t count)
{
    const ek_npu_transfer_t t = ek_npu_transfer(c);
    const uint32_t item[] = {t.channels, s->out_lanes * EK_NPU_BLOCK >> t.half, 12u, 4u};
    return t.region < count &&
           t.offset + (uint64_t)t.count * item[t.space] <= region_bytes[t.region];
}

static uint32_t place_error(const uint32_t *c, const sizes_t *s, const uint32_t *region_bytes,
                            uint32_t count)
{
    const uint32_t opcode = ek_npu_opcode(c);
    if (ek_npu_is_transfer(opcode)) {
        if (!transfer_inside(s, c)) {
            return EK_NPU_E_ADDRESS;
        }
        return region_holds(s, c, region_bytes, count) ? EK_NPU_NO_ERROR : EK_NPU_E_REGION;
    }
    if (opcode == EK_NPU_ADD) {
        return add_inside(s, c) ? EK_NPU_NO_ERROR : EK_NPU_E_ADDRESS;
    }
    return !ek_npu_is_window(opcode) || window_inside(s, c) ? EK_NPU_NO_ERROR : EK_NPU_E_ADDRESS;
}

/* Whether commands wait for none behind them; the order of the stream is then a possible one. */
static bool waits_fit(const uint32_t *stream, uint32_t commands, uint32_t *command)
{
    uint32_t before[2] = {0, 0}; /* computes, transfers */
    for (*command = 0; *command < commands; ++*command) {
        const uint32_t opcode = ek_npu_opcode(stream);
        const uint32_t transfer = ek_npu_is_transfer(opcode) ? 1u : 0u;
        if (ek_npu_after(stream) > before[1u - transfer]) {
            return false;
        }
        if (opcode != EK_NPU_HEAD) {
            ++before[transfer];
        }
        stream += ek_npu_words(stream);
    }
    return true;
}

static uint32_t first_error(const uint32_t *stream, uint32_t words, const uint32_t *region_bytes,
                            uint32_t count, uint32_t config, uint32_t *command)
{
    sizes_t s;
    *command = 0;
    if (!read_config(config, &s)) {
        return EK_NPU_E_HEAD;
    }
    uint32_t error = stream_error(stream, words, config, &s, command);
    if (error != EK_NPU_NO_ERROR) {
        return error;
    }
    const uint32_t commands = *command;
    for (*command = 0; *command < commands; ++*command) {
        error = place_error(stream, &s, region_bytes, count);
        if (error != EK_NPU_NO_ERROR) {
            return error;
        }
        stream += ek_npu_words(stream);
    }
    return waits_fit(stream - words, commands, command) ? EK_NPU_NO_ERROR : EK_NPU_E_TOKEN;
}

ek_status_t ek_npu_check(const uint32_t *stream, uint32_t words, const uint32_t *region_bytes,
                         uint32_t count, uint32_t config, uint32_t *error, uint32_t *command)
{
    *error = first_error(stream, words, region_bytes, count, config, command);
    return *error == EK_NPU_NO_ERROR ? EK_OK : EK_STREAM;
}
