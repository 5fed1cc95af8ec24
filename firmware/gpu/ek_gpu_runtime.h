/* ek_gpu_runtime.h - which runtime this is: a hash of its sources and edgekit's version, which `edgekit
 * compile` writes here when it copies them. Results of self-tests of another runtime are not taken. */
#ifndef EK_GPU_RUNTIME_H
#define EK_GPU_RUNTIME_H
#define EK_GPU_RUNTIME UINT64_C(0x0)
#endif
