/* ek_npu_host.c - what the accelerator's simulator needs from the program that it is part of. */
#include "ek_npu.h"

/* Unreachable for a bundle that ek_open has taken, whose streams are checked, and for streams that
 * were compiled in: the compiler checks them. */
void ek_npu_failed(uint32_t status)
{
    (void)status;
    __builtin_trap();
}
