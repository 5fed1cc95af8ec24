/* The functions that compilers call unasked, for toolchains without a libc. */
#include <stddef.h>
#include <stdint.h>

#undef memcpy
#undef memmove
#undef memset
#undef memcmp

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

/* Keeps compilers from recognizing a loop as the very function that it implements. */
#define OPAQUE() __asm volatile("" ::: "memory")

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  uint8_t *d = to;
  const uint8_t *s = from;
  if ((((uintptr_t)d | (uintptr_t)s) & 3u) == 0) {
    for (; bytes >= 4u; bytes -= 4u, d += 4, s += 4) {
      *(uint32_t *)(void *)d = *(const uint32_t *)(const void *)s;
      OPAQUE();
    }
  }
  while (bytes-- != 0) {
    *d++ = *s++;
    OPAQUE();
  }
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  uint8_t *d = to;
  const uint8_t *s = from;
  if ((uintptr_t)d - (uintptr_t)s >= bytes) return memcpy(to, from, bytes);
  while (bytes-- != 0) {
    d[bytes] = s[bytes];
    OPAQUE();
  }
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  uint8_t *d = to;
  while (bytes-- != 0) {
    *d++ = (uint8_t)value;
    OPAQUE();
  }
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const uint8_t *x = a, *y = b;
  for (; bytes != 0; bytes--, x++, y++) {
    if (*x != *y) return *x < *y ? -1 : 1;
    OPAQUE();
  }
  return 0;
}
