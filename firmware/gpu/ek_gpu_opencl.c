/* ek_gpu_opencl.c - memory, launches and waiting through OpenCL; finding a device is in
 * ek_gpu_opencl_open.c, building programs in ek_gpu_opencl_build.c. */
#include "ek_gpu_opencl_core.h"

#include <string.h>

enum { PLACE_ALIGN = 128 };

ek_gpu_result_t ek_cl_result(ek_gpu_opencl_t *cl, cl_int status)
{
    if (status == CL_SUCCESS) {
        return EK_GPU_OK;
    }
    cl->gone = true;
    return EK_GPU_GONE;
}

/* ---- memory */

static cl_mem new_buffer(ek_gpu_opencl_t *cl, size_t nbytes, const uint8_t *content)
{
    const cl_bitfield shared =
        content == NULL && cl->device.info.unified ? CL_MEM_ALLOC_HOST_PTR : 0u;
    cl_int status = -1;
    cl_mem made = cl->api.clCreateBuffer(
        cl->context, CL_MEM_READ_WRITE | shared | (content != NULL ? CL_MEM_COPY_HOST_PTR : 0u),
        nbytes, (void *)(uintptr_t)content, &status);
    return status == CL_SUCCESS ? made : NULL;
}

static void release_places(ek_gpu_opencl_t *cl)
{
    for (uint32_t i = 0; i < cl->place_count; ++i) {
        if (cl->buffers[i] != NULL) {
            (void)cl->api.clReleaseMemObject(cl->buffers[i]);
            cl->buffers[i] = NULL;
        }
    }
    if (cl->arena != NULL) {
        (void)cl->api.clReleaseMemObject(cl->arena);
        cl->arena = NULL;
    }
    if (cl->constants != NULL) {
        (void)cl->api.clReleaseMemObject(cl->constants);
        cl->constants = NULL;
    }
}

/* Sub-buffers of one arena and of one buffer of constants. */
static bool in_two_buffers(ek_gpu_opencl_t *cl, const ek_gpu_memory_t *memory)
{
    cl->arena = memory->arena_bytes == 0u ? NULL : new_buffer(cl, memory->arena_bytes, NULL);
    cl->constants = memory->constants.nbytes == 0u
                        ? NULL : new_buffer(cl, memory->constants.nbytes, memory->constants.data);
    for (uint32_t i = 0; i < memory->place_count; ++i) {
        const ek_gpu_place_t *p = &memory->places[i];
        const cl_buffer_region region = {p->offset, p->nbytes};
        cl_mem parent = p->space == EK_GPU_ARENA ? cl->arena : cl->constants;
        cl_int status = -1;
        if (parent == NULL) {
            return false;
        }
        cl->buffers[i] =
            cl->api.clCreateSubBuffer(parent, 0u, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
        if (status != CL_SUCCESS) {
            cl->buffers[i] = NULL;
            return false;
        }
    }
    return true;
}

static bool in_own_buffers(ek_gpu_opencl_t *cl, const ek_gpu_memory_t *memory)
{
    for (uint32_t i = 0; i < memory->place_count; ++i) {
        const ek_gpu_place_t *p = &memory->places[i];
        const uint8_t *content =
            p->space == EK_GPU_CONSTANTS ? memory->constants.data + p->offset : NULL;
        cl->buffers[i] = new_buffer(cl, p->nbytes, content);
        if (cl->buffers[i] == NULL) {
            return false;
        }
    }
    return true;
}

/* Start and end of a write by the device's clock, [0] and [1]. */
static bool write_times(ek_gpu_opencl_t *cl, cl_ulong *times)
{
    cl_event event = NULL;
    if (cl->api.clEnqueueWriteBuffer(cl->queue, cl->buffers[0], 1u, 0u, 1u, "", 0u, NULL,
                                     &event) != CL_SUCCESS) {
        return false;
    }
    const cl_int first = cl->api.clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START,
                                                         sizeof times[0], &times[0], NULL);
    const cl_int second = cl->api.clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END,
                                                          sizeof times[1], &times[1], NULL);
    (void)cl->api.clReleaseEvent(event);
    return first == CL_SUCCESS && second == CL_SUCCESS && times[1] > times[0];
}

