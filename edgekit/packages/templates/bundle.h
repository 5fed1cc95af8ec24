/* The bundle of model '@NAME@' and its table of kernels, for ek_open. Generated. */
#ifndef EK_BUNDLE_@UPPER@_H
#define EK_BUNDLE_@UPPER@_H

#include "@RUNTIME@/edgekit.h"
#include "@CONFIG@"

#define @UPPER@_BUNDLE_BYTES @NBYTES@u
#define @UPPER@_BUNDLE_SLOTS @KERNELS@
#define @UPPER@_BUNDLE_ARENA @ARENA@
@TENSORS@
#ifdef __cplusplus
extern "C" {
#endif

extern const uint8_t @NAME@_bundle[@UPPER@_BUNDLE_BYTES];
extern const ek_kernel_t ek_kernels[];
extern const uint32_t ek_kernel_count;

#ifdef __cplusplus
}
#endif

#endif
