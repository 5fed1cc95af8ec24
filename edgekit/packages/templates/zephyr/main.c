/* One inference of model '@NAME@' on its golden sample, checked byte by byte. */
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "@NAME@_check.h"

int main(void)
{
    uint32_t total;
    const uint32_t equal = @NAME@_check(&total);
    printk("edgekit: %u of %u bytes equal\n", (unsigned int)equal, (unsigned int)total);
    return 0;
}