/* Whether the device's clock is more than a promise: the times of two writes, one after the other
   (rusticl of Mesa 22.3 says 2 and 3 of both). */
static bool measures(ek_gpu_opencl_t *cl)
{
    cl_ulong one[2] = {0u, 0u}, two[2] = {0u, 0u};
    return cl->place_count != 0u && write_times(cl, one) && write_times(cl, two) &&
           two[0] >= one[1];
}

ek_gpu_result_t ek_cl_memory(void *self, const ek_gpu_memory_t *memory)
{
    ek_gpu_opencl_t *cl = self;
    bool good = false;
    memcpy(cl->places, memory->places, memory->place_count * sizeof *cl->places);
    cl->place_count = memory->place_count;
    cl->own_buffers = cl->alignment == 0u || cl->alignment > PLACE_ALIGN;
    if (!cl->own_buffers) {
        good = in_two_buffers(cl, memory);
        if (!good) { /* it does not want what it said */
            release_places(cl);
            cl->own_buffers = true;
        }
    }
    if (!good && !in_own_buffers(cl, memory)) {
        release_places(cl);
        return EK_GPU_REFUSED;
    }
    cl->device.info.timed = measures(cl);
    return EK_GPU_OK;
}

ek_gpu_result_t ek_cl_write(void *self, uint32_t place, const void *data, uint32_t nbytes)
{
    ek_gpu_opencl_t *cl = self;
    return cl->gone ? EK_GPU_GONE
                    : ek_cl_result(cl, cl->api.clEnqueueWriteBuffer(
                                           cl->queue, cl->buffers[place], 1u, 0u, nbytes, data, 0u,
                                           NULL, NULL));
}

ek_gpu_result_t ek_cl_read(void *self, uint32_t place, void *data, uint32_t nbytes)
{
    ek_gpu_opencl_t *cl = self;
    return cl->gone ? EK_GPU_GONE
                    : ek_cl_result(cl, cl->api.clEnqueueReadBuffer(
                                           cl->queue, cl->buffers[place], 1u, 0u, nbytes, data, 0u,
                                           NULL, NULL));
}

uint8_t *ek_cl_map(void *self, uint32_t place, bool writing)
{
    ek_gpu_opencl_t *cl = self;
    cl_int status = -1;
    if (cl->gone) {
        return NULL;
    }
    void *found = cl->api.clEnqueueMapBuffer(cl->queue, cl->buffers[place], 1u,
                                             writing ? CL_MAP_WRITE : CL_MAP_READ, 0u,
                                             cl->places[place].nbytes, 0u, NULL, NULL, &status);
    cl->mapped[place] = status == CL_SUCCESS ? found : NULL;
    return cl->mapped[place];
}

ek_gpu_result_t ek_cl_unmap(void *self, uint32_t place)
{
    ek_gpu_opencl_t *cl = self;
    void *mapped = cl->mapped[place];
    cl->mapped[place] = NULL;
    return ek_cl_result(cl, cl->api.clEnqueueUnmapMemObject(cl->queue, cl->buffers[place], mapped,
                                                            0u, NULL, NULL));
}

/* ---- launches */

static void forget_event(ek_gpu_opencl_t *cl, uint32_t event)
{
    if (cl->events[event] != NULL) {
        (void)cl->api.clReleaseEvent(cl->events[event]);
        cl->events[event] = NULL;
    }
}

