/* ek_tensor.h - what a library of compiled models says of its inputs and outputs. */
#ifndef EK_TENSOR_H
#define EK_TENSOR_H

#include <stdint.h>

/* real = scale * (integer - zero_point); bytes lie in the order of `shape`. `dtype` is "int8",
 * "int16", or with scale 1 "int32", "bool" or "float32". `layout` is "NCHW" where the model file declares the
 * tensor so (the bytes are NHWC all the same), else "". */
typedef struct {
    const char *name;
    const char *dtype;
    const char *layout;
    float scale;
    int32_t zero_point;
    uint32_t nbytes;
    uint32_t dims;
    uint32_t shape[8];
} ek_tensor_t;

#endif
