/* ek_npu_sim.c - the accelerator in C: executes command streams where there is no hardware.
 *
 * A build defines the configuration: EK_NPU_OUT_LANES, EK_NPU_REQUANT_LANES, EK_NPU_A_WORDS,
 * EK_NPU_W_WORDS, EK_NPU_P_CHANNELS and EK_NPU_TABLES (0 or 1); those of a compiled model are in
 * its npu_config.h. The static arrays are the hardware's own memories; like those they keep their
 * content from stream to stream.
 */
#include "ek_npu.h"
#include "ek_npu_stream.h"

#ifndef EK_NPU_OUT_LANES
#include "npu_config.h"
#endif

#define LANES EK_NPU_OUT_LANES
#define CHANNELS (LANES < EK_NPU_BLOCK ? LANES : EK_NPU_BLOCK) /* of a depthwise group */
#define WORD_BYTES (LANES * EK_NPU_BLOCK)

static int8_t memory_a[EK_NPU_A_WORDS * EK_NPU_BLOCK];
static int8_t memory_w[EK_NPU_W_WORDS * WORD_BYTES];
static uint32_t memory_p[EK_NPU_P_CHANNELS][3];
static uint32_t memory_t[EK_NPU_TABLE_WORDS];

/* log2 of a power of two up to 2^20, a constant. */
#define BIT(n, b) (((n) >> (b)) > 1u ? 1u : 0u)
#define LOG2_4(n, b) (BIT(n, b) + BIT(n, (b) + 1) + BIT(n, (b) + 2) + BIT(n, (b) + 3))
#define LOG2(n) \
    (LOG2_4(n, 0) + LOG2_4(n, 4) + LOG2_4(n, 8) + LOG2_4(n, 12) + LOG2_4(n, 16))

static const uint32_t CONFIG =
    1u | LOG2((uint32_t)LANES) << 4 | LOG2((uint32_t)EK_NPU_REQUANT_LANES) << 7 |
    LOG2((uint32_t)EK_NPU_A_WORDS) << 9 | LOG2((uint32_t)EK_NPU_W_WORDS) << 14 |
    LOG2((uint32_t)EK_NPU_P_CHANNELS) << 19 | (uint32_t)EK_NPU_TABLES << 24;

static int8_t *word_a(uint32_t word) { return memory_a + (size_t)word * EK_NPU_BLOCK; }
static const int8_t *word_w(uint32_t word) { return memory_w + (size_t)word * WORD_BYTES; }

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void load_a(const ek_npu_transfer_t *t, const uint8_t *data)
{
    for (uint32_t p = 0; p < t->count; ++p) {
        for (uint32_t c = 0; c < t->channels; c += EK_NPU_BLOCK) {
            int8_t *word = word_a(t->base + c / EK_NPU_BLOCK * t->plane + p);
            const uint32_t left = t->channels - c;
            if (left < EK_NPU_BLOCK) {
                memset(word, t->fill, EK_NPU_BLOCK);
            }
            memcpy(word, data + c, left < EK_NPU_BLOCK ? left : EK_NPU_BLOCK);
        }
        data += t->channels;
    }
}

static void store_a(const ek_npu_transfer_t *t, uint8_t *data)
{
    for (uint32_t p = 0; p < t->count; ++p) {
        for (uint32_t c = 0; c < t->channels; c += EK_NPU_BLOCK) {
            const uint32_t left = t->channels - c;
            memcpy(data + c, word_a(t->base + c / EK_NPU_BLOCK * t->plane + p),
                   left < EK_NPU_BLOCK ? left : EK_NPU_BLOCK);
        }
        data += t->channels;
    }
}

static void load_w(const ek_npu_transfer_t *t, const uint8_t *data)
{
    const uint32_t width = t->half != 0u ? EK_NPU_BLOCK / 2u : EK_NPU_BLOCK;
    int8_t *word = memory_w + (size_t)t->base * WORD_BYTES;
    for (uint32_t i = 0; i < t->count * (uint32_t)LANES; ++i) {
        memcpy(word, data, width);
        word += EK_NPU_BLOCK;
        data += width;
    }
}

static void transfer(const uint32_t *c, const ek_npu_region_t *regions)
{
    const ek_npu_transfer_t t = ek_npu_transfer(c);
    uint8_t *data = (uint8_t *)regions[t.region].data + t.offset;
    if (ek_npu_opcode(c) == EK_NPU_STORE) {
        store_a(&t, data);
    } else if (t.space == EK_NPU_A) {
        load_a(&t, data);
    } else if (t.space == EK_NPU_W) {
        load_w(&t, data);
    } else if (t.space == EK_NPU_P) {
        for (uint32_t i = 0; i < 3u * t.count; ++i) {
            memory_p[t.base + i / 3u][i % 3u] = read32(data + 4u * i);
        }
    } else {
        for (uint32_t i = 0; i < t.count; ++i) {
            memory_t[t.base + i] = read32(data + 4u * i);
        }
    }
}

