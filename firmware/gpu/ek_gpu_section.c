/* ek_gpu_section.c - reads a bundle's GPU section, of which nothing is believed before it has been
 * checked. The rules are those of edgekit/bundle/gpu_check.py. */
#include "ek_gpu_core.h"
#include "ek_table.h"

#include <string.h>

enum { WORD = 4, ALIGN = 128, BLOCK = 4, MOST_SIZES = 255 };
enum { FUNCTION = 32, ARGUMENT = 16, LAUNCH = 32, SIZE = 12, VARIANT = 20, TENSOR = 28, LAYER = 28 };

static uint32_t word(const uint8_t *rows, uint32_t row_bytes, uint32_t row, uint32_t index)
{
    return ek_get32(rows + (size_t)row_bytes * row + (size_t)WORD * index);
}

static ek_gpu_bytes_t bytes_at(const uint8_t *base, uint32_t start, uint32_t nbytes)
{
    const ek_gpu_bytes_t found = {base + start, nbytes};
    return found;
}

ek_gpu_function_t ek_gpu_get_function(const ek_gpu_section_t *s, uint32_t i)
{
    const uint8_t *r = s->functions;
    const ek_gpu_function_t f = {
        bytes_at(s->text, word(r, FUNCTION, i, 0), word(r, FUNCTION, i, 1)),
        bytes_at(s->text, word(r, FUNCTION, i, 2), word(r, FUNCTION, i, 3)),
        bytes_at(s->spirv, word(r, FUNCTION, i, 4), word(r, FUNCTION, i, 5)),
        word(r, FUNCTION, i, 6), false};
    return f;
}

ek_gpu_argument_t ek_gpu_get_argument(const ek_gpu_section_t *s, uint32_t i)
{
    const uint8_t *r = s->arguments;
    const ek_gpu_argument_t a = {word(r, ARGUMENT, i, 0), word(r, ARGUMENT, i, 1),
                                 word(r, ARGUMENT, i, 2), word(r, ARGUMENT, i, 3)};
    return a;
}

ek_gpu_launch_t ek_gpu_get_launch(const ek_gpu_section_t *s, uint32_t i)
{
    const uint8_t *r = s->launches;
    const ek_gpu_launch_t l = {
        word(r, LAUNCH, i, 0), word(r, LAUNCH, i, 1), word(r, LAUNCH, i, 2),
        word(r, LAUNCH, i, 3), word(r, LAUNCH, i, 4),
        {word(r, LAUNCH, i, 5), word(r, LAUNCH, i, 6), word(r, LAUNCH, i, 7)}};
    return l;
}

ek_gpu_variant_t ek_gpu_get_variant(const ek_gpu_section_t *s, uint32_t i)
{
    const uint8_t *r = s->variants;
    const ek_gpu_variant_t v = {
        bytes_at(s->text, word(r, VARIANT, i, 0), word(r, VARIANT, i, 1)),
        word(r, VARIANT, i, 2), word(r, VARIANT, i, 3), word(r, VARIANT, i, 4)};
    return v;
}

ek_gpu_tensor_t ek_gpu_get_tensor(const ek_gpu_section_t *s, uint32_t i)
{
    const uint8_t *r = s->tensors;
    const ek_gpu_tensor_t t = {word(r, TENSOR, i, 0), word(r, TENSOR, i, 1), word(r, TENSOR, i, 2),
                               word(r, TENSOR, i, 3), word(r, TENSOR, i, 4), word(r, TENSOR, i, 5),
                               word(r, TENSOR, i, 6)};
    return t;
}

ek_gpu_layer_t ek_gpu_get_layer(const ek_gpu_section_t *s, uint32_t i)
{
    const uint8_t *r = s->layers;
    const ek_gpu_layer_t l = {
        word(r, LAYER, i, 0), word(r, LAYER, i, 1), word(r, LAYER, i, 2), word(r, LAYER, i, 3),
        word(r, LAYER, i, 4), bytes_at(s->text, word(r, LAYER, i, 5), word(r, LAYER, i, 6))};
    return l;
}

