/* ek_table.h - FlatBuffers of which nothing is believed: every offset is compared with the size of
 * the file before it is followed, every count with the bytes that are left. */
#ifndef EK_TABLE_H
#define EK_TABLE_H

#include "ek_bundle.h"

/* Not every file that includes this uses all of it. */
#define EK_TABLE static __attribute__((unused))

typedef struct {
    const uint8_t *data;
    uint32_t size;
} span_t;

typedef struct {
    uint32_t at;
    uint32_t size;
    uint32_t vtable;
    uint32_t vtable_size;
} table_t;

typedef struct {
    uint32_t at; /* of the first element */
    uint32_t count;
} vector_t;

/* The offset that is stored at `at` (which has been checked), followed; false where it leaves. */
EK_TABLE bool follow(span_t s, uint32_t at, uint32_t *to)
{
    const uint32_t distance = ek_get32(s.data + at);
    if (distance > s.size - at) {
        return false;
    }
    *to = at + distance;
    return true;
}

EK_TABLE bool open_table(span_t s, uint32_t at, table_t *t)
{
    if (s.size < 4u || at > s.size - 4u || at % 4u != 0u) {
        return false;
    }
    /* The vtable lies at `at` minus a signed distance: modulo 2^32, then checked. */
    const uint32_t vtable = at - ek_get32(s.data + at);
    if (vtable > s.size - 4u || vtable % 2u != 0u) {
        return false;
    }
    t->at = at;
    t->vtable = vtable;
    t->vtable_size = ek_get16(s.data + vtable);
    t->size = ek_get16(s.data + vtable + 2u);
    return t->vtable_size >= 4u && t->vtable_size % 2u == 0u &&
           t->vtable_size <= s.size - vtable && t->size >= 4u && t->size <= s.size - at;
}

/* Where field `id` of `nbytes` lies, 0 where it is absent; false where it leaves the table. */
EK_TABLE bool field(span_t s, const table_t *t, uint32_t id, uint32_t nbytes, uint32_t *at)
{
    const uint32_t slot = 4u + 2u * id;
    const uint32_t inside =
        slot + 2u <= t->vtable_size ? ek_get16(s.data + t->vtable + slot) : 0u;
    *at = inside == 0u ? 0u : t->at + inside;
    return inside == 0u || (inside >= 4u && nbytes <= t->size && inside <= t->size - nbytes);
}

/* A 32-bit scalar field, 0 where it is absent. */
EK_TABLE bool scalar(span_t s, const table_t *t, uint32_t id, uint32_t *value)
{
    uint32_t at;
    if (!field(s, t, id, 4u, &at)) {
        return false;
    }
    *value = at == 0u ? 0u : ek_get32(s.data + at);
    return true;
}

EK_TABLE bool child(span_t s, const table_t *t, uint32_t id, uint32_t *at)
{
    uint32_t place;
    return field(s, t, id, 4u, &place) && place != 0u && follow(s, place, at);
}

EK_TABLE bool vector(span_t s, const table_t *t, uint32_t id, uint32_t element, vector_t *v)
{
    uint32_t at;
    if (!child(s, t, id, &at) || s.size < 4u || at > s.size - 4u) {
        return false;
    }
    v->count = ek_get32(s.data + at);
    v->at = at + 4u;
    return v->count <= (s.size - v->at) / element;
}

/* As `vector`, but absent is empty. */
EK_TABLE bool optional_vector(span_t s, const table_t *t, uint32_t id, uint32_t element, vector_t *v)
{
    uint32_t at;
    if (!field(s, t, id, 4u, &at)) {
        return false;
    }
    v->at = 0u;
    v->count = 0u;
    return at == 0u || vector(s, t, id, element, v);
}

#endif