/* The requantizing lane of the next byte. No remainder of a counter: clang 22 takes an entry
 * p_base + i % lanes for p_base + i when it makes vectors of such a loop. */
static uint32_t next_lane(uint32_t lane)
{
    return lane + 1u < EK_NPU_REQUANT_LANES ? lane + 1u : 0u;
}

/* The byte of an accumulator, with the parameters of entry `channel` of P. */
static int8_t finish(uint32_t acc, uint32_t channel, const ek_npu_output_t *o)
{
    const uint32_t *p = memory_p[o->p_base * EK_NPU_REQUANT_LANES + channel];
    const int32_t v = (int32_t)((acc + p[0]) << (p[2] & 31u));
    const int32_t h = ek_high_product(v, (int32_t)(p[1] & 0x7FFFFFFFu));
    const int64_t q = (int64_t)ek_rounding_shift(h, (int32_t)(p[2] >> 8 & 31u)) + o->zero_point;
    const int64_t low = q < o->low ? o->low : q;
    return (int8_t)(low > o->high ? o->high : low);
}

/* A pixel of the image's first block, or `outside`. `step` leads from one block to the next. */
static const int8_t *pixel(const ek_npu_window_t *w, int32_t iy, int32_t ix,
                           const int8_t *outside, size_t *step)
{
    if (iy < 0 || iy >= w->in_h || ix < 0 || ix >= w->in_w) {
        *step = 0;
        return outside;
    }
    *step = (size_t)w->a_plane * EK_NPU_BLOCK;
    return word_a(w->a_base + (uint32_t)(iy * w->in_w + ix));
}

/* acc[n] += the product of 8 lanes with byte 8 n .. 8 n + 7 of a word of weights. */
EK_INLINE void multiply(uint32_t *acc, const int8_t *lane, const int8_t *weights)
{
    for (int32_t n = 0; n < LANES; ++n) {
        int32_t sum = 0;
        for (int32_t j = 0; j < EK_NPU_BLOCK; ++j) {
            sum += lane[j] * weights[EK_NPU_BLOCK * n + j];
        }
        acc[n] += (uint32_t)sum;
    }
}

/* A kernel group of CONV; returns the weights of the next one. */
static const int8_t *conv_group(const ek_npu_window_t *w, int32_t iy, int32_t ix, int32_t live,
                                const int8_t *outside, const int8_t *weights, uint32_t *acc)
{
    size_t step;
    if (w->taps == 1) {
        const int8_t *lane = pixel(w, iy, ix, outside, &step);
        for (uint32_t b = 0; b < w->blocks; ++b) {
            multiply(acc, lane + b * step, weights + (size_t)b * WORD_BYTES);
        }
        return weights + (size_t)w->blocks * WORD_BYTES;
    }
    int8_t lane[EK_NPU_BLOCK] = {0};
    const int32_t share = EK_NPU_BLOCK / w->taps;
    for (int32_t t = 0; t < live; ++t) {
        memcpy(lane + t * share, pixel(w, iy, ix + t, outside, &step), (size_t)share);
    }
    multiply(acc, lane, weights);
    return weights + WORD_BYTES;
}

/* A kernel group of the others, for `channel` and the next ones; also returns weights. */
static const int8_t *channel_group(const ek_npu_window_t *w, int32_t iy, int32_t ix, int32_t live,
                                   const int8_t *outside, uint32_t channel,
                                   const int8_t *weights, uint32_t *acc)
{
    for (int32_t t = 0; t < live; ++t) {
        size_t step;
        const int8_t *v = pixel(w, iy, ix + t, outside, &step);
        v += channel / EK_NPU_BLOCK * step + channel % EK_NPU_BLOCK;
        if (w->opcode == EK_NPU_DEPTHWISE) {
            for (int32_t n = 0; n < CHANNELS; ++n) {
                acc[n] += (uint32_t)(v[n] * weights[EK_NPU_BLOCK * n + t]);
            }
        } else if (w->opcode == EK_NPU_SUM) {
            for (int32_t n = 0; n < CHANNELS; ++n) {
                acc[n] += (uint32_t)v[n];
            }
        } else {
            for (int32_t n = 0; n < CHANNELS; ++n) {
                acc[n] = (uint32_t)ek_max((int32_t)acc[n], v[n]);
            }
        }
    }
    return w->opcode == EK_NPU_DEPTHWISE ? weights + WORD_BYTES : weights;
}

