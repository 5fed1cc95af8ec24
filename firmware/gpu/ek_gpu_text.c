/* ek_gpu_text.c - texts, checksums and the caller's memory. */
#include "ek_gpu_core.h"

#include <string.h>

uint64_t ek_gpu_hash(uint64_t before, const void *data, size_t nbytes)
{
    uint64_t hash = before == 0u ? UINT64_C(0xCBF29CE484222325) : before;
    for (size_t i = 0; i < nbytes; ++i) {
        hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001B3);
    }
    return hash;
}

uint32_t ek_gpu_crc32(const uint8_t *data, uint32_t nbytes)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < nbytes; ++i) {
        crc ^= data[i];
        for (uint32_t bit = 0; bit < 8u; ++bit) {
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

size_t ek_gpu_text_bytes_of(const char *text)
{
    size_t nbytes = 0u;
    while (text[nbytes] != '\0') {
        nbytes += 1u;
    }
    return nbytes;
}

bool ek_gpu_text_is(const char *text, const char *other)
{
    const size_t nbytes = ek_gpu_text_bytes_of(text);
    return nbytes == ek_gpu_text_bytes_of(other) && memcmp(text, other, nbytes) == 0;
}

void ek_gpu_text_bytes(char *text, size_t size, ek_gpu_bytes_t more)
{
    const size_t used = ek_gpu_text_bytes_of(text);
    const size_t room = size - 1u - used;
    const size_t taken = more.nbytes < room ? more.nbytes : room;
    memcpy(text + used, more.data, taken);
    text[used + taken] = '\0';
}

void ek_gpu_text_add(char *text, size_t size, const char *more)
{
    const ek_gpu_bytes_t bytes = {(const uint8_t *)more, (uint32_t)ek_gpu_text_bytes_of(more)};
    ek_gpu_text_bytes(text, size, bytes);
}

void ek_gpu_text_add_two(char *text, size_t size, const char *first, const char *second)
{
    ek_gpu_text_add(text, size, first);
    ek_gpu_text_add(text, size, second);
}

void ek_gpu_text_number(char *text, size_t size, uint32_t number)
{
    char digits[12];
    uint32_t first = sizeof digits - 1u;
    digits[first] = '\0';
    do {
        first -= 1u;
        digits[first] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0u);
    ek_gpu_text_add(text, size, digits + first);
}

static uint8_t lower(char c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool ek_gpu_text_has(const char *text, const char *part)
{
    for (; *text != '\0'; ++text) {
        size_t i = 0u;
        while (part[i] != '\0' && lower(text[i]) == lower(part[i])) {
            ++i;
        }
        if (part[i] == '\0') {
            return true;
        }
    }
    return part[0] == '\0';
}

void ek_gpu_text_hash(char *text, size_t size, uint64_t hash)
{
    char digits[17];
    for (uint32_t i = 0; i < 16u; ++i) {
        digits[i] = "0123456789abcdef"[hash >> (60u - 4u * i) & 15u];
    }
    digits[16] = '\0';
    ek_gpu_text_add(text, size, digits);
}

void ek_gpu_say(const ek_gpu_t *gpu, const char *line)
{
    if (gpu->options.say != NULL) {
        gpu->options.say(gpu->options.context, line);
    }
}

uint8_t *ek_gpu_take(uint8_t **at, uint64_t nbytes)
{
    uint8_t *const found = *at;
    *at += (nbytes + 15u) / 16u * 16u;
    return found;
}
