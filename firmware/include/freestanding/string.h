/* The four functions that a freestanding C program may use, for targets without a libc.
 *
 * -ffreestanding turns memcpy(d, s, 4) into a call; the builtin turns it back into one load. What
 * stays a call is resolved by the compiler's own library (compiler_rt, or newlib with GCC). */
#ifndef EK_FREESTANDING_STRING_H
#define EK_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

#define memcpy(to, from, bytes) __builtin_memcpy((to), (from), (bytes))
#define memmove(to, from, bytes) __builtin_memmove((to), (from), (bytes))
#define memset(to, value, bytes) __builtin_memset((to), (value), (bytes))
#define memcmp(a, b, bytes) __builtin_memcmp((a), (b), (bytes))

#endif
