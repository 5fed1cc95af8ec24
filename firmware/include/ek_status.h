/* ek_status.h - what calls return and how far an inference has come; for the interpreter
 * (edgekit.h) and for ahead-of-time compiled models (NAME.h) alike. */
#ifndef EK_STATUS_H
#define EK_STATUS_H

#include <stdint.h>

/* Numbers stay what they are: hosts know them by number, and new ones are appended. */
typedef enum {
    EK_OK = 0,
    EK_TRUNCATED = 1,       /* shorter than its own footer says */
    EK_MAGIC = 2,           /* not a bundle */
    EK_VERSION = 3,         /* a format that this runtime does not read */
    EK_CHECKSUM = 4,        /* damaged */
    EK_MALFORMED = 5,       /* a table or vector leaves the file */
    EK_BOUNDS = 6,          /* an argument leaves the arena or the constants */
    EK_ALIGNMENT = 7,       /* an argument, the bundle or the arena is not aligned */
    EK_KERNEL_MISSING = 8,  /* this firmware was built for another model */
    EK_ARENA_TOO_SMALL = 9, /* model.arena_bytes says what it needs */
    EK_TOO_MANY_CALLS = 10, /* more kernels than slots, or arguments than EK_MAX_ARGUMENTS */
    EK_STATE = 11,          /* invoked before a successful open, or a step that there is not */
    EK_MORE = 12,           /* not an error: a step is done and others are left */
    EK_STREAM = 13,         /* a command stream that the accelerator would refuse */
    EK_GPU_LOST = 14,       /* not an error: the GPU is lost, the CPU made this result and all later */
    EK_CPU = 15,            /* no program of this library is for this CPU, or of that name */
    EK_GPU_NONE = 16        /* the program found no GPU */
} ek_status_t;

/* How far an inference in steps has come; it is the caller's, and all zero before the first step.
 * `next` is the kernel that the next step runs. */
typedef struct {
    uint32_t next;
} ek_run_t;

#endif
