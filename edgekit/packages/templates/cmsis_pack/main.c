/* One inference of model '@NAME@' on its golden sample, checked byte by byte. printf goes where your
 * project sends it. */
#include <stdio.h>

#include "@NAME@_check.h"

int main(void)
{
    uint32_t total;
    const uint32_t equal = @NAME@_check(&total);
    printf("edgekit: %u of %u bytes equal\n", (unsigned int)equal, (unsigned int)total);
    for (;;) {
    }
}
