/* bad_opencl.c - an OpenCL library that hands everything on to the real one, but for the one thing that
 * EK_BAD names: a word, or WORD=VALUE.
 *
 *   crash                               it reads from address 64
 *   platform device context queue       there is none, or none is made
 *   group=N items=N align=N local=N     what it says of its limits (align in bits)
 *   unified=N                           whether it says that it shares memory with the CPU
 *   compile=TEXT                        programs in whose source TEXT is do not compile
 *   kernel=TEXT                         kernels in whose name TEXT is are not made
 *   skip=TEXT part=TEXT                 such kernels run not at all, or one of their groups alone
 *   subbuffer map buffer                those are not made
 *   binary garbage                      binaries are refused; what it gives out as one is nonsense
 *   start=N                             launch N and all later ones do not start, all else goes on
 *   lost=N lost                         launch N, or the first one while the file EK_BAD_WHEN is there,
 *                                       finds no resources, and from then on there is no device
 *   hang=N hang                         the same, but nothing after it ever ends
 *   event=N event                       the same, but what comes after ends with an error
 *   clock clock=1                       events have no times, or all the same ones */
#define _GNU_SOURCE
#include "ek_gpu_opencl_api.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOT_FOUND = -1, NO_BUILD = -11, NO_GROUP = -54, NO_VALUE = -30, KERNELS = 512, NAME = 128 };

static struct {
    cl_kernel kernel;
    char name[NAME];
} kernels[KERNELS];
static cl_program bad_programs[KERNELS];
static uint32_t kernel_count, bad_count, launches;
static bool struck; /* the device is lost, hangs or fails */

static void *real(const char *name)
{
    static void *library;
    if (library == NULL) {
        library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    }
    void *found = library == NULL ? NULL : dlsym(library, name);
    if (found == NULL) {
        (void)fprintf(stderr, "no %s in libOpenCL.so.1\n", name);
        abort();
    }
    return found;
}

/* The value of `word` where EK_BAD is that word, NULL otherwise. */
static const char *bad(const char *word)
{
    const char *said = getenv("EK_BAD");
    const size_t n = strlen(word);
    if (said == NULL || strncmp(said, word, n) != 0 || (said[n] != '\0' && said[n] != '=')) {
        return NULL;
    }
    return said[n] == '=' ? said + n + 1 : "";
}

/* Whether a launch is the one at which `word` begins. */
static bool now(const char *word)
{
    const char *value = bad(word), *when = getenv("EK_BAD_WHEN");
    if (value == NULL) {
        return false;
    }
    return value[0] != '\0' ? launches >= (uint32_t)atoi(value)
                            : when != NULL && access(when, F_OK) == 0;
}

/* The error of everything once the device is lost. */
static cl_int lost(void)
{
    return struck && bad("lost") != NULL ? CL_DEVICE_NOT_AVAILABLE : CL_SUCCESS;
}

#define GET(name) __typeof__(((ek_cl_api_t *)0)->name) f = real(#name)
#define ALIVE() do { if (lost() != CL_SUCCESS) { return lost(); } } while (0)

cl_int clGetPlatformIDs(cl_uint n, cl_platform_id *ids, cl_uint *count)
{
    GET(clGetPlatformIDs);
    if (bad("crash") != NULL) {
        return *(const volatile cl_int *)(uintptr_t)64u;
    }
    return bad("platform") != NULL ? -1001 : f(n, ids, count);
}

cl_int clGetPlatformInfo(cl_platform_id id, cl_uint what, size_t n, void *value, size_t *size)
{
    GET(clGetPlatformInfo);
    return f(id, what, n, value, size);
}

cl_int clGetDeviceIDs(cl_platform_id p, cl_bitfield type, cl_uint n, cl_device_id *ids, cl_uint *m)
{
    GET(clGetDeviceIDs);
    return bad("device") != NULL ? NOT_FOUND : f(p, type, n, ids, m);
}

cl_int clGetDeviceInfo(cl_device_id id, cl_uint what, size_t n, void *value, size_t *size)
{
    GET(clGetDeviceInfo);
    const cl_int status = f(id, what, n, value, size);
    const char *word = what == CL_DEVICE_MAX_WORK_GROUP_SIZE   ? "group"
                       : what == CL_DEVICE_MAX_WORK_ITEM_SIZES ? "items"
                       : what == CL_DEVICE_MEM_BASE_ADDR_ALIGN ? "align"
                       : what == CL_DEVICE_LOCAL_MEM_SIZE      ? "local"
                       : what == CL_DEVICE_HOST_UNIFIED_MEMORY ? "unified" : "nothing";
    const char *lie = bad(word);
    if (lie != NULL && value != NULL && status == CL_SUCCESS) {
        const uint64_t number = strtoull(lie, NULL, 10);
        for (size_t at = 0; at < n; at += sizeof number) {
            memcpy((char *)value + at, &number, n - at < sizeof number ? n - at : sizeof number);
        }
    }
    return status;
}

