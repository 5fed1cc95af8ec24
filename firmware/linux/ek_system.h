/* ek_system.h - files, clock, memory and environment of a Linux process by system calls, whatever C
 * library it has, or none. Nothing is kept between calls. */
#ifndef EK_SYSTEM_H
#define EK_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The content of a file: how many bytes there are; 0 where there is no such file, it is empty, no
 * ordinary file, or has more than `most`. */
uint32_t ek_file_read(const char *path, uint8_t *data, uint32_t most);

/* Write a file beside `path`, to the disk, and rename it. False where that fails: what was there
 * stays. */
bool ek_file_write(const char *path, const uint8_t *data, uint32_t nbytes);

/* Whether there is anything of that name. */
bool ek_file_exists(const char *path);

/* Make a folder where there is none; whether there is one afterwards. */
bool ek_folder_make(const char *path);

/* Nanoseconds of a clock that never goes back. */
uint64_t ek_clock_ns(void);

void ek_sleep_ns(uint32_t ns);

/* Zeroed memory, at a multiple of the page size, which is never given back; NULL where there is none. */
void *ek_memory(size_t nbytes);

/* The variable `name` of the environment that the process was started with, as a text with its zero:
 * how many bytes it has, 0 where it is not there. Where these are `size` or more, `value` is "". */
size_t ek_environment(const char *name, char *value, size_t size);

/* All of a text to a descriptor: 2 is standard error. */
void ek_print(int descriptor, const char *text);

#endif