void ek_gpu_get_size(const ek_gpu_section_t *s, uint32_t i, uint32_t size[3])
{
    for (uint32_t axis = 0; axis < 3u; ++axis) {
        size[axis] = word(s->sizes, SIZE, i, axis);
    }
}

uint32_t ek_gpu_get_operand(const ek_gpu_section_t *s, uint32_t i)
{
    return word(s->operands, WORD, i, 0);
}

uint32_t ek_gpu_get_input(const ek_gpu_section_t *s, uint32_t i)
{
    return word(s->inputs, WORD, i, 0);
}

uint32_t ek_gpu_get_output(const ek_gpu_section_t *s, uint32_t i)
{
    return word(s->outputs, WORD, i, 0);
}

uint32_t ek_gpu_cpu_bytes(const ek_gpu_tensor_t *t)
{
    return t->pixels * t->channels * t->element_bytes * (t->half == EK_GPU_HALF ? 2u : 1u);
}

/* Whether [first, first + count) lies in [0, size). */
static bool inside(uint32_t first, uint32_t count, uint32_t size)
{
    return first <= size && count <= size - first;
}

static bool good_name(const ek_gpu_section_t *s, uint32_t start, uint32_t nbytes)
{
    return nbytes != 0u && nbytes <= EK_GPU_NAME && inside(start, nbytes, s->text_bytes);
}

static bool good_functions(const ek_gpu_section_t *s, uint32_t *at)
{
    for (uint32_t i = 0; i < s->function_count; ++i) {
        const uint8_t *r = s->functions;
        *at = i;
        if (!good_name(s, word(r, FUNCTION, i, 0), word(r, FUNCTION, i, 1)) ||
            !inside(word(r, FUNCTION, i, 2), word(r, FUNCTION, i, 3), s->text_bytes) ||
            !inside(word(r, FUNCTION, i, 4), word(r, FUNCTION, i, 5), s->spirv_bytes)) {
            return false;
        }
    }
    return true;
}

static bool good_arguments(const ek_gpu_section_t *s, uint32_t *at)
{
    for (uint32_t i = 0; i < s->argument_count; ++i) {
        const ek_gpu_argument_t a = ek_gpu_get_argument(s, i);
        *at = i;
        if (a.space > EK_GPU_CONSTANTS || a.written > 1u || a.nbytes == 0u ||
            a.offset % ALIGN != 0u || (a.space == EK_GPU_CONSTANTS && a.written != 0u) ||
            !inside(a.offset, a.nbytes,
                    a.space == EK_GPU_ARENA ? s->arena_bytes : s->constant_bytes)) {
            return false;
        }
    }
    return true;
}

static bool good_launches(const ek_gpu_section_t *s, uint32_t *at)
{
    for (uint32_t i = 0; i < s->launch_count; ++i) {
        const ek_gpu_launch_t l = ek_gpu_get_launch(s, i);
        *at = i;
        if (l.function >= s->function_count || l.argument_count > EK_GPU_ARGUMENTS ||
            !inside(l.first_argument, l.argument_count, s->argument_count) ||
            l.size_count == 0u || l.size_count > MOST_SIZES ||
            !inside(l.first_size, l.size_count, s->size_count)) {
            return false;
        }
        for (uint32_t j = 0; j < l.size_count; ++j) {
            uint32_t size[3];
            ek_gpu_get_size(s, l.first_size + j, size);
            for (uint32_t axis = 0; axis < 3u; ++axis) {
                if (size[axis] == 0u || l.items[axis] == 0u || l.items[axis] % size[axis] != 0u) {
                    return false;
                }
            }
        }
    }
    return true;
}

static bool good_tensors(const ek_gpu_section_t *s, uint32_t arena_bytes, uint32_t *at)
{
    for (uint32_t i = 0; i < s->tensor_count; ++i) {
        const ek_gpu_tensor_t t = ek_gpu_get_tensor(s, i);
        const uint64_t blocks = (t.channels + UINT64_C(3)) / BLOCK;
        *at = i;
        if (t.half > EK_GPU_FLOAT || (t.half == EK_GPU_HALF && t.element_bytes != 2u) ||
            (t.half == EK_GPU_FLOAT && t.element_bytes != 4u) ||
            (t.element_bytes != 1u && t.element_bytes != 2u && t.element_bytes != 4u) ||
            t.pixels == 0u || t.channels == 0u || blocks > UINT32_MAX / BLOCK ||
            t.pixels > UINT32_MAX / (blocks * BLOCK * 4u) ||
            blocks * BLOCK * t.pixels * t.element_bytes != t.nbytes || t.offset % ALIGN != 0u ||
            !inside(t.offset, t.nbytes, s->arena_bytes) ||
            !inside(t.cpu_offset, ek_gpu_cpu_bytes(&t), arena_bytes)) {
            return false;
        }
    }
    return true;
}

