/* Whether this build of model '@NAME@' gives the bytes that edgekit expects of it. Generated. */
#ifndef EK_CHECK_@UPPER@_H
#define EK_CHECK_@UPPER@_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Run one inference on the golden sample; returns how many bytes of all outputs are as expected and
 * sets `total` to how many there are. */
uint32_t @NAME@_check(uint32_t *total);

#ifdef __cplusplus
}
#endif

#endif
