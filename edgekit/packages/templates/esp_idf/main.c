/* One inference of model '@NAME@' on its golden sample, checked byte by byte. */
#include <stdio.h>

#include "@NAME@_check.h"

void app_main(void);

void app_main(void)
{
    uint32_t total;
    const uint32_t equal = @NAME@_check(&total);
    printf("edgekit: %u of %u bytes equal\n", (unsigned int)equal, (unsigned int)total);
}
