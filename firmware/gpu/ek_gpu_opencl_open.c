/* ek_gpu_opencl_open.c - the library, and a device of one of its platforms. */
#include "ek_gpu_opencl_core.h"

#include <string.h>

enum { PLATFORMS = 16, DEVICES = 16, TEXT = 256, EXTENSIONS = 16384, ALIGN = 16 };

/* ---- the library */

#define ENTRY(name) {#name, offsetof(ek_cl_api_t, name)}
static const ek_gpu_symbol_t symbols[] = {
    ENTRY(clGetPlatformIDs), ENTRY(clGetPlatformInfo), ENTRY(clGetDeviceIDs),
    ENTRY(clGetDeviceInfo), ENTRY(clCreateContext), ENTRY(clCreateCommandQueue),
    ENTRY(clCreateBuffer), ENTRY(clCreateSubBuffer), ENTRY(clCreateProgramWithSource),
    ENTRY(clCreateProgramWithBinary), ENTRY(clBuildProgram), ENTRY(clGetProgramInfo),
    ENTRY(clGetProgramBuildInfo), ENTRY(clCreateKernel), ENTRY(clGetKernelWorkGroupInfo),
    ENTRY(clSetKernelArg), ENTRY(clEnqueueNDRangeKernel), ENTRY(clEnqueueReadBuffer),
    ENTRY(clEnqueueWriteBuffer), ENTRY(clEnqueueMapBuffer), ENTRY(clEnqueueUnmapMemObject),
    ENTRY(clEnqueueMarkerWithWaitList), ENTRY(clFlush), ENTRY(clGetEventInfo),
    ENTRY(clGetEventProfilingInfo), ENTRY(clReleaseEvent), ENTRY(clReleaseKernel),
    ENTRY(clReleaseProgram), ENTRY(clReleaseMemObject), ENTRY(clReleaseCommandQueue),
    ENTRY(clReleaseContext),
};

/* Linux, then where phones have it: of any vendor, Arm's in the library of all its drivers, Google's
 * and Imagination's under names of their own. */
static const char *const names[] = {
    "libOpenCL.so.1", "libOpenCL.so", "/vendor/lib64/libOpenCL.so",
    "/system/vendor/lib64/libOpenCL.so", "/vendor/lib/libOpenCL.so", "libGLES_mali.so",
    "/vendor/lib64/egl/libGLES_mali.so", "/vendor/lib64/libOpenCL-pixel.so",
    "/vendor/lib64/libPVROCL.so",
};
static const ek_gpu_library_t library = {
    "OpenCL", names, sizeof names / sizeof names[0], symbols, sizeof symbols / sizeof symbols[0]};

/* ---- devices */

/* A text that the driver tells, "" where it does not. */
static void platform_name(ek_gpu_opencl_t *cl, cl_platform_id id, char *text, size_t size)
{
    size_t nbytes = 0u;
    memset(text, 0, size);
    if (cl->api.clGetPlatformInfo(id, CL_PLATFORM_NAME, size - 1u, text, &nbytes) != CL_SUCCESS) {
        memset(text, 0, size);
    }
}

static void device_text(ek_gpu_opencl_t *cl, cl_device_id id, cl_uint what, char *text, size_t size)
{
    size_t nbytes = 0u;
    memset(text, 0, size);
    if (cl->api.clGetDeviceInfo(id, what, 0u, NULL, &nbytes) != CL_SUCCESS || nbytes == 0u) {
        return;
    }
    if (nbytes <= cl->scratch_bytes &&
        cl->api.clGetDeviceInfo(id, what, nbytes, cl->scratch, NULL) == CL_SUCCESS) {
        const size_t taken = nbytes < size ? nbytes : size - 1u;
        memcpy(text, cl->scratch, taken);
        memset(text + ek_gpu_text_bytes_of(text), 0, size - ek_gpu_text_bytes_of(text));
    }
}

static uint64_t device_number(ek_gpu_opencl_t *cl, cl_device_id id, cl_uint what, size_t nbytes)
{
    uint64_t value = 0u; /* little endian, as all that OpenCL runs on here */
    return cl->api.clGetDeviceInfo(id, what, nbytes, &value, NULL) == CL_SUCCESS ? value : 0u;
}

/* ek_gpu_suits of a device. */
static uint32_t suits(ek_gpu_opencl_t *cl, cl_device_id id, const char *platform, const char *asked)
{
    const bool gpu =
        (device_number(cl, id, CL_DEVICE_TYPE, sizeof(cl_bitfield)) & CL_DEVICE_TYPE_GPU) != 0u;
    char name[TEXT];
    device_text(cl, id, CL_DEVICE_NAME, name, sizeof name);
    return ek_gpu_suits(gpu, platform, name, asked);
}

