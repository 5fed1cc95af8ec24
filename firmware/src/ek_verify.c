/* ek_verify.c - reads a bundle that may be anything, and believes nothing of it before checking.
 *
 * Every offset is compared with the size of the file before it is followed, every count with the
 * bytes that are left, in the order in which they are read. Work is bounded by the file's size.
 */
#include "ek_table.h"

uint32_t ek_get16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }

uint32_t ek_get32(const uint8_t *p) { return ek_get16(p) | ek_get16(p + 2) << 16; }

/* CRC-32 (IEEE 802.3, as zlib's), four bits at a time. */
static uint32_t crc32(const uint8_t *p, uint32_t n)
{
    static const uint32_t nibble[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < n; ++i) {
        crc ^= p[i];
        crc = crc >> 4 ^ nibble[crc & 15u];
        crc = crc >> 4 ^ nibble[crc & 15u];
    }
    return ~crc;
}

bool ek_get_place(const ek_model_t *m, const uint8_t *tables, uint32_t index, ek_place_t *place)
{
    const span_t s = {m->bundle, m->bundle_bytes};
    uint32_t at;
    table_t t;
    return follow(s, (uint32_t)(tables - m->bundle) + 4u * index, &at) && open_table(s, at, &t) &&
           scalar(s, &t, 0u, &place->offset) && scalar(s, &t, 1u, &place->nbytes) &&
           scalar(s, &t, 8u, &place->initial_space) && scalar(s, &t, 9u, &place->initial);
}

/* Tensors: each a table whose bytes lie in the arena, and what a state holds first in the
 * constants. */
static ek_status_t check_tensors(ek_model_t *m, const uint8_t *tables, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        ek_place_t p;
        m->detail = i; /* stays where this is the one that is wrong */
        if (!ek_get_place(m, tables, i, &p) || p.initial_space > (uint32_t)EK_SPACE_CONSTANTS) {
            return EK_MALFORMED;
        }
        if (p.offset > m->arena_bytes || p.nbytes > m->arena_bytes - p.offset ||
            (p.initial_space == (uint32_t)EK_SPACE_CONSTANTS &&
             (p.initial > m->constant_bytes || p.nbytes > m->constant_bytes - p.initial))) {
            return EK_BOUNDS;
        }
    }
    m->detail = 0u;
    return EK_OK;
}

static ek_status_t check_footer(const uint8_t *bundle, size_t bundle_bytes, uint32_t *payload)
{
    if (bundle_bytes < EK_FOOTER_BYTES + 8u || bundle_bytes > UINT32_MAX) {
        return EK_TRUNCATED;
    }
    const uint32_t size = (uint32_t)bundle_bytes - EK_FOOTER_BYTES;
    const uint8_t *footer = bundle + size;
    if (ek_get32(bundle + 4u) != EK_FILE_MAGIC) {
        return EK_MAGIC;
    }
    if (ek_get32(footer) != EK_FOOTER_MAGIC || ek_get32(footer + 8u) != size) {
        return EK_TRUNCATED;
    }
    const uint32_t version = ek_get32(footer + 4u);
    if (version < EK_FORMAT_OLDEST || version > EK_FORMAT_VERSION) {
        return EK_VERSION;
    }
    *payload = size;
    /* The footer but for the checksum itself is under it too: one flipped bit could otherwise turn
     * one version that we read into another. */
    return crc32(bundle, size + 12u) == ek_get32(footer + 12u) ? EK_OK : EK_CHECKSUM;
}

ek_status_t ek_verify(ek_model_t *m, const uint8_t *bundle, size_t bundle_bytes)
{
    uint32_t payload = 0u, at;
    table_t model, program;
    vector_t kernels, calls, arguments, inputs, outputs, states, constants, hash;

    if ((uintptr_t)bundle % EK_BUNDLE_ALIGN != 0u) {
        return EK_ALIGNMENT;
    }
    const ek_status_t footer = check_footer(bundle, bundle_bytes, &payload);
    if (footer != EK_OK) {
        return footer;
    }
    const span_t s = {bundle, payload};
    if (!follow(s, 0u, &at) || !open_table(s, at, &model) || !child(s, &model, 1u, &at) ||
        !open_table(s, at, &program) || !scalar(s, &program, 0u, &m->arena_bytes) ||
        !vector(s, &program, 1u, EK_KERNEL_REF_BYTES, &kernels) ||
        !vector(s, &program, 2u, EK_CALL_BYTES, &calls) ||
        !vector(s, &program, 3u, EK_ARGUMENT_BYTES, &arguments) ||
        !vector(s, &model, 2u, 4u, &inputs) || !vector(s, &model, 3u, 4u, &outputs) ||
        !optional_vector(s, &model, 11u, 4u, &states) ||
        !vector(s, &model, 4u, 1u, &constants) || !vector(s, &model, 5u, 1u, &hash) ||
        hash.count != sizeof m->hash) {
        return EK_MALFORMED;
    }
    if (constants.at % EK_BUNDLE_ALIGN != 0u && constants.count != 0u) {
        return EK_ALIGNMENT;
    }
    m->bundle = bundle;
    m->bundle_bytes = payload;
    m->calls = bundle + calls.at;
    m->call_count = calls.count;
    m->arguments = bundle + arguments.at;
    m->argument_count = arguments.count;
    m->constants = bundle + constants.at;
    m->constant_bytes = constants.count;
    m->fingerprints = bundle + kernels.at;
    m->kernel_count = kernels.count;
    m->inputs = bundle + inputs.at;
    m->input_count = inputs.count;
    m->outputs = bundle + outputs.at;
    m->output_count = outputs.count;
    m->states = bundle + states.at;
    m->state_count = states.count;
    for (uint32_t i = 0; i < sizeof m->hash; ++i) {
        m->hash[i] = bundle[hash.at + i];
    }
    ek_status_t status = check_tensors(m, m->inputs, m->input_count);
    if (status == EK_OK) {
        status = check_tensors(m, m->outputs, m->output_count);
    }
    return status == EK_OK ? check_tensors(m, m->states, m->state_count) : status;
}

ek_call_t ek_get_call(const ek_model_t *m, uint32_t index)
{
    const uint8_t *p = m->calls + EK_CALL_BYTES * index;
    const ek_call_t call = {ek_get32(p), ek_get16(p + 4), ek_get16(p + 6)};
    return call;
}

ek_argument_t ek_get_argument(const ek_model_t *m, uint32_t index)
{
    const uint8_t *p = m->arguments + EK_ARGUMENT_BYTES * index;
    const ek_argument_t argument = {ek_get32(p), ek_get32(p + 4), ek_get32(p + 8)};
    return argument;
}
