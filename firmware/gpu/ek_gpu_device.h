/* ek_gpu_device.h - what the runtime of ek_gpu.h asks of a device: one table of functions for each
 * API (ek_gpu_opencl.h, ek_gpu_vulkan.h). None of them needs more than one thread, none allocates
 * memory of its own but through the API's driver. */
#ifndef EK_GPU_DEVICE_H
#define EK_GPU_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

/* Most arguments of a launch, and bytes of a name. */
#define EK_GPU_ARGUMENTS 16u
#define EK_GPU_NAME 96u

/* Bits of `features`, and of what a variant needs; codegen.gpu.kernel.FEATURES. */
enum { EK_GPU_HAS_DOT = 1, EK_GPU_HAS_FP16 = 2 };
enum { EK_GPU_ARENA = 0, EK_GPU_CONSTANTS = 1 };

/* Numbers stay what they are: files keep them. */
typedef enum {
    EK_GPU_OK = 0,
    EK_GPU_NOT_BUILT = 1,  /* the function did not compile */
    EK_GPU_REFUSED = 2,    /* this launch, or this memory: others may work */
    EK_GPU_GONE = 3,       /* the device is lost: nothing works on it any more */
    EK_GPU_TOO_SLOW = 4    /* it did not end in time: taken as lost */
} ek_gpu_result_t;

/* Bytes that need not end with a zero. */
typedef struct {
    const uint8_t *data;
    uint32_t nbytes;
} ek_gpu_bytes_t;

/* A function: OpenCL C with the prelude in front, and SPIR-V for Vulkan (no bytes: none). */
typedef struct {
    ek_gpu_bytes_t name;
    ek_gpu_bytes_t source;
    ek_gpu_bytes_t spirv;
    uint32_t local_bytes;
    bool wanted; /* others need not be built */
} ek_gpu_function_t;

/* All functions of a bundle. `hash` names the bundle; `folder` is where what was built may be kept
 * for the next start, "" for nowhere. */
typedef struct {
    ek_gpu_bytes_t prelude;
    const ek_gpu_function_t *functions;
    uint32_t function_count;
    const uint8_t *hash; /* 8 bytes */
    const char *folder;
} ek_gpu_code_t;

/* Bytes of the arena or of the constants that launches, reads and writes name by their index. No two
 * are the same; where they overlap, they are of different times. */
typedef struct {
    uint32_t space;
    uint32_t offset;
    uint32_t nbytes;
} ek_gpu_place_t;

typedef struct {
    uint32_t arena_bytes;
    ek_gpu_bytes_t constants; /* stay where they are until the device is closed */
    const ek_gpu_place_t *places;
    uint32_t place_count;
} ek_gpu_memory_t;

/* What the driver says of the device. Limits of 0 are not known. */
typedef struct {
    char api[16]; /* "OpenCL", "Vulkan" */
    char name[EK_GPU_NAME];
    char driver[EK_GPU_NAME];
    uint32_t features;
    uint32_t group_items;   /* of a group, at most */
    uint32_t group_size[3]; /* of a group along each axis, at most */
    uint32_t local_bytes;   /* of a group, at most */
    bool is_cpu;            /* it computes on the CPU: its speed is not a GPU's */
    bool unified;           /* it shares memory with the CPU */
    bool timed;             /* `elapsed` tells the time of a launch */
} ek_gpu_info_t;

typedef struct {
    void *self; /* the first argument of every function */
    ek_gpu_info_t info;

    /* Make the arena and the constants; once, before everything else. */
    ek_gpu_result_t (*memory)(void *self, const ek_gpu_memory_t *memory);

    /* Build the wanted functions; may be called again with others. EK_GPU_OK where at least it could
     * be tried: `built` then says of each function whether it is there, and where it is not, what the
     * compiler said (at most EK_GPU_SAID bytes and a zero). */
    ek_gpu_result_t (*build)(void *self, const ek_gpu_code_t *code);
    bool (*built)(void *self, uint32_t function, const char **said);

    /* Contents of a place, from its beginning. Writing comes after all launches so far and before all
     * later ones; reading waits for the launches so far. */
    ek_gpu_result_t (*write)(void *self, uint32_t place, const void *data, uint32_t nbytes);
    ek_gpu_result_t (*read)(void *self, uint32_t place, void *data, uint32_t nbytes);

    /* Where memory is shared: the place's own bytes until `unmap`; NULL where that fails. Both are
     * NULL where memory is not shared. No launch may use a place that is mapped. */
    uint8_t *(*map)(void *self, uint32_t place, bool writing);
    ek_gpu_result_t (*unmap)(void *self, uint32_t place);

    /* Start a function after all launches so far. `places` are its arguments in order; items in all
     * and of a group along each axis. `event` is a number from 0 to EK_GPU_EVENTS - 1 by which
     * `elapsed` knows it, EK_GPU_NO_EVENT for none. */
    ek_gpu_result_t (*launch)(void *self, uint32_t function, const uint32_t *places, uint32_t count,
                              const uint32_t items[3], const uint32_t group[3], uint32_t event);
    /* See that everything so far is begun, and wait until it is done. EK_GPU_TOO_SLOW after about
     * `patience_ms`. */
    ek_gpu_result_t (*flush)(void *self);
    ek_gpu_result_t (*wait)(void *self, uint32_t patience_ms);
    /* Nanoseconds on the device of a launch that is done; 0 where nobody knows. */
    uint64_t (*elapsed)(void *self, uint32_t event);

    /* Give everything back. Of a device that is gone, what can be given back without waiting. */
    void (*close)(void *self);
} ek_gpu_device_t;

#define EK_GPU_NO_EVENT 0xFFFFFFFFu
#define EK_GPU_SAID 512u

#endif
