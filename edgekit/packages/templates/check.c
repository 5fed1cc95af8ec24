#include "@NAME@_check.h"

#include <string.h>

@INCLUDES@
#include "@NAME@_golden.h"

static uint32_t ek_same(const uint8_t *got, const uint8_t *expected, uint32_t bytes)
{
    uint32_t equal = 0;
    for (uint32_t i = 0; i < bytes; ++i) {
        equal += got[i] == expected[i];
    }
    return equal;
}

@MODELS@
uint32_t @NAME@_check(uint32_t *total)
{
    uint32_t equal = 0;
    *total = @TOTAL@u;
@CALLS@
    return equal;
}
