/* ek_gpu_loader.h - how a process loads a driver's library. All else that the runtime needs of a
 * system it does by system calls: it makes no call into a C library. */
#ifndef EK_GPU_LOADER_H
#define EK_GPU_LOADER_H

#ifdef __cplusplus
extern "C" {
#endif

/* How this process loads shared libraries; the caller's own dlopen and dlsym will do. */
typedef struct {
    void *(*load)(const char *name);                  /* NULL: not there */
    void *(*symbol)(void *library, const char *name); /* NULL: not there */
} ek_gpu_loader_t;

#ifdef __cplusplus
}
#endif

#endif
