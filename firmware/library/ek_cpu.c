/* ek_cpu.c - the auxiliary vector of this process by system calls (proc(5), getauxval(3)). */
#include "ek_cpu.h"

#include "ek_linux.h"

uint64_t ek_cpu_hwcap(void)
{
    enum { AT_FDCWD = -100, O_RDONLY = 0, AT_HWCAP = 16, AT_HWCAP2 = 26 };
    static const char path[] = "/proc/self/auxv";
    uintptr_t pair[2];
    uint64_t found = 0;
    const intptr_t file = ek_syscall(SYS_OPENAT, AT_FDCWD, (intptr_t)path, O_RDONLY, 0);
    if (file < 0) {
        return 0;
    }
    while (ek_syscall(SYS_READ, file, (intptr_t)pair, sizeof pair, 0) == (intptr_t)sizeof pair &&
           pair[0] != 0u) {
        if (pair[0] == AT_HWCAP) {
            found |= (uint32_t)pair[1];
        } else if (pair[0] == AT_HWCAP2) {
            found |= (uint64_t)pair[1] << 32;
        }
    }
    (void)ek_syscall(SYS_CLOSE, file, 0, 0, 0);
    return found;
}