/* The accumulators of a group at one pixel of the output; `weights` is where the group's begin. */
static void accumulate(const ek_npu_window_t *w, uint32_t group, int32_t y, int32_t x,
                       const int8_t *weights, uint32_t *acc)
{
    int8_t outside[EK_NPU_BLOCK];
    memset(outside, w->pad, sizeof outside);
    const uint32_t start = w->opcode == EK_NPU_MAX ? (uint32_t)-128 : 0u;
    for (int32_t n = 0; n < LANES; ++n) {
        acc[n] = start;
    }
    for (int32_t ky = 0; ky < w->kernel_h; ++ky) {
        const int32_t iy = y * w->stride_h - w->pad_top + ky * w->step_h;
        for (int32_t kg = 0; kg < w->kernel_groups; ++kg) {
            const int32_t ix = x * w->stride_w - w->pad_left + kg * w->step_w;
            const int32_t live = kg == w->kernel_groups - 1 ? w->tail : w->taps;
            weights = w->opcode == EK_NPU_CONV
                          ? conv_group(w, iy, ix, live, outside, weights, acc)
                          : channel_group(w, iy, ix, live, outside, group * CHANNELS, weights, acc);
        }
    }
}

static void run_window(const uint32_t *c)
{
    const ek_npu_window_t w = ek_npu_window(c);
    const uint32_t lanes = w.opcode == EK_NPU_CONV ? LANES : CHANNELS;
    const uint32_t steps = (uint32_t)(w.kernel_h * w.kernel_groups) * w.blocks;
    const bool weighted = w.opcode == EK_NPU_CONV || w.opcode == EK_NPU_DEPTHWISE;
    uint32_t acc[LANES];
    for (uint32_t g = 0; g < w.groups; ++g) {
        const int8_t *weights = weighted ? word_w(w.w_base + g * steps) : NULL;
        uint32_t at = w.o_base;
        for (int32_t y = 0; y < w.out_h; ++y) {
            for (int32_t x = 0; x < w.out_w; ++x, ++at) {
                accumulate(&w, g, y, x, weights, acc);
                for (uint32_t n = 0, lane = 0; n < lanes; ++n, lane = next_lane(lane)) {
                    const uint32_t channel = g * lanes + n, block = channel / EK_NPU_BLOCK;
                    const uint32_t entry = w.uniform != 0u ? lane : channel;
                    if (block < w.o_blocks) {
                        word_a(at + block * w.o_plane)[channel % EK_NPU_BLOCK] =
                            finish(acc[n], entry, &w.output);
                    }
                }
            }
        }
    }
}

static void run_add(const uint32_t *c)
{
    const ek_npu_add_t e = ek_npu_add(c);
    const uint32_t bytes = e.count * (uint32_t)EK_NPU_BLOCK;
    for (uint32_t i = 0, lane = 0; i < bytes; ++i, lane = next_lane(lane)) {
        const uint32_t a = (uint8_t)word_a(e.a_base)[i], b = (uint8_t)word_a(e.b_base)[i];
        word_a(e.o_base)[i] = finish(memory_t[a] + memory_t[256u + b], lane, &e.output);
    }
}

void ek_npu_start(const uint32_t *stream, uint32_t words, const ek_npu_region_t *regions,
                  uint32_t count)
{
    uint32_t bytes[EK_NPU_REGIONS] = {0}, error, command;
    count = count < EK_NPU_REGIONS ? count : EK_NPU_REGIONS;
    for (uint32_t i = 0; i < count; ++i) {
        bytes[i] = regions[i].nbytes;
    }
    if (ek_npu_check(stream, words, bytes, count, CONFIG, &error, &command) != EK_OK) {
        ek_npu_failed(4u | error << 8 | command << 16);
        return;
    }
    /* One command after the other: no command waits for one behind it. */
    for (const uint32_t *c = stream; ek_npu_opcode(c) != EK_NPU_END; c += ek_npu_words(c)) {
        const uint32_t opcode = ek_npu_opcode(c);
        if (ek_npu_is_transfer(opcode)) {
            transfer(c, regions);
        } else if (ek_npu_is_window(opcode)) {
            run_window(c);
        } else if (opcode == EK_NPU_ADD) {
            run_add(c);
        }
    }
}

/* The stream was complete when ek_npu_start returned. */
void ek_npu_wait(uint32_t computed, uint32_t transferred)
{
    (void)computed;
    (void)transferred;
}