cl_context clCreateContext(const intptr_t *p, cl_uint n, const cl_device_id *ids,
                           void (*told)(const char *, const void *, size_t, void *), void *user,
                           cl_int *status)
{
    GET(clCreateContext);
    if (bad("context") != NULL) {
        *status = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    return f(p, n, ids, told, user, status);
}

cl_command_queue clCreateCommandQueue(cl_context c, cl_device_id id, cl_bitfield p, cl_int *status)
{
    GET(clCreateCommandQueue);
    if (bad("queue") != NULL) {
        *status = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    return f(c, id, p, status);
}

cl_mem clCreateBuffer(cl_context c, cl_bitfield flags, size_t n, void *data, cl_int *status)
{
    GET(clCreateBuffer);
    if (bad("buffer") != NULL) {
        *status = CL_MEM_OBJECT_ALLOCATION_FAILURE;
        return NULL;
    }
    return f(c, flags, n, data, status);
}

cl_mem clCreateSubBuffer(cl_mem m, cl_bitfield flags, cl_uint type, const void *region, cl_int *status)
{
    GET(clCreateSubBuffer);
    if (bad("subbuffer") != NULL) {
        *status = -13;
        return NULL;
    }
    return f(m, flags, type, region, status);
}

static bool among(const char *text, size_t n, const char *part)
{
    return part != NULL && memmem(text, n, part, strlen(part)) != NULL;
}

cl_program clCreateProgramWithSource(cl_context c, cl_uint n, const char **texts, const size_t *sizes,
                                     cl_int *status)
{
    GET(clCreateProgramWithSource);
    cl_program made = f(c, n, texts, sizes, status);
    for (cl_uint i = 0; i < n && bad_count < KERNELS; ++i) {
        if (among(texts[i], sizes[i], bad("compile"))) {
            bad_programs[bad_count++] = made;
            break;
        }
    }
    return made;
}

cl_program clCreateProgramWithBinary(cl_context c, cl_uint n, const cl_device_id *ids,
                                     const size_t *sizes, const unsigned char **data, cl_int *each,
                                     cl_int *status)
{
    GET(clCreateProgramWithBinary);
    if (bad("binary") != NULL || bad("garbage") != NULL) {
        *each = -42;
        *status = -42;
        return NULL;
    }
    return f(c, n, ids, sizes, data, each, status);
}

cl_int clBuildProgram(cl_program p, cl_uint n, const cl_device_id *ids, const char *options,
                      void (*told)(cl_program, void *), void *user)
{
    GET(clBuildProgram);
    for (uint32_t i = 0; i < bad_count; ++i) {
        if (bad_programs[i] == p) {
            return NO_BUILD;
        }
    }
    return f(p, n, ids, options, told, user);
}

cl_int clGetProgramInfo(cl_program p, cl_uint what, size_t n, void *value, size_t *size)
{
    GET(clGetProgramInfo);
    const cl_int status = f(p, what, n, value, size);
    if (bad("garbage") != NULL && what == CL_PROGRAM_BINARIES && status == CL_SUCCESS) {
        memset(*(unsigned char **)value, 0x42, 16);
    }
    return status;
}

cl_int clGetProgramBuildInfo(cl_program p, cl_device_id id, cl_uint what, size_t n, void *value,
                             size_t *size)
{
    GET(clGetProgramBuildInfo);
    static const char log[] = "<source>:1:1: error:\nseeded by the test";
    if (bad("compile") == NULL || what != CL_PROGRAM_BUILD_LOG) {
        return f(p, id, what, n, value, size);
    }
    if (size != NULL) {
        *size = sizeof log;
    }
    if (value != NULL && n >= sizeof log) {
        memcpy(value, log, sizeof log);
    }
    return value != NULL && n < sizeof log ? NO_VALUE : CL_SUCCESS;
}

cl_kernel clCreateKernel(cl_program p, const char *name, cl_int *status)
{
    GET(clCreateKernel);
    if (among(name, strlen(name), bad("kernel"))) {
        *status = -46;
        return NULL;
    }
    cl_kernel made = f(p, name, status);
    if (made != NULL && kernel_count < KERNELS) {
        kernels[kernel_count].kernel = made;
        (void)snprintf(kernels[kernel_count].name, NAME, "%s", name);
        kernel_count += 1u;
    }
    return made;
}

/* The last kernel of this handle: handles of released ones come again. */
static const char *name_of(cl_kernel kernel)
{
    for (uint32_t i = kernel_count; i-- > 0u;) {
        if (kernels[i].kernel == kernel) {
            return kernels[i].name;
        }
    }
    return "";
}

cl_int clGetKernelWorkGroupInfo(cl_kernel k, cl_device_id id, cl_uint what, size_t n, void *value,
                                size_t *size)
{
    GET(clGetKernelWorkGroupInfo);
    return f(k, id, what, n, value, size);
}

cl_int clSetKernelArg(cl_kernel k, cl_uint i, size_t n, const void *value)
{
    GET(clSetKernelArg);
    return f(k, i, n, value);
}

cl_int clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint n, const size_t *offset,
                              const size_t *global, const size_t *local, cl_uint m,
                              const cl_event *waits, cl_event *event)
{
    GET(clEnqueueNDRangeKernel);
    const char *name = name_of(k);
    launches += 1u;
    if (now("start")) {
        return CL_OUT_OF_RESOURCES;
    }
    ALIVE();
    if (now("lost")) {
        struck = true;
        return CL_OUT_OF_RESOURCES;
    }
    if (now("hang") || now("event")) {
        struck = true;
    }
    if (among(name, strlen(name), bad("skip"))) {
        return event == NULL ? CL_SUCCESS
                             : ((cl_int(*)(cl_command_queue, cl_uint, const cl_event *,
                                           cl_event *))real("clEnqueueMarkerWithWaitList"))(
                                   q, m, waits, event);
    }
    return f(q, k, n, offset, among(name, strlen(name), bad("part")) ? local : global, local, m,
             waits, event);
}

cl_int clEnqueueReadBuffer(cl_command_queue q, cl_mem b, cl_uint blocks, size_t at, size_t n,
                           void *data, cl_uint m, const cl_event *waits, cl_event *event)
{
    GET(clEnqueueReadBuffer);
    ALIVE();
    return f(q, b, blocks, at, n, data, m, waits, event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue q, cl_mem b, cl_uint blocks, size_t at, size_t n,
                            const void *data, cl_uint m, const cl_event *waits, cl_event *event)
{
    GET(clEnqueueWriteBuffer);
    ALIVE();
    return f(q, b, blocks, at, n, data, m, waits, event);
}

void *clEnqueueMapBuffer(cl_command_queue q, cl_mem b, cl_uint blocks, cl_bitfield flags, size_t at,
                         size_t n, cl_uint m, const cl_event *waits, cl_event *event, cl_int *status)
{
    GET(clEnqueueMapBuffer);
    if (bad("map") != NULL || lost() != CL_SUCCESS) {
        *status = -12;
        return NULL;
    }
    return f(q, b, blocks, flags, at, n, m, waits, event, status);
}

cl_int clEnqueueUnmapMemObject(cl_command_queue q, cl_mem b, void *data, cl_uint m,
                               const cl_event *waits, cl_event *event)
{
    GET(clEnqueueUnmapMemObject);
    ALIVE();
    return f(q, b, data, m, waits, event);
}

cl_int clEnqueueMarkerWithWaitList(cl_command_queue q, cl_uint m, const cl_event *waits,
                                   cl_event *event)
{
    GET(clEnqueueMarkerWithWaitList);
    ALIVE();
    return f(q, m, waits, event);
}

cl_int clFlush(cl_command_queue q)
{
    GET(clFlush);
    ALIVE();
    return f(q);
}

cl_int clGetEventInfo(cl_event e, cl_uint what, size_t n, void *value, size_t *size)
{
    GET(clGetEventInfo);
    const cl_int status = f(e, what, n, value, size);
    const cl_int hangs = 1, fails = -14;
    ALIVE();
    if (struck && what == CL_EVENT_COMMAND_EXECUTION_STATUS && n == sizeof hangs) {
        memcpy(value, bad("hang") != NULL ? &hangs : &fails, n);
    }
    return status;
}

cl_int clGetEventProfilingInfo(cl_event e, cl_uint what, size_t n, void *value, size_t *size)
{
    GET(clGetEventProfilingInfo);
    const cl_int status = f(e, what, n, value, size);
    if (bad("clock") != NULL && value != NULL) {
        const uint64_t same = bad("clock")[0] == '\0' ? 0u : what == CL_PROFILING_COMMAND_END ? 3u : 2u;
        memcpy(value, &same, n < sizeof same ? n : sizeof same);
    }
    return status;
}

#define RELEASE(name, type) \
    cl_int name(type thing) \
    { \
        GET(name); \
        return f(thing); \
    }
RELEASE(clReleaseEvent, cl_event)
RELEASE(clReleaseKernel, cl_kernel)
RELEASE(clReleaseProgram, cl_program)
RELEASE(clReleaseMemObject, cl_mem)
RELEASE(clReleaseCommandQueue, cl_command_queue)
RELEASE(clReleaseContext, cl_context)
