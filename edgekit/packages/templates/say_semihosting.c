/* Printing and exiting through the debugger (Arm and RISC-V semihosting), as QEMU offers it.
 *
 * On a board without a debugger the first call stops the CPU: put a UART in the place of this file. */
#include <stdint.h>

#include "ek_fault.h"

void say(const char *text);
void finish(int status);

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18 };
enum { RUN_TIME_ERROR = 0x20023, APPLICATION_EXIT = 0x20026 };

static void call(uint32_t operation, uintptr_t argument)
{
#if defined(__riscv)
    register uintptr_t a0 __asm("a0") = operation;
    register uintptr_t a1 __asm("a1") = argument;
    /* These three and nothing shorter or between them are the call. */
    __asm volatile(
        ".option push\n.option norvc\n.balign 16\n"
        "slli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n"
        ".option pop\n"
        : "+r"(a0)
        : "r"(a1)
        : "memory");
#else
    register uintptr_t r0 __asm("r0") = operation;
    register uintptr_t r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
#endif
}

void say(const char *text) { call(SYS_WRITE0, (uintptr_t)text); }

void finish(int status)
{
    call(SYS_EXIT, status == 0 ? APPLICATION_EXIT : RUN_TIME_ERROR);
    for (;;) {
    }
}

void ek_fault(const ek_fault_t *fault)
{
    (void)fault;
    say("edgekit: the program faulted\n");
    finish(1);
}
