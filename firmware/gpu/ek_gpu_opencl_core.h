/* ek_gpu_opencl_core.h - what the files of the OpenCL device share; nothing for users. */
#ifndef EK_GPU_OPENCL_CORE_H
#define EK_GPU_OPENCL_CORE_H

#include "ek_gpu_core.h"
#include "ek_gpu_opencl.h"

/* The functions of ek_gpu_device_t. */
ek_gpu_result_t ek_cl_memory(void *self, const ek_gpu_memory_t *memory);
ek_gpu_result_t ek_cl_build(void *self, const ek_gpu_code_t *code);
bool ek_cl_built(void *self, uint32_t function, const char **said);
ek_gpu_result_t ek_cl_write(void *self, uint32_t place, const void *data, uint32_t nbytes);
ek_gpu_result_t ek_cl_read(void *self, uint32_t place, void *data, uint32_t nbytes);
uint8_t *ek_cl_map(void *self, uint32_t place, bool writing);
ek_gpu_result_t ek_cl_unmap(void *self, uint32_t place);
ek_gpu_result_t ek_cl_launch(void *self, uint32_t function, const uint32_t *places, uint32_t count,
                             const uint32_t items[3], const uint32_t group[3], uint32_t event);
ek_gpu_result_t ek_cl_flush(void *self);
ek_gpu_result_t ek_cl_wait(void *self, uint32_t patience_ms);
uint64_t ek_cl_elapsed(void *self, uint32_t event);
void ek_cl_close(void *self);

/* EK_GPU_OK, or the device is gone. */
ek_gpu_result_t ek_cl_result(ek_gpu_opencl_t *cl, cl_int status);
void ek_cl_release_programs(ek_gpu_opencl_t *cl);

#endif
