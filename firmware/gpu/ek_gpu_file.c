/* ek_gpu_file.c - files, texts and the caller's memory. */
#define _POSIX_C_SOURCE 200809L
#include "ek_gpu_core.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024 };

static bool read_all(int file, uint8_t *data, uint32_t nbytes)
{
    while (nbytes != 0u) {
        const ssize_t n = read(file, data, nbytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        data += n;
        nbytes -= (uint32_t)n;
    }
    return true;
}

uint32_t ek_gpu_file_read(const char *path, uint8_t *data, uint32_t most)
{
    /* Without O_NONBLOCK a FIFO of that name would wait for somebody who writes. */
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    uint32_t nbytes = 0u;
    if (file < 0) {
        return 0u;
    }
    if (fstat(file, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0 &&
        (uint64_t)about.st_size <= most && read_all(file, data, (uint32_t)about.st_size)) {
        nbytes = (uint32_t)about.st_size;
    }
    (void)close(file);
    return nbytes;
}

static bool write_all(int file, const uint8_t *data, uint32_t nbytes)
{
    while (nbytes != 0u) {
        const ssize_t n = write(file, data, nbytes);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        data += n;
        nbytes -= (uint32_t)n;
    }
    return true;
}

bool ek_gpu_file_write(const char *path, const uint8_t *data, uint32_t nbytes)
{
    char part[PATH];
    const int length = snprintf(part, sizeof part, "%s.%ld.part", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof part) {
        return false;
    }
    const int file = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) {
        return false;
    }
    bool good = write_all(file, data, nbytes) && fsync(file) == 0;
    good = close(file) == 0 && good && rename(part, path) == 0;
    if (!good) {
        (void)unlink(part);
    }
    return good;
}

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

void ek_gpu_text_bytes(char *text, size_t size, ek_gpu_bytes_t more)
{
    const size_t used = strlen(text);
    const size_t room = size - 1u - used;
    const size_t taken = more.nbytes < room ? more.nbytes : room;
    memcpy(text + used, more.data, taken);
    text[used + taken] = '\0';
}

void ek_gpu_text_add(char *text, size_t size, const char *more)
{
    const ek_gpu_bytes_t bytes = {(const uint8_t *)more, (uint32_t)strlen(more)};
    ek_gpu_text_bytes(text, size, bytes);
}

void ek_gpu_text_add_two(char *text, size_t size, const char *first, const char *second)
{
    ek_gpu_text_add(text, size, first);
    ek_gpu_text_add(text, size, second);
}

void ek_gpu_text_number(char *text, size_t size, uint32_t number)
{
    char digits[16];
    (void)snprintf(digits, sizeof digits, "%lu", (unsigned long)number);
    ek_gpu_text_add(text, size, digits);
}

bool ek_gpu_text_has(const char *text, const char *part)
{
    for (; *text != '\0'; ++text) {
        size_t i = 0u;
        while (part[i] != '\0' &&
               tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) {
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
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%08lx%08lx", (unsigned long)(hash >> 32),
                   (unsigned long)(hash & 0xFFFFFFFFu));
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