static bool find_device(ek_gpu_opencl_t *cl, const char *asked, char *why, size_t size)
{
    cl_platform_id platforms[PLATFORMS];
    cl_uint platform_count = 0u, seen = 0u;
    uint32_t best = 0u;
    if (cl->api.clGetPlatformIDs(PLATFORMS, platforms, &platform_count) != CL_SUCCESS) {
        platform_count = 0u;
    }
    for (cl_uint i = 0; i < platform_count && i < PLATFORMS; ++i) {
        cl_device_id devices[DEVICES];
        cl_uint count = 0u;
        char platform[TEXT];
        platform_name(cl, platforms[i], platform, sizeof platform);
        if (cl->api.clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, DEVICES, devices, &count) !=
            CL_SUCCESS) {
            continue;
        }
        for (cl_uint j = 0; j < count && j < DEVICES; ++j) {
            const uint32_t how = suits(cl, devices[j], platform, asked);
            seen += 1u;
            if (how > best) {
                best = how;
                cl->id = devices[j];
            }
        }
    }
    const char *const nothing = platform_count == 0u ? "OpenCL has no platform"
                                : seen == 0u         ? "OpenCL's platforms have no device" : NULL;
    return best != 0u || ek_gpu_no_device(why, size, nothing, "OpenCL", asked);
}

/* Whether a word is in a list of words. */
static bool lists(const char *words, const char *word)
{
    while (*words != '\0') {
        size_t i = 0u;
        while (word[i] != '\0' && words[i] == word[i]) {
            ++i;
        }
        if (word[i] == '\0' && (words[i] == '\0' || words[i] == ' ')) {
            return true;
        }
        while (*words != '\0' && *words != ' ') {
            ++words;
        }
        while (*words == ' ') {
            ++words;
        }
    }
    return false;
}

static void describe(ek_gpu_opencl_t *cl)
{
    ek_gpu_info_t *info = &cl->device.info;
    char version[EK_GPU_NAME], words[EXTENSIONS];
    size_t axes[3] = {0u, 0u, 0u};
    device_text(cl, cl->id, CL_DEVICE_NAME, info->name, sizeof info->name);
    device_text(cl, cl->id, CL_DRIVER_VERSION, info->driver, sizeof info->driver / 2u);
    device_text(cl, cl->id, CL_DEVICE_VERSION, version, sizeof version);
    device_text(cl, cl->id, CL_DEVICE_EXTENSIONS, words, sizeof words);
    ek_gpu_text_add(info->api, sizeof info->api, "OpenCL");
    ek_gpu_text_add(info->driver, sizeof info->driver, "; ");
    ek_gpu_text_add(info->driver, sizeof info->driver, version);
    ek_gpu_text_add(cl->options, sizeof cl->options, "-cl-std=CL1.2");
    const bool dot = lists(words, "cl_khr_integer_dot_product");
    if (dot || lists(words, "cl_arm_integer_dot_product_int8")) {
        info->features |= EK_GPU_HAS_DOT;
        ek_gpu_text_add(cl->options, sizeof cl->options,
                        dot ? " -D EK_HAS_DOT=1" : " -D EK_HAS_DOT=1 -D EK_DOT_ARM=1");
    }
    if (lists(words, "cl_khr_fp16")) {
        info->features |= EK_GPU_HAS_FP16;
        ek_gpu_text_add(cl->options, sizeof cl->options, " -D EK_HAS_FP16=1");
    }
    const uint64_t items = device_number(cl, cl->id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t));
    info->group_items = items > UINT32_MAX ? UINT32_MAX : (uint32_t)items;
    if (cl->api.clGetDeviceInfo(cl->id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof axes, axes, NULL) ==
        CL_SUCCESS) {
        for (uint32_t i = 0; i < 3u; ++i) {
            info->group_size[i] = axes[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)axes[i];
        }
    }
    const uint64_t local =
        device_number(cl, cl->id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof(cl_ulong));
    info->local_bytes = local > UINT32_MAX ? UINT32_MAX : (uint32_t)local;
    info->is_cpu = (device_number(cl, cl->id, CL_DEVICE_TYPE, sizeof(cl_bitfield)) &
                    CL_DEVICE_TYPE_CPU) != 0u || ek_gpu_text_has(info->name, "llvmpipe");
    info->unified =
        device_number(cl, cl->id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(cl_uint)) == 1u;
    cl->alignment =
        (uint32_t)device_number(cl, cl->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(cl_uint)) / 8u;
}

/* ---- opening */

