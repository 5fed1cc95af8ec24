/* An OpenCL library for CPUs that no compiler of OpenCL C runs on here: it has the functions of one
 * bundle, compiled ahead, and builds programs of just their text. Those with local memory it refuses,
 * whose items would have to wait for each other; others run item by item when they are enqueued. */
#define _GNU_SOURCE
#include "ek_gpu_opencl_api.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ARGUMENTS = 16, NOT_BUILT = -11, NO_KERNEL = -46, NO_VALUE = -30, PLATFORM = 1, DEVICE = 2 };

/* The text that the functions were compiled of, the prelude first; without those of local memory. */
extern const char phone_source[], phone_source_end[];

struct cl_memory {
    uint8_t *data;
    bool own;
};
struct cl_program_s {
    bool known, built;
};
struct cl_kernel_s {
    void *function;
    struct cl_memory *arguments[ARGUMENTS];
};
struct cl_event_s {
    uint64_t start, end;
};

static uint64_t now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static cl_int answer(const void *value, size_t nbytes, size_t size, void *out, size_t *told)
{
    if (told != NULL) {
        *told = nbytes;
    }
    if (out != NULL) {
        if (size < nbytes) {
            return NO_VALUE;
        }
        memcpy(out, value, nbytes);
    }
    return CL_SUCCESS;
}

static cl_int answer_text(const char *text, size_t size, void *out, size_t *told)
{
    return answer(text, strlen(text) + 1u, size, out, told);
}

static void *made(void *object, cl_int *status)
{
    *status = object == NULL ? CL_OUT_OF_HOST_MEMORY : CL_SUCCESS;
    return object;
}

/* ---- platform and device */

cl_int clGetPlatformIDs(cl_uint most, cl_platform_id *ids, cl_uint *count)
{
    *count = 1u;
    if (most != 0u) {
        ids[0] = (cl_platform_id)(uintptr_t)PLATFORM;
    }
    return CL_SUCCESS;
}

cl_int clGetPlatformInfo(cl_platform_id id, cl_uint what, size_t size, void *out, size_t *told)
{
    (void)id;
    return what == CL_PLATFORM_NAME ? answer_text("Phone", size, out, told) : NO_VALUE;
}

cl_int clGetDeviceIDs(cl_platform_id id, cl_bitfield type, cl_uint most, cl_device_id *ids,
                      cl_uint *count)
{
    (void)id;
    (void)type;
    *count = 1u;
    if (most != 0u) {
        ids[0] = (cl_device_id)(uintptr_t)DEVICE;
    }
    return CL_SUCCESS;
}

cl_int clGetDeviceInfo(cl_device_id id, cl_uint what, size_t size, void *out, size_t *told)
{
    static const cl_bitfield type = CL_DEVICE_TYPE_GPU;
    static const size_t group = 384u, sizes[3] = {384u, 384u, 384u};
    static const cl_uint alignment = 1024u, unified = 1u;
    static const cl_ulong local = 32768u;
    (void)id;
    switch (what) {
    case CL_DEVICE_TYPE:
        return answer(&type, sizeof type, size, out, told);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
        return answer(&group, sizeof group, size, out, told);
    case CL_DEVICE_MAX_WORK_ITEM_SIZES:
        return answer(sizes, sizeof sizes, size, out, told);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN:
        return answer(&alignment, sizeof alignment, size, out, told);
    case CL_DEVICE_LOCAL_MEM_SIZE:
        return answer(&local, sizeof local, size, out, told);
    case CL_DEVICE_HOST_UNIFIED_MEMORY:
        return answer(&unified, sizeof unified, size, out, told);
    case CL_DEVICE_NAME:
        return answer_text("ahead of time", size, out, told);
    case CL_DRIVER_VERSION:
        return answer_text("1", size, out, told);
    case CL_DEVICE_VERSION:
        return answer_text("OpenCL 1.2", size, out, told);
    case CL_DEVICE_EXTENSIONS:
        return answer_text("cl_khr_byte_addressable_store", size, out, told);
    default:
        return NO_VALUE;
    }
}

cl_context clCreateContext(const intptr_t *properties, cl_uint count, const cl_device_id *ids,
                           void (*tell)(const char *, const void *, size_t, void *), void *data,
                           cl_int *status)
{
    (void)properties;
    (void)count;
    (void)ids;
    (void)tell;
    (void)data;
    return made(malloc(1u), status);
}

cl_command_queue clCreateCommandQueue(cl_context context, cl_device_id id, cl_bitfield properties,
                                      cl_int *status)
{
    (void)context;
    (void)id;
    (void)properties;
    return made(malloc(1u), status);
}