static bool good_layers(const ek_gpu_section_t *s, uint32_t *at)
{
    for (uint32_t i = 0; i < s->variant_count; ++i) {
        const uint8_t *r = s->variants;
        *at = i;
        if (!good_name(s, word(r, VARIANT, i, 0), word(r, VARIANT, i, 1)) ||
            word(r, VARIANT, i, 4) == 0u ||
            !inside(word(r, VARIANT, i, 3), word(r, VARIANT, i, 4), s->launch_count)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < s->layer_count; ++i) {
        const uint8_t *r = s->layers;
        const uint32_t inputs = word(r, LAYER, i, 3), outputs = word(r, LAYER, i, 4);
        *at = i;
        if (!inside(word(r, LAYER, i, 0), word(r, LAYER, i, 1), s->variant_count) ||
            !inside(0u, inputs, s->operand_count) ||
            !inside(0u, outputs, s->operand_count - inputs) ||
            !inside(word(r, LAYER, i, 2), inputs + outputs, s->operand_count) ||
            !inside(word(r, LAYER, i, 5), word(r, LAYER, i, 6), s->text_bytes)) {
            return false;
        }
    }
    return true;
}

static bool good_indices(const uint8_t *rows, uint32_t count, uint32_t below, uint32_t *at)
{
    for (uint32_t i = 0; i < count; ++i) {
        *at = i;
        if (word(rows, WORD, i, 0) >= below) {
            return false;
        }
    }
    return true;
}

/* Inputs and outputs of the model are the same tensors on both. */
static bool good_ends(const ek_model_t *m, const ek_gpu_section_t *s, uint32_t *at)
{
    if (s->input_count != m->input_count || s->output_count != m->output_count) {
        return false;
    }
    for (uint32_t i = 0; i < s->input_count + s->output_count; ++i) {
        const bool out = i >= s->input_count;
        const uint32_t j = out ? i - s->input_count : i;
        const ek_gpu_tensor_t t =
            ek_gpu_get_tensor(s, out ? ek_gpu_get_output(s, j) : ek_gpu_get_input(s, j));
        ek_place_t p;
        *at = j;
        if (!ek_get_place(m, out ? m->outputs : m->inputs, j, &p) || p.offset != t.cpu_offset ||
            p.nbytes != ek_gpu_cpu_bytes(&t)) {
            return false;
        }
    }
    return true;
}

/* A vector of the section's table. */
typedef struct {
    uint32_t id, row_bytes;
    const uint8_t **rows;
    uint32_t *count;
} wanted_t;

static bool read_section(const ek_model_t *m, ek_gpu_section_t *s)
{
    const span_t file = {m->bundle, m->bundle_bytes};
    const wanted_t wanted[] = {
        {0, 1, &s->text, &s->text_bytes},
        {1, FUNCTION, &s->functions, &s->function_count},
        {2, ARGUMENT, &s->arguments, &s->argument_count},
        {3, LAUNCH, &s->launches, &s->launch_count},
        {4, SIZE, &s->sizes, &s->size_count},
        {5, VARIANT, &s->variants, &s->variant_count},
        {6, TENSOR, &s->tensors, &s->tensor_count},
        {7, WORD, &s->operands, &s->operand_count},
        {8, LAYER, &s->layers, &s->layer_count},
        {9, WORD, &s->inputs, &s->input_count},
        {10, WORD, &s->outputs, &s->output_count},
        {11, 1, &s->constants, &s->constant_bytes},
        {12, 1, &s->spirv, &s->spirv_bytes},
    };
    uint32_t at;
    table_t model, gpu;
    vector_t v;
    if (!follow(file, 0u, &at) || !open_table(file, at, &model) ||
        !child(file, &model, 12u, &at) || !open_table(file, at, &gpu)) {
        return false;
    }
    for (uint32_t i = 0; i < sizeof wanted / sizeof wanted[0]; ++i) {
        const wanted_t *w = &wanted[i];
        if (!(w->id == 12u ? optional_vector(file, &gpu, w->id, w->row_bytes, &v)
                           : vector(file, &gpu, w->id, w->row_bytes, &v)) ||
            (w->row_bytes != 1u && v.count > EK_GPU_MOST)) {
            return false;
        }
        *w->rows = m->bundle + v.at;
        *w->count = v.count;
    }
    if (!scalar(file, &gpu, 14u, &s->arena_bytes) || !field(file, &gpu, 13u, 8u, &at)) {
        return false;
    }
    if (at != 0u) {
        s->prelude = ek_get32(m->bundle + at);
        s->prelude_bytes = ek_get32(m->bundle + at + 4u);
    }
    if (!vector(file, &model, 10u, 4u, &v)) {
        return false;
    }
    s->golden = m->bundle + v.at;
    s->golden_count = v.count;
    return inside(s->prelude, s->prelude_bytes, s->text_bytes) && s->layer_count == m->call_count;
}

bool ek_gpu_get_golden(const ek_model_t *m, const ek_gpu_section_t *s, uint32_t sample, bool outputs,
                       uint32_t index, ek_gpu_bytes_t *data)
{
    const span_t file = {m->bundle, m->bundle_bytes};
    uint32_t at;
    table_t golden, blob;
    vector_t blobs, bytes;
    if (!follow(file, (uint32_t)(s->golden - m->bundle) + WORD * sample, &at) ||
        !open_table(file, at, &golden) || !vector(file, &golden, outputs ? 1u : 0u, WORD, &blobs) ||
        index >= blobs.count || !follow(file, blobs.at + WORD * index, &at) ||
        !open_table(file, at, &blob) || !vector(file, &blob, 0u, 1u, &bytes)) {
        return false;
    }
    data->data = m->bundle + bytes.at;
    data->nbytes = bytes.count;
    return true;
}

static bool good_golden(const ek_model_t *m, const ek_gpu_section_t *s, uint32_t *at)
{
    for (uint32_t i = 0; i < s->golden_count; ++i) {
        *at = i;
        for (uint32_t j = 0; j < m->input_count + m->output_count; ++j) {
            const bool out = j >= m->input_count;
            const uint32_t k = out ? j - m->input_count : j;
            ek_gpu_bytes_t data;
            ek_place_t p;
            if (!ek_gpu_get_golden(m, s, i, out, k, &data) ||
                !ek_get_place(m, out ? m->outputs : m->inputs, k, &p) || p.nbytes != data.nbytes) {
                return false;
            }
        }
    }
    return true;
}

ek_status_t ek_gpu_section(const ek_model_t *m, ek_gpu_section_t *s, uint32_t *detail)
{
    const span_t file = {m->bundle, m->bundle_bytes};
    uint32_t at;
    table_t model;
    memset(s, 0, sizeof *s);
    *detail = 0u;
    if (m->arena == NULL) {
        return EK_STATE;
    }
    if (!follow(file, 0u, &at) || !open_table(file, at, &model) ||
        !field(file, &model, 12u, 4u, &at)) {
        return EK_MALFORMED;
    }
    if (at == 0u) {
        return EK_STATE;
    }
    if (!read_section(m, s)) {
        return EK_MALFORMED;
    }
    return good_functions(s, detail) && good_arguments(s, detail) && good_launches(s, detail) &&
                   good_tensors(s, m->arena_bytes, detail) && good_layers(s, detail) &&
                   good_indices(s->operands, s->operand_count, s->tensor_count, detail) &&
                   good_indices(s->inputs, s->input_count, s->tensor_count, detail) &&
                   good_indices(s->outputs, s->output_count, s->tensor_count, detail) &&
                   good_ends(m, s, detail) && good_golden(m, s, detail)
               ? EK_OK
               : EK_BOUNDS;
}