/* Give every table its place from `at` on; returns where they end. */
static uint8_t *arrange(ek_gpu_opencl_t *cl, const ek_gpu_section_t *s, uint32_t program_bytes,
                        uint8_t *at)
{
    const uint64_t places = (uint64_t)s->argument_count + s->tensor_count;
    cl->function_count = s->function_count;
    cl->scratch_bytes = program_bytes > EXTENSIONS ? program_bytes : EXTENSIONS;
    cl->places = (void *)ek_gpu_take(&at, places * sizeof *cl->places);
    cl->buffers = (void *)ek_gpu_take(&at, places * sizeof *cl->buffers);
    cl->mapped = (void *)ek_gpu_take(&at, places * sizeof *cl->mapped);
    cl->programs = (void *)ek_gpu_take(&at, s->function_count * sizeof *cl->programs);
    cl->kernels = (void *)ek_gpu_take(&at, s->function_count * sizeof *cl->kernels);
    cl->events = (void *)ek_gpu_take(&at, EK_GPU_EVENTS * sizeof *cl->events);
    cl->strings = (void *)ek_gpu_take(&at, (s->function_count + UINT64_C(1)) * sizeof *cl->strings);
    cl->lengths = (void *)ek_gpu_take(&at, (s->function_count + UINT64_C(1)) * sizeof *cl->lengths);
    cl->scratch = ek_gpu_take(&at, cl->scratch_bytes);
    return at;
}

size_t ek_gpu_opencl_bytes(const ek_model_t *model, uint32_t program_bytes)
{
    ek_gpu_opencl_t cl;
    ek_gpu_section_t section;
    uint32_t detail;
    if (ek_gpu_section(model, &section, &detail) != EK_OK) {
        return 0u;
    }
    uint8_t *const base = (uint8_t *)(uintptr_t)ALIGN;
    return (size_t)(arrange(&cl, &section, program_bytes, base) - base);
}

static bool make_queue(ek_gpu_opencl_t *cl, char *why, size_t size)
{
    cl_int status = -1;
    cl->context = cl->api.clCreateContext(NULL, 1u, &cl->id, NULL, NULL, &status);
    if (status != CL_SUCCESS) {
        ek_gpu_text_add_two(why, size, "OpenCL makes no context for ", cl->device.info.name);
        return false;
    }
    cl->queue = cl->api.clCreateCommandQueue(cl->context, cl->id, CL_QUEUE_PROFILING_ENABLE,
                                             &status);
    if (status != CL_SUCCESS) {
        cl->queue = cl->api.clCreateCommandQueue(cl->context, cl->id, 0u, &status);
    }
    if (status != CL_SUCCESS) {
        (void)cl->api.clReleaseContext(cl->context);
        ek_gpu_text_add_two(why, size, "OpenCL makes no queue for ", cl->device.info.name);
        return false;
    }
    return true;
}

ek_gpu_device_t *ek_gpu_opencl_open(ek_gpu_opencl_t *cl, const ek_model_t *model, void *memory,
                                    uint32_t program_bytes,
                                    const ek_gpu_opencl_settings_t *settings, char *why,
                                    size_t size)
{
    static const ek_gpu_opencl_settings_t defaults = {NULL, NULL, NULL};
    ek_gpu_section_t section;
    uint32_t detail;
    why[0] = '\0';
    settings = settings == NULL ? &defaults : settings;
    memset(cl, 0, sizeof *cl);
    if (ek_gpu_section(model, &section, &detail) != EK_OK) {
        ek_gpu_text_add_two(why, size, "the bundle has no GPU section that is sound", "");
        return NULL;
    }
    memset(memory, 0, ek_gpu_opencl_bytes(model, program_bytes));
    (void)arrange(cl, &section, program_bytes, memory);
    if (!ek_gpu_library_load(&library, settings->loader, settings->library, &cl->api, why, size) ||
        !find_device(cl, settings->device, why, size)) {
        return NULL;
    }
    describe(cl);
    if (!make_queue(cl, why, size)) {
        return NULL;
    }
    ek_gpu_device_t *d = &cl->device;
    d->self = cl;
    d->memory = ek_cl_memory;
    d->build = ek_cl_build;
    d->built = ek_cl_built;
    d->write = ek_cl_write;
    d->read = ek_cl_read;
    d->map = d->info.unified ? ek_cl_map : NULL;
    d->unmap = d->info.unified ? ek_cl_unmap : NULL;
    d->launch = ek_cl_launch;
    d->flush = ek_cl_flush;
    d->wait = ek_cl_wait;
    d->elapsed = ek_cl_elapsed;
    d->close = ek_cl_close;
    return d;
}