cl_int clReleaseContext(cl_context context)
{
    free(context);
    return CL_SUCCESS;
}

cl_int clReleaseCommandQueue(cl_command_queue queue)
{
    free(queue);
    return CL_SUCCESS;
}

/* ---- memory */

cl_mem clCreateBuffer(cl_context context, cl_bitfield flags, size_t nbytes, void *from,
                      cl_int *status)
{
    struct cl_memory *const memory = malloc(sizeof *memory);
    void *data = NULL;
    (void)context;
    if (posix_memalign(&data, 128u, nbytes) == 0 && (flags & CL_MEM_COPY_HOST_PTR) != 0u) {
        memcpy(data, from, nbytes);
    }
    *memory = (struct cl_memory){data, true};
    return made(memory, status);
}

cl_mem clCreateSubBuffer(cl_mem parent, cl_bitfield flags, cl_uint type, const void *about,
                         cl_int *status)
{
    const cl_buffer_region *const region = about;
    struct cl_memory *const memory = malloc(sizeof *memory);
    (void)flags;
    (void)type;
    *memory = (struct cl_memory){parent->data + region->origin, false};
    return made(memory, status);
}

cl_int clReleaseMemObject(cl_mem memory)
{
    if (memory->own) {
        free(memory->data);
    }
    free(memory);
    return CL_SUCCESS;
}

/* ---- programs */

/* Whether a text is one that the functions were compiled of. */
static bool is_known(const char *text, size_t nbytes)
{
    const size_t all = (size_t)(phone_source_end - phone_source);
    return memmem(phone_source, all, text, nbytes) != NULL;
}

cl_program clCreateProgramWithSource(cl_context context, cl_uint count, const char **texts,
                                     const size_t *lengths, cl_int *status)
{
    struct cl_program_s *const program = calloc(1u, sizeof *program);
    (void)context;
    program->known = true;
    for (cl_uint i = 0; i < count; ++i) {
        program->known = program->known && is_known(texts[i], lengths[i]);
    }
    return made(program, status);
}

cl_program clCreateProgramWithBinary(cl_context context, cl_uint count, const cl_device_id *ids,
                                     const size_t *lengths, const unsigned char **binaries,
                                     cl_int *taken, cl_int *status)
{
    (void)context;
    (void)count;
    (void)ids;
    (void)lengths;
    (void)binaries;
    *taken = *status = NO_VALUE;
    return NULL;
}

cl_int clBuildProgram(cl_program program, cl_uint count, const cl_device_id *ids,
                      const char *options, void (*tell)(cl_program, void *), void *data)
{
    (void)count;
    (void)ids;
    (void)options;
    (void)tell;
    (void)data;
    program->built = program->known;
    return program->built ? CL_SUCCESS : NOT_BUILT;
}

cl_int clGetProgramInfo(cl_program program, cl_uint what, size_t size, void *out, size_t *told)
{
    (void)program;
    (void)what;
    (void)size;
    (void)out;
    (void)told;
    return NO_VALUE; /* no binaries */
}

cl_int clGetProgramBuildInfo(cl_program program, cl_device_id id, cl_uint what, size_t size,
                             void *out, size_t *told)
{
    (void)program;
    (void)id;
    return what == (cl_uint)CL_PROGRAM_BUILD_LOG
               ? answer_text("not compiled ahead of time", size, out, told) : NO_VALUE;
}

/* Functions are found in this very library, which is loaded for itself. */
cl_kernel clCreateKernel(cl_program program, const char *name, cl_int *status)
{
    struct cl_kernel_s *kernel = NULL;
    Dl_info own;
    void *found = NULL;
    if (program->built && dladdr(phone_source, &own) != 0) {
        found = dlsym(dlopen(own.dli_fname, RTLD_NOW | RTLD_NOLOAD), name);
    }
    *status = found == NULL ? NO_KERNEL : CL_SUCCESS;
    if (found != NULL) {
        kernel = calloc(1u, sizeof *kernel);
        kernel->function = found;
    }
    return kernel;
}

cl_int clReleaseProgram(cl_program program)
{
    free(program);
    return CL_SUCCESS;
}

cl_int clReleaseKernel(cl_kernel kernel)
{
    free(kernel);
    return CL_SUCCESS;
}

cl_int clGetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id id, cl_uint what, size_t size,
                                void *out, size_t *told)
{
    static const size_t group = 384u;
    (void)kernel;
    (void)id;
    return what == (cl_uint)CL_KERNEL_WORK_GROUP_SIZE
               ? answer(&group, sizeof group, size, out, told) : NO_VALUE;
}