ek_gpu_result_t ek_cl_launch(void *self, uint32_t function, const uint32_t *places, uint32_t count,
                             const uint32_t items[3], const uint32_t group[3], uint32_t event)
{
    ek_gpu_opencl_t *cl = self;
    const size_t global[3] = {items[0], items[1], items[2]};
    const size_t local[3] = {group[0], group[1], group[2]};
    cl_kernel kernel = cl->kernels[function];
    cl_event *told = NULL;
    if (cl->gone) {
        return EK_GPU_GONE;
    }
    if (kernel == NULL) {
        return EK_GPU_NOT_BUILT;
    }
    for (uint32_t i = 0; i < count; ++i) {
        if (cl->api.clSetKernelArg(kernel, i, sizeof(cl_mem), &cl->buffers[places[i]]) !=
            CL_SUCCESS) {
            return EK_GPU_REFUSED;
        }
    }
    if (event < EK_GPU_EVENTS) {
        forget_event(cl, event);
        told = &cl->events[event];
    }
    const cl_int status = cl->api.clEnqueueNDRangeKernel(cl->queue, kernel, 3u, NULL, global, local,
                                                         0u, NULL, told);
    if (status == CL_DEVICE_NOT_AVAILABLE) {
        return ek_cl_result(cl, status);
    }
    return status == CL_SUCCESS ? EK_GPU_OK : EK_GPU_REFUSED;
}

ek_gpu_result_t ek_cl_flush(void *self)
{
    ek_gpu_opencl_t *cl = self;
    return cl->gone ? EK_GPU_GONE : ek_cl_result(cl, cl->api.clFlush(cl->queue));
}

/* clFinish would wait for ever for a device that hangs: ask from time to time. */
ek_gpu_result_t ek_cl_wait(void *self, uint32_t patience_ms)
{
    ek_gpu_opencl_t *cl = self;
    const uint64_t end = ek_clock_ns() + (uint64_t)patience_ms * UINT64_C(1000000);
    uint32_t pause_ns = 10000u;
    cl_event event = NULL;
    cl_int state = 1;
    if (cl->gone) {
        return EK_GPU_GONE;
    }
    cl_int status = cl->api.clEnqueueMarkerWithWaitList(cl->queue, 0u, NULL, &event);
    if (status == CL_SUCCESS) {
        status = cl->api.clFlush(cl->queue);
    }
    while (status == CL_SUCCESS) {
        status = cl->api.clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state,
                                        &state, NULL);
        if (status != CL_SUCCESS || state <= CL_COMPLETE) {
            break;
        }
        if (ek_clock_ns() > end) {
            cl->gone = true;
            return EK_GPU_TOO_SLOW; /* the event stays the driver's, who still uses it */
        }
        ek_sleep_ns(pause_ns);
        if (pause_ns < 100000u) { /* an inference ends so much late at most */
            pause_ns += pause_ns / 4u;
        }
    }
    if (event != NULL) {
        (void)cl->api.clReleaseEvent(event);
    }
    return ek_cl_result(cl, status != CL_SUCCESS ? status : state);
}

uint64_t ek_cl_elapsed(void *self, uint32_t event)
{
    ek_gpu_opencl_t *cl = self;
    cl_ulong start = 0u, end = 0u;
    if (cl->gone || event >= EK_GPU_EVENTS || cl->events[event] == NULL) {
        return 0u;
    }
    if (cl->api.clGetEventProfilingInfo(cl->events[event], CL_PROFILING_COMMAND_START, sizeof start,
                                        &start, NULL) != CL_SUCCESS ||
        cl->api.clGetEventProfilingInfo(cl->events[event], CL_PROFILING_COMMAND_END, sizeof end,
                                        &end, NULL) != CL_SUCCESS) {
        return 0u;
    }
    return end > start ? end - start : 0u;
}

/* Releasing a queue waits for what is in it: not on a device that is gone. */
void ek_cl_close(void *self)
{
    ek_gpu_opencl_t *cl = self;
    if (cl->gone) {
        return;
    }
    for (uint32_t i = 0; i < EK_GPU_EVENTS; ++i) {
        forget_event(cl, i);
    }
    ek_cl_release_programs(cl);
    release_places(cl);
    (void)cl->api.clReleaseCommandQueue(cl->queue);
    (void)cl->api.clReleaseContext(cl->context);
    cl->gone = true;
}