cl_int clSetKernelArg(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    if (index >= ARGUMENTS || size != sizeof(cl_mem)) {
        return NO_VALUE;
    }
    memcpy(&kernel->arguments[index], value, size);
    return CL_SUCCESS;
}

/* ---- launches */

static size_t item[3];
size_t phone_item(uint32_t axis);
size_t phone_item(uint32_t axis) { return item[axis]; }

typedef void function_t(void *, void *, void *, void *, void *, void *, void *, void *, void *,
                        void *, void *, void *, void *, void *, void *, void *);

static cl_int done(uint64_t start, cl_event *event)
{
    if (event != NULL) {
        *event = malloc(sizeof **event);
        **event = (struct cl_event_s){start, now()};
    }
    return CL_SUCCESS;
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint axes,
                              const size_t *offset, const size_t *items, const size_t *group,
                              cl_uint count, const cl_event *wait, cl_event *event)
{
    const uint64_t start = now();
    void *a[ARGUMENTS];
    function_t *function;
    (void)queue;
    (void)offset;
    (void)count;
    (void)wait;
    memcpy(&function, &kernel->function, sizeof function);
    for (uint32_t i = 0; i < ARGUMENTS; ++i) {
        a[i] = kernel->arguments[i] == NULL ? NULL : kernel->arguments[i]->data;
    }
    for (uint32_t i = 0; i < 3u; ++i) {
        if (axes != 3u || group[i] == 0u || items[i] % group[i] != 0u) {
            return NO_VALUE;
        }
    }
    for (item[2] = 0u; item[2] < items[2]; ++item[2]) {
        for (item[1] = 0u; item[1] < items[1]; ++item[1]) {
            for (item[0] = 0u; item[0] < items[0]; ++item[0]) {
                function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
                         a[12], a[13], a[14], a[15]);
            }
        }
    }
    return done(start, event);
}

cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem memory, cl_uint blocking, size_t offset,
                           size_t nbytes, void *out, cl_uint count, const cl_event *wait,
                           cl_event *event)
{
    (void)queue;
    (void)blocking;
    (void)count;
    (void)wait;
    memcpy(out, memory->data + offset, nbytes);
    return done(now(), event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem memory, cl_uint blocking, size_t offset,
                            size_t nbytes, const void *from, cl_uint count, const cl_event *wait,
                            cl_event *event)
{
    const uint64_t start = now();
    (void)queue;
    (void)blocking;
    (void)count;
    (void)wait;
    memcpy(memory->data + offset, from, nbytes);
    return done(start, event);
}

void *clEnqueueMapBuffer(cl_command_queue queue, cl_mem memory, cl_uint blocking,
                         cl_bitfield flags, size_t offset, size_t nbytes, cl_uint count,
                         const cl_event *wait, cl_event *event, cl_int *status)
{
    (void)queue;
    (void)blocking;
    (void)flags;
    (void)nbytes;
    (void)count;
    (void)wait;
    (void)event;
    *status = CL_SUCCESS;
    return memory->data + offset;
}

cl_int clEnqueueUnmapMemObject(cl_command_queue queue, cl_mem memory, void *at, cl_uint count,
                               const cl_event *wait, cl_event *event)
{
    (void)queue;
    (void)memory;
    (void)at;
    (void)count;
    (void)wait;
    return done(now(), event);
}

cl_int clEnqueueMarkerWithWaitList(cl_command_queue queue, cl_uint count, const cl_event *wait,
                                   cl_event *event)
{
    (void)queue;
    (void)count;
    (void)wait;
    return done(now(), event);
}

cl_int clFlush(cl_command_queue queue)
{
    (void)queue;
    return CL_SUCCESS;
}

cl_int clGetEventInfo(cl_event event, cl_uint what, size_t size, void *out, size_t *told)
{
    static const cl_int complete = CL_COMPLETE;
    (void)event;
    return what == (cl_uint)CL_EVENT_COMMAND_EXECUTION_STATUS
               ? answer(&complete, sizeof complete, size, out, told) : NO_VALUE;
}

cl_int clGetEventProfilingInfo(cl_event event, cl_uint what, size_t size, void *out, size_t *told)
{
    const uint64_t *const time = what == (cl_uint)CL_PROFILING_COMMAND_START ? &event->start
                                                                             : &event->end;
    return answer(time, sizeof *time, size, out, told);
}

cl_int clReleaseEvent(cl_event event)
{
    free(event);
    return CL_SUCCESS;
}
